// The codec against botocore: messages that AWS's own client wrote or has read, for every operation, both ways.
//
// testdata/golden/<service>.jsonl, made by tools/make_wire_golden.py, which says what a line holds.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/encoding.h"
#include "base/text.h"
#include "wire/codec.h"
#include "wire/internal/protocols.h"

namespace kiln::wire {
namespace {

using nlohmann::json;

void for_each_line(const std::function<void(const Service&, const json&)>& body) {
  for (const Service* service : services()) {
    std::ifstream file(std::string(KILN_SOURCE_DIR) + "/src/wire/testdata/golden/" + std::string(service->key) +
                       ".jsonl");
    ASSERT_TRUE(file.good()) << service->key;
    for (std::string line; std::getline(file, line);) body(*service, json::parse(line));
  }
}

void for_each_operation(const std::function<void(const Operation&, const json&)>& body) {
  for_each_line([&](const Service& service, const json& line) {
    if (!line.contains("operation")) return;
    const Operation* operation = service.find(line["operation"].get<std::string>());
    ASSERT_NE(operation, nullptr) << line["operation"];
    SCOPED_TRACE(std::string(service.key) + "." + std::string(operation->name));
    body(*operation, line);
  });
}

// A message as JSON; what it differs in is shown as a patch.
json difference(const Shape& shape, const void* value, const json& expected) {
  return json::diff(expected, json::parse(encode_json(shape, value)));
}

// A form without regard to order, to how its bytes are escaped and to zeros at the end of a fraction of a second
// (botocore writes microseconds); or a JSON text without regard to spaces.
std::vector<std::string> pieces(const Service& service, const std::string& body) {
  if (service.protocol == Protocol::json) return {json::parse(body).dump()};
  static const std::regex kMicroseconds("(\\.\\d{3})000Z$");
  std::vector<std::string> pairs;
  for (const std::string& pair : split(body, '&')) {
    pairs.push_back(std::regex_replace(percent_decode(pair, true), kMicroseconds, "$1Z"));
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

std::vector<std::string> minus(const std::vector<std::string>& some, const std::vector<std::string>& others) {
  std::vector<std::string> left;
  std::set_difference(some.begin(), some.end(), others.begin(), others.end(), std::back_inserter(left));
  return left;
}

}  // namespace

TEST(Golden, HoldsEveryOperationThatIsServed) {
  std::size_t served = 0, held = 0;
  for (const Service* service : services()) served += service->operations.size();
  for_each_operation([&](const Operation&, const json&) { ++held; });
  EXPECT_EQ(held, served);
}

TEST(Golden, TheRegionReadsWhatBotocoreSends) {
  for_each_operation([](const Operation& operation, const json& line) {
    http::Request request;
    request.body = line["request"].get<std::string>();
    auto input = operation.make_input();
    try {
      decode_request(operation, request, input.get());
    } catch (const DecodeError& error) {
      FAIL() << error.code() << ": " << error.message();
    }
    EXPECT_EQ(difference(*operation.input, input.get(), line["input"]), json::array());
  });
}

TEST(Golden, TheClientSendsWhatBotocoreSends) {
  for_each_operation([](const Operation& operation, const json& line) {
    auto input = operation.make_input();
    decode_json(*operation.input, line["input"].dump(), input.get(), false);
    std::vector<std::string> ours = pieces(*operation.service, encode_request(operation, input.get()).body);
    std::vector<std::string> theirs = pieces(*operation.service, line["request"].get<std::string>());
    EXPECT_EQ(minus(ours, theirs), std::vector<std::string>{}) << "only ours";
    EXPECT_EQ(minus(theirs, ours), std::vector<std::string>{}) << "only botocore's";
  });
}

TEST(Golden, TheRegionAnswersWhatBotocoreReads) {
  for_each_operation([](const Operation& operation, const json& line) {
    auto output = operation.make_output();
    decode_json(*operation.output, line["output"].dump(), output.get(), false);
    std::string body = encode_response(operation, output.get(), "golden-id").body;
    if (operation.service->protocol == Protocol::json) {
      EXPECT_EQ(json::parse(body), json::parse(line["response"].get<std::string>()));
    } else {
      EXPECT_EQ(body, line["response"].get<std::string>());
    }
  });
}

TEST(Golden, TheClientReadsWhatBotocoreReads) {
  for_each_operation([](const Operation& operation, const json& line) {
    http::Response response;
    response.body = line["response"].get<std::string>();
    auto output = operation.make_output();
    decode_response(operation, response, output.get());
    EXPECT_EQ(difference(*operation.output, output.get(), line["output"]), json::array());
  });
}

TEST(Golden, ErrorsAreThoseThatBotocoreReads) {
  for_each_line([](const Service& service, const json& line) {
    if (!line.contains("error")) return;
    ErrorAnswer error{line["error"]["code"].get<std::string>(), line["error"]["message"].get<std::string>(),
                      "golden-id"};
    http::Response response = encode_error(service, error, 400);
    if (service.protocol == Protocol::json) {
      EXPECT_EQ(json::parse(response.body), json::parse(line["response"].get<std::string>()));
    } else {
      EXPECT_EQ(response.body, line["response"].get<std::string>());
    }
    EXPECT_EQ(response.headers.get("x-amzn-RequestId"), "golden-id");
    response.body = line["response"].get<std::string>();
    EXPECT_EQ(decode_error(service, response), error) << service.key;
  });
}

}  // namespace kiln::wire
