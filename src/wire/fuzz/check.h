// Check: what the fuzzers of messages hold the codec to. One byte of an input chooses the operation, the rest is the
// body.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "wire/codec.h"
#include "wire/internal/protocols.h"

namespace kiln::wire::fuzz {

// Those of the json protocol, or those of the other two.
inline const Operation& operation_at(bool json, std::uint8_t index) {
  auto of_protocol = [](bool wanted) {
    std::vector<const Operation*> found;
    for (const Service* service : services()) {
      if ((service->protocol == Protocol::json) != wanted) continue;
      for (const Operation& operation : service->operations) found.push_back(&operation);
    }
    return found;
  };
  static const std::vector<const Operation*> others = of_protocol(false), of_json = of_protocol(true);
  const std::vector<const Operation*>& some = json ? of_json : others;
  return *some[index % some.size()];
}

// As the region reads it: read, or refused with a DecodeError; and what was read is read again from what the client
// writes of it.
inline void check_request(const Operation& operation, std::string body) {
  http::Request request;
  request.body = std::move(body);
  peek_operation(*operation.service, request);
  auto input = operation.make_input();
  try {
    decode_request(operation, request, input.get());
  } catch (const DecodeError&) {
    return;
  }
  auto again = operation.make_input();
  try {
    decode_request(operation, encode_request(operation, input.get()), again.get());
  } catch (const DecodeError& error) {
    assertion_failed("what was read can be written and read again", __FILE__, __LINE__, error.message());
  }
  KILN_ASSERT(encode_json(*operation.input, input.get()) == encode_json(*operation.input, again.get()),
              "a request changed on its way");
}

// As the client reads it: read, or refused with Error(invalid); and what was read is read again from what the region
// writes of it. The same bytes are tried as an error.
inline void check_response(const Operation& operation, std::string body) {
  http::Response response;
  response.body = std::move(body);
  decode_error(*operation.service, response);
  auto output = operation.make_output();
  try {
    decode_response(operation, response, output.get());
  } catch (const Error& error) {
    KILN_ASSERT(error.code() == ErrorCode::invalid, "an answer is refused as invalid");
    return;
  }
  auto again = operation.make_output();
  const http::Response written = encode_response(operation, output.get(), "id");
  decode_response(operation, written, again.get());
  // Compared as it is written: XML cannot carry the control characters that an answer may hold.
  KILN_ASSERT(written.body == encode_response(operation, again.get(), "id").body, "an answer changed on its way");
}

}  // namespace kiln::wire::fuzz
