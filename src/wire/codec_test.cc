// The codec both ways: what one side writes the other reads, for every operation; and what strange input gets.
#include "wire/codec.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/testing/errors.h"
#include "base/text.h"
#include "host/random.h"
#include "wire/autoscaling.h"
#include "wire/ec2.h"
#include "wire/elb.h"
#include "wire/iam.h"
#include "wire/internal/protocols.h"
#include "wire/ssm.h"
#include "wire/sts.h"

namespace kiln::wire {
namespace {

// Fills every member of a message with something of its kind.
class Filler {
 public:
  explicit Filler(std::uint64_t seed) : random_(seed) {}

  void fill(const Shape& shape, void* value, int depth = 0) {
    switch (shape.kind) {
      case Kind::structure:
        for (const Member& member : shape.members) {
          // Deep messages are cut at random, but to nothing: an empty structure leaves no trace in a form.
          bool first = &member == &shape.members.front();
          if (depth > 3 && !first && !member.required && random_.below(4) != 0) continue;
          fill(*member.shape, member.make(value), depth + 1);
        }
        return;
      case Kind::list:
        // A structure without members would leave no trace on the wire.
        if (shape.element->kind == Kind::structure && shape.element->members.empty()) return;
        for (std::uint64_t i = 0, n = 1 + random_.below(3); i < n; ++i)
          fill(*shape.element, shape.append(value), depth + 1);
        return;
      case Kind::map:
        for (const char* key : {"a", "b & c"}) fill(*shape.element, shape.insert(value, key), depth + 1);
        return;
      case Kind::string:
        *static_cast<std::string*>(value) = shape.values.empty()
                                                ? std::string(kTexts[random_.below(std::size(kTexts))])
                                                : std::string(shape.values[random_.below(shape.values.size())]);
        return;
      case Kind::blob:
        *static_cast<std::string*>(value) = std::string("\0\xff&<", 4);
        return;
      case Kind::boolean:
        *static_cast<bool*>(value) = random_.below(2) == 0;
        return;
      case Kind::integer:
        *static_cast<std::int64_t*>(value) = static_cast<std::int64_t>(random_.next() >> 12);
        return;
      case Kind::real:
        *static_cast<double*>(value) = static_cast<double>(random_.below(1000)) / 8;
        return;
      case Kind::timestamp:
        *static_cast<Time*>(value) = Time(Duration(random_.below(4'000'000'000'000)));
        return;
    }
  }

 private:
  static constexpr std::string_view kTexts[] = {"x", "a b&c=d%", "<é> \"quoted\" & 'more'", "1", "line\nbreak", "ünï"};
  host::SeededRandom random_;
};

void for_each_operation(const std::function<void(const Operation&, std::uint64_t seed)>& body) {
  for (const Service* service : services()) {
    for (const Operation& operation : service->operations) {
      for (std::uint64_t seed = 1; seed <= 5; ++seed) body(operation, seed);
    }
  }
}

// Messages are compared by what the (independent) JSON writer says of them.
std::string text_of(const Shape& shape, const void* value) { return encode_json(shape, value); }

std::string body_of(const Operation& operation, const std::string& more) {
  return "Action=" + std::string(operation.name) + "&Version=" + std::string(operation.service->version) + more;
}

// The code with which a request of this body is refused, or "" when it is read.
std::string refusal(const Operation& operation, const std::string& more) {
  http::Request request;
  request.body = body_of(operation, more);
  try {
    decode_request(operation, request, operation.make_input().get());
    return "";
  } catch (const DecodeError& error) {
    return error.code();
  }
}

}  // namespace

TEST(Codec, RegionReadsWhatTheClientWritesForEveryOperation) {
  for_each_operation([](const Operation& operation, std::uint64_t seed) {
    auto written = operation.make_input();
    Filler(seed).fill(*operation.input, written.get());
    http::Request request = encode_request(operation, written.get());
    EXPECT_EQ(peek_operation(*operation.service, request), operation.name);
    auto read = operation.make_input();
    try {
      decode_request(operation, request, read.get());
    } catch (const DecodeError& error) {
      FAIL() << operation.service->key << "." << operation.name << ": " << error.message();
    }
    EXPECT_EQ(text_of(*operation.input, read.get()), text_of(*operation.input, written.get())) << operation.name;
  });
}

TEST(Codec, ClientReadsWhatTheRegionWritesForEveryOperation) {
  for_each_operation([](const Operation& operation, std::uint64_t seed) {
    auto written = operation.make_output();
    Filler(seed).fill(*operation.output, written.get());
    http::Response response = encode_response(operation, written.get(), "id-1");
    EXPECT_EQ(response.headers.get("x-amzn-RequestId"), "id-1");
    auto read = operation.make_output();
    decode_response(operation, response, read.get());
    EXPECT_EQ(text_of(*operation.output, read.get()), text_of(*operation.output, written.get())) << operation.name;
  });
}

// Where a text of that size is cut after `cut`: at each of its first bytes, then here and there. What follows repeats
// the same few forms, and the fuzzers go on from there.
std::size_t next_cut(std::size_t cut, std::size_t size) { return cut + (cut < 300 ? 1 : 1 + size / 150); }

TEST(Codec, WhatIsCutOffIsReadOrRefusedAndNeverMore) {
  for (const Operation* operation : {&ec2::RunInstances::operation(), &autoscaling::CreateAutoScalingGroup::operation(),
                                     &ssm::PutParameter::operation()}) {
    auto message = operation->make_input();
    Filler(7).fill(*operation->input, message.get());
    http::Request request = encode_request(*operation, message.get());
    std::string whole = request.body;
    for (std::size_t cut = 0; cut < whole.size(); cut = next_cut(cut, whole.size())) {
      request.body = whole.substr(0, cut);
      try {
        decode_request(*operation, request, operation->make_input().get());
      } catch (const DecodeError&) {
        // Refused, as it should be.
      }
    }
    auto output = operation->make_output();
    Filler(7).fill(*operation->output, output.get());
    http::Response response = encode_response(*operation, output.get(), "id");
    whole = response.body;
    for (std::size_t cut = 0; cut + 1 < whole.size(); cut = next_cut(cut, whole.size())) {
      response.body = whole.substr(0, cut);
      try {
        decode_response(*operation, response, operation->make_output().get());
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::invalid);
      }
    }
  }
}

TEST(Ec2Request, HasFlatListsAndCapitalisedNames) {
  ec2::RunInstancesRequest input;
  input.image_id = "ami-1";
  input.min_count = 1;
  input.max_count = 2;
  input.security_group_ids = {"sg-1", "sg-2"};
  input.tag_specifications.emplace_back().resource_type = "instance";
  input.tag_specifications[0].tags.emplace_back().key = "a b";
  EXPECT_EQ(encode_request(ec2::RunInstances::operation(), &input).body,
            "Action=RunInstances&Version=2016-11-15&ImageId=ami-1&MaxCount=2&MinCount=1&SecurityGroupId.1=sg-1&"
            "SecurityGroupId.2=sg-2&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=a%20b");
}

TEST(QueryRequest, HasMembersInItsLists) {
  autoscaling::CreateAutoScalingGroupType input;
  input.auto_scaling_group_name = "web";
  input.min_size = 1;
  input.max_size = 2;
  input.target_group_arns = {"arn:1"};
  EXPECT_EQ(encode_request(autoscaling::CreateAutoScalingGroup::operation(), &input).body,
            "Action=CreateAutoScalingGroup&Version=2011-01-01&AutoScalingGroupName=web&MinSize=1&MaxSize=2&"
            "TargetGroupARNs.member.1=arn%3A1");
}

TEST(Ec2Answer, HasItemsAndEmptyLists) {
  ec2::DescribeInstancesResult output;
  output.reservations.emplace_back().instances.emplace_back().instance_id = "i-1";
  std::string body = encode_response(ec2::DescribeInstances::operation(), &output, "id-1").body;
  EXPECT_NE(body.find("<requestId>id-1</requestId>"), std::string::npos);
  EXPECT_NE(body.find("<reservationSet><item>"), std::string::npos);
  EXPECT_NE(body.find("<instanceId>i-1</instanceId>"), std::string::npos);
  EXPECT_NE(body.find("<groupSet/>"), std::string::npos);
}

TEST(DecodeRequest, RefusesWhatItDoesNotKnowAsEc2Does) {
  const Operation& run = ec2::RunInstances::operation();
  std::string good = "&ImageId=ami-1&MinCount=1&MaxCount=1";
  EXPECT_EQ(refusal(run, good), "");
  EXPECT_EQ(refusal(run, good + "&Imagee=1"), "UnknownParameter");
  EXPECT_EQ(refusal(run, good + "&ImageId.1=ami"), "UnknownParameter");
  EXPECT_EQ(refusal(run, good + "&Placement.Nonsense=1"), "UnknownParameter");
  EXPECT_EQ(refusal(run, "&ImageId=ami-1&MinCount=1"), "MissingParameter");
  EXPECT_EQ(refusal(run, "&ImageId=ami-1&MinCount=one&MaxCount=1"), "InvalidParameterValue");
  EXPECT_EQ(refusal(run, good + "&InstanceType=t9.huge"), "InvalidParameterValue");
  EXPECT_EQ(refusal(run, good + "&EbsOptimized=maybe"), "InvalidParameterValue");
  EXPECT_EQ(refusal(run, good + "&SecurityGroupId.99999=sg"), "InvalidParameterValue");
  EXPECT_EQ(refusal(run, good + "&ImageId=ami-2"), "MalformedQueryString");
}

TEST(DecodeRequest, TakesEmptyParametersAsAbsent) {
  http::Request request;
  request.body = body_of(ec2::RunInstances::operation(),
                         "&ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId=&UserData=&Placement.AvailabilityZone=&"
                         "IamInstanceProfile.Name=");
  ec2::RunInstancesRequest input;
  decode_request(ec2::RunInstances::operation(), request, &input);
  EXPECT_FALSE(input.subnet_id.has_value());
  EXPECT_FALSE(input.user_data.has_value());
  EXPECT_FALSE(input.placement.has_value());
}

TEST(DecodeRequest, KeepsTheEmptyHalfOfAPair) {
  http::Request request;
  request.body = body_of(iam::TagUser::operation(),
                         "&UserName=ann&Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.2.Key=b&"
                         "Tags.member.2.Value=c");
  iam::TagUserRequest input;
  decode_request(iam::TagUser::operation(), request, &input);
  ASSERT_EQ(input.tags.size(), 2u);
  EXPECT_EQ(input.tags[0].value, "");
  EXPECT_EQ(refusal(iam::TagUser::operation(), "&UserName=ann&Tags.member.1.Key=a"), "ValidationError");
  EXPECT_EQ(refusal(iam::TagUser::operation(), "&UserName=&Tags.member.1.Key=a&Tags.member.1.Value="),
            "ValidationError");
}

TEST(DecodeRequest, KeepsTheOrderOfNumberedListsAndAllowsGaps) {
  http::Request request;
  request.body = body_of(ec2::DescribeInstances::operation(), "&InstanceId.10=c&InstanceId.2=b&InstanceId.1=a");
  ec2::DescribeInstancesRequest input;
  decode_request(ec2::DescribeInstances::operation(), request, &input);
  EXPECT_EQ(input.instance_ids, (std::vector<std::string>{"a", "b", "c"}));
}

TEST(DecodeRequest, BoundsDepthAndNumber) {
  const Operation& run = ec2::RunInstances::operation();
  std::string deep = "&A";
  for (int i = 0; i < 1000; ++i) deep += ".A";
  EXPECT_EQ(refusal(run, deep + "=1"), "MalformedQueryString");
  std::string json = R"({"Name":)" + std::string(10'000, '[');
  http::Request request;
  request.body = json;
  EXPECT_THROW(
      decode_request(ssm::GetParameter::operation(), request, ssm::GetParameter::operation().make_input().get()),
      DecodeError);
}

TEST(DecodeResponse, RefusesAnAnswerThatIsNestedTooDeeplyAsInvalid) {
  const Operation& get = ssm::GetParameter::operation();
  http::Response response;
  response.body = R"({"Parameter":)" + std::string(10'000, '[');
  const Error error = testing::failure([&] { decode_response(get, response, get.make_output().get()); });
  EXPECT_EQ(error.code(), ErrorCode::invalid);
}

TEST(Errors, AreReadByTheClientInEveryProtocol) {
  for (const Service* service : services()) {
    http::Response response = encode_error(*service, {"SomeCode", "it <failed> & \"more\"", "id-9"}, 400);
    auto error = decode_error(*service, response);
    ASSERT_TRUE(error.has_value()) << service->key;
    EXPECT_EQ(error->code, "SomeCode");
    EXPECT_EQ(error->message, "it <failed> & \"more\"");
    EXPECT_EQ(error->request_id, "id-9") << service->key;
  }
  EXPECT_EQ(decode_error(ec2::kService, {502, {}, "<html>Bad Gateway</html>"}), std::nullopt);
}

TEST(Services, AreFoundByTheScopeOfASignatureAndOperationsByName) {
  EXPECT_EQ(find_service("elasticloadbalancing"), &elb::kService);
  EXPECT_EQ(find_service("s3"), nullptr);
  EXPECT_EQ(ec2::kService.find("RunInstances"), &ec2::RunInstances::operation());
  EXPECT_EQ(ec2::kService.find("RunInstance"), nullptr);
  EXPECT_EQ(sts::kService.find("GetCallerIdentity")->output->members.size(), 3u);
}

}  // namespace kiln::wire
