// FrontDoor: who is let in, what is served, how it is refused, and that an answer is given only for what is written
// down.
#include "region/front/front_door.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "base/error.h"
#include "region/front/throttle.h"
#include "region/testing/ec2_world.h"

namespace kiln::region {
namespace {

namespace api = wire::ec2;
using ::testing::HasSubstr;
using ::testing::Not;

class FrontDoorTest : public testing::Ec2World {
 protected:
  // The status and code that a request is refused with.
  std::pair<int, std::string> refused(http::Request request, const wire::Service& service) {
    http::Response response = send(std::move(request));
    auto error = wire::decode_error(service, response);
    if (!error) return {response.status, ""};
    last_message = error->message;
    EXPECT_EQ(error->request_id.size(), 36u) << "a UUID";
    return {response.status, error->code};
  }
  http::Request regions_request() {
    api::DescribeRegionsRequest input;
    return request_of(api::DescribeRegions::operation(), &input);
  }
  http::Request identity_request() {
    wire::sts::GetCallerIdentityRequest input;
    return request_of(wire::sts::GetCallerIdentity::operation(), &input);
  }
  static FrontDoor::Find always(const Handlers& handlers) {
    return [&handlers](const std::string&, const std::string&) -> const Handlers& { return handlers; };
  }
  const wire::Service& ec2_service() { return *api::DescribeRegions::operation().service; }
  const wire::Service& sts_service() { return *wire::sts::GetCallerIdentity::operation().service; }
};

TEST_F(FrontDoorTest, TellsWhoCalls) {
  auto who = call<wire::sts::GetCallerIdentity>({});
  EXPECT_EQ(who.account, "123456789012");
  EXPECT_EQ(who.arn, "arn:aws:iam::123456789012:root");
}

TEST_F(FrontDoorTest, RefusesAWrongSecretInTheServicesOwnWords) {
  credentials.secret_key = "another secret";
  http::Request request = regions_request();
  sign(request, api::DescribeRegions::operation());
  EXPECT_EQ(refused(request, ec2_service()), std::pair(401, std::string("AuthFailure")));
  EXPECT_THAT(last_message, HasSubstr("AWS was not able to validate the provided access credentials"));
  http::Request query = identity_request();
  sign(query, wire::sts::GetCallerIdentity::operation());
  EXPECT_EQ(refused(query, sts_service()), std::pair(403, std::string("SignatureDoesNotMatch")));
}

TEST_F(FrontDoorTest, RefusesAnAccessKeyThatNobodyHas) {
  credentials.access_key = "AKIDNOBODY";
  http::Request request = regions_request();
  sign(request, api::DescribeRegions::operation());
  EXPECT_EQ(refused(request, ec2_service()), std::pair(401, std::string("AuthFailure")));
  http::Request query = identity_request();
  sign(query, wire::sts::GetCallerIdentity::operation());
  EXPECT_EQ(refused(query, sts_service()), std::pair(403, std::string("InvalidClientTokenId")));
}

TEST_F(FrontDoorTest, RefusesABodyThatWasChangedAfterSigning) {
  http::Request request = regions_request();
  sign(request, api::DescribeRegions::operation());
  request.body += "&AllRegions=true";
  EXPECT_EQ(refused(request, ec2_service()).second, "AuthFailure");
}

TEST_F(FrontDoorTest, RefusesARequestThatIsNotSigned) {
  auto [status, code] = refused(regions_request(), ec2_service());
  EXPECT_GE(status, 400);
  EXPECT_LT(status, 500);
  EXPECT_FALSE(code.empty());
}

TEST_F(FrontDoorTest, RefusesAnActionThatItDoesNotServe) {
  http::Request request = regions_request();
  request.body = "Action=DescribeSpotPriceHistory&Version=2016-11-15";
  sign(request, api::DescribeRegions::operation());
  EXPECT_EQ(refused(request, ec2_service()), std::pair(400, std::string("InvalidAction")));
  EXPECT_THAT(last_message, HasSubstr("DescribeSpotPriceHistory"));
}

TEST_F(FrontDoorTest, RefusesAParameterThatItDoesNotKnow) {
  http::Request request = regions_request();
  request.body += "&Colour=red";
  sign(request, api::DescribeRegions::operation());
  EXPECT_EQ(refused(request, ec2_service()), std::pair(400, std::string("UnknownParameter")));
  EXPECT_THAT(last_message, HasSubstr("Colour"));
}

TEST_F(FrontDoorTest, NamesAServiceThatItDoesNotHave) {
  http::Request request = regions_request();
  wire::sign(request, credentials, {testing::kRegion, "dynamodb"}, loop.now());
  EXPECT_EQ(refused(request, ec2_service()).first, 400);
  EXPECT_THAT(last_message, HasSubstr("dynamodb"));
}

// Each in its own protocol, whatever it is: never a 500, never HTML.
TEST_F(FrontDoorTest, RefusesAServiceThatSpeaksJsonInJson) {
  http::Request request;
  request.method = "POST";
  request.headers.set("Host", "127.0.0.1:4577");
  request.headers.set("Content-Type", "application/x-amz-json-1.0");
  request.headers.set("X-Amz-Target", "DynamoDB_20120810.ListTables");
  request.body = "{}";
  wire::sign(request, credentials, {testing::kRegion, "dynamodb"}, loop.now());
  EXPECT_EQ(refused(request, *wire::find_service("ssm")), std::pair(400, std::string("UnknownOperationException")));
  EXPECT_THAT(last_message, HasSubstr("dynamodb"));
}

TEST_F(FrontDoorTest, CallsBeyondAwsRatesAreRefusedWhenThatIsAskedFor) {
  std::string image = register_image();
  for (int i = 0; i < 10; ++i) call<api::RunInstances>(run_request(image));
  life->front.throttle();
  int launched = 0;
  while (launched < 20 && refusal<api::RunInstances>(run_request(image)).empty()) ++launched;
  EXPECT_EQ(launched, 5) << "what RunInstances' bucket holds";
  EXPECT_EQ(refusal<api::RunInstances>(run_request(image)), "RequestLimitExceeded");
  EXPECT_EQ(refusal<api::DescribeInstances>({}), "") << "other actions have buckets of their own";
  loop.run_for(Duration(1'000));
  EXPECT_EQ(refusal<api::RunInstances>(run_request(image)), "") << "two come back each second";
}

TEST(Throttle, ACallThatNarrowsItsAnswerHasTheLargerBucket) {
  api::DescribeInstancesRequest all;
  api::DescribeInstancesRequest one;
  one.instance_ids = {"i-0123456789abcdef0"};
  const wire::Operation& operation = api::DescribeInstances::operation();
  EXPECT_EQ(bucket_of(operation, &all).size, 50);
  EXPECT_EQ(bucket_of(operation, &one).size, 100);
  EXPECT_EQ(bucket_of(api::CreateTags::operation(), nullptr).size, 100);
  EXPECT_EQ(bucket_of(api::StopInstances::operation(), nullptr).refill, 5);
}

TEST_F(FrontDoorTest, NamesARegionThatAwsDoesNotHave) {
  signed_region = "eu-moon-1";
  EXPECT_EQ(refusal<api::DescribeRegions>({}), "AuthFailure");
  EXPECT_THAT(last_message, HasSubstr("eu-moon-1"));
}

// The waiters of AWS's clients look at once and then every 15 s.
TEST_F(FrontDoorTest, HoldsAnAnswerUntilWhatWasAskedForHasSettled) {
  std::string id = run(register_image()).at(0);
  EXPECT_EQ(state_of(id), "running") << "asked in the very moment of its launch";
}

TEST_F(FrontDoorTest, ADryRunChangesNothing) {
  std::string image = register_image();
  api::RunInstancesRequest request = run_request(image);
  request.dry_run = true;
  http::Request raw = request_of(api::RunInstances::operation(), &request);
  sign(raw, api::RunInstances::operation());
  EXPECT_EQ(refused(raw, ec2_service()), std::pair(412, std::string("DryRunOperation")));
  loop.run_for(Duration(10'000));
  EXPECT_TRUE(call<api::DescribeInstances>({}).reservations.empty());
}

TEST_F(FrontDoorTest, AnswersOnlyForWhatIsWrittenDown) {
  bool answered = false;
  int commits = 0;
  std::string image = register_image();
  journal.before_commit([&] {
    ++commits;
    EXPECT_FALSE(answered);
  });
  api::RunInstancesRequest input = run_request(image);
  http::Request request = request_of(api::RunInstances::operation(), &input);
  sign(request, api::RunInstances::operation());
  life->front.handle(request, [&](http::Response response) {
    answered = true;
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(commits, 1);
    EXPECT_EQ(journal.load("ec2.instance").size(), 1u);
    journal.before_commit({});
  });
  EXPECT_TRUE(loop.run_while_not([&] { return answered; }, Duration(1000)));
}

TEST_F(FrontDoorTest, AJournalThatCannotBeWrittenIsAnsweredAndEndsTheControlPlane) {
  std::string image = register_image();
  journal.before_commit([] { throw Error(ErrorCode::disk_full, "committing: database or disk is full"); });
  api::RunInstancesRequest input = run_request(image);
  http::Request request = request_of(api::RunInstances::operation(), &input);
  sign(request, api::RunInstances::operation());
  std::optional<http::Response> answer;
  life->front.handle(request, [&](http::Response response) { answer = std::move(response); });
  EXPECT_THROW(loop.run_for(Duration(1000)), Error) << "what is in memory is not on the disk";
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 500);
  EXPECT_EQ(wire::decode_error(ec2_service(), *answer)->code, "InternalError");
  EXPECT_THAT(wire::decode_error(ec2_service(), *answer)->message, HasSubstr("disk is full"));
  journal.before_commit({});
  die();
  start();
  EXPECT_TRUE(life->ec2.instances().empty()) << "what was answered with an error was not done";
}

TEST_F(FrontDoorTest, AFaultWhileARequestIsPreparedIsA500Too) {
  Handlers broken;
  broken.on<api::DescribeVpcs>([](const Call&, const auto&) { return api::DescribeVpcsResult{}; });
  broken.before<api::DescribeVpcs>(
      [](const auto&) { throw std::system_error(EIO, std::generic_category(), "reading"); });
  FrontDoor front({loop, random, journal, log}, broken, always(broken), life->keyring);
  api::DescribeVpcsRequest vpcs;
  http::Request request = request_of(api::DescribeVpcs::operation(), &vpcs);
  sign(request, api::DescribeVpcs::operation());
  std::optional<http::Response> answer;
  front.handle(request, [&](http::Response response) { answer = std::move(response); });
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 500);
  EXPECT_EQ(wire::decode_error(ec2_service(), *answer)->code, "InternalError");
  EXPECT_THAT(host::read_file(folder.path() / "requests.log"), HasSubstr(" ec2 DescribeVpcs 0 ms 500 InternalError\n"));
}

TEST_F(FrontDoorTest, AFaultOfOursIsA500ThatNamesTheRequest) {
  Handlers broken;
  broken.on<api::DescribeVpcs>([](const Call&, const auto&) -> api::DescribeVpcsResult {
    throw Error(ErrorCode::disk_full, "no space left on /var");
  });
  broken.on<api::DescribeSubnets>(
      [](const Call&, const auto&) -> api::DescribeSubnetsResult { throw std::out_of_range("a bug"); });
  FrontDoor front({loop, random, journal, log}, broken, always(broken), life->keyring);
  auto ask = [&](const wire::Operation& operation, const void* input) {
    http::Request request = request_of(operation, input);
    sign(request, operation);
    std::optional<http::Response> answer;
    front.handle(request, [&](http::Response response) { answer = std::move(response); });
    EXPECT_TRUE(loop.run_while_not([&] { return answer.has_value(); }, Duration(1000)));
    return answer.value();
  };
  api::DescribeVpcsRequest vpcs;
  http::Response response = ask(api::DescribeVpcs::operation(), &vpcs);
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(wire::decode_error(ec2_service(), response)->code, "InternalError");
  EXPECT_THAT(wire::decode_error(ec2_service(), response)->message, HasSubstr("no space left on /var"));
  api::DescribeSubnetsRequest subnets;
  EXPECT_EQ(ask(api::DescribeSubnets::operation(), &subnets).status, 500);
}

TEST_F(FrontDoorTest, WhatMustNotHoldUpTheLoopRunsBeforeItsHandler) {
  Handlers slow;
  int before = 0;
  int handled = 0;
  slow.before<api::DescribeVpcs>([&](const api::DescribeVpcsRequest& input) {
    ++before;
    if (!input.vpc_ids.empty()) throw ApiError("InvalidVpcID.NotFound", "not there");
  });
  slow.on<api::DescribeVpcs>([&](const Call&, const auto&) {
    ++handled;
    return api::DescribeVpcsResult{};
  });
  FrontDoor front({loop, random, journal, log}, slow, always(slow), life->keyring);
  auto ask = [&](const api::DescribeVpcsRequest& input) {
    http::Request request = request_of(api::DescribeVpcs::operation(), &input);
    sign(request, api::DescribeVpcs::operation());
    int status = 0;
    front.handle(request, [&](http::Response response) { status = response.status; });
    EXPECT_EQ(before, handled + 1) << "the loop has not run yet";
    loop.run_for(Duration(1));
    return status;
  };
  EXPECT_EQ(ask({}), 200);
  api::DescribeVpcsRequest unknown;
  unknown.vpc_ids = {"vpc-1"};
  EXPECT_EQ(ask(unknown), 400);
  EXPECT_EQ(handled, 1);
}

TEST_F(FrontDoorTest, WritesOneLineForEachCallAndNoSecret) {
  call<api::DescribeRegions>({});
  signed_region = "eu-moon-1";
  refusal<api::DescribeRegions>({});
  std::string lines = host::read_file(folder.path() / "requests.log");
  EXPECT_THAT(lines, HasSubstr("AKIDEXAMPLE us-east-1 ec2 DescribeRegions"));
  EXPECT_THAT(lines, HasSubstr(" 200 ok\n"));
  EXPECT_THAT(lines, HasSubstr(" AuthFailure\n"));
  EXPECT_THAT(lines, Not(HasSubstr("the secret")));
}

TEST(RequestLog, WritesNoLineThatACallerHasMadeUp) {
  host::TemporaryFolder folder("kiln-log-test-");
  RequestLog log(folder.path() / "requests.log");
  log.add(
      {Time{}, "", "", "ec2", "Run\n2026-11-24T03:00:00.000Z AKID ec2 \x1b[2J\\x41", Duration(1), 403, "AuthFailure"});
  EXPECT_EQ(
      host::read_file(folder.path() / "requests.log"),
      format_iso8601(Time{}) +
          " - - ec2 Run\\x0a2026-11-24T03:00:00.000Z\\x20AKID\\x20ec2\\x20\\x1b[2J\\x5cx41 1 ms 403 AuthFailure\n");
}

TEST(RequestLog, StaysBounded) {
  host::TemporaryFolder folder("kiln-log-test-");
  host::Path path = folder.path() / "requests.log";
  RequestLog log(path);
  std::string long_name(8000, 'x');
  for (int i = 0; i < 8000; ++i) log.add({Time{}, "caller", "us-east-1", "ec2", long_name, Duration(1), 200, "ok"});
  EXPECT_LT(std::filesystem::file_size(path), std::size_t{2} << 20);
  EXPECT_LT(std::filesystem::file_size(path.string() + ".old"), std::size_t{2} << 20);
  EXPECT_EQ(host::list_folder(folder.path()).size(), 2u);
}

}  // namespace
}  // namespace kiln::region
