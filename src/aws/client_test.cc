// Client: what is tried again, what is not, and what is said.
#include "aws/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aws/fake_aws.h"
#include "base/testing/errors.h"
#include "wire/autoscaling.h"
#include "wire/ec2.h"
#include "wire/sts.h"

namespace kiln::aws {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using wire::ec2::DescribeRegions;
using wire::ec2::RunInstances;
using wire::sts::GetCallerIdentity;

const wire::Service& ec2() { return *DescribeRegions::operation().service; }
const wire::Service& sts() { return *GetCallerIdentity::operation().service; }

class Calling : public ::testing::Test {
 protected:
  Client client(Client::Options options = {}, Config config = test_config()) {
    options.on_call = [this](const CallReport& report) { reports.push_back(report); };
    return Client(std::move(config), aws, clock, random, std::move(options));
  }
  template <class Op>
  Error failure(Client& caller, const typename Op::Input& input = {}) {
    return testing::failure([&] { caller.call<Op>(input); });
  }
  std::string field(const http::Request& request, const std::string& name) {
    std::size_t at = ("&" + request.body).find("&" + name + "=");
    return at == std::string::npos
               ? ""
               : request.body.substr(at + name.size() + 1, request.body.find('&', at + 1) - at - name.size() - 1);
  }

  host::SimulatedClock clock{parse_iso8601("2026-11-24T03:00:00Z")};
  host::SeededRandom random{1};
  FakeAws aws{clock};
  std::vector<CallReport> reports;
  wire::sts::GetCallerIdentityResponse me{.user_id = "u", .account = "123456789012", .arn = "arn:aws:iam::1:root"};
};

TEST_F(Calling, SignsSendsAndDecodes) {
  aws.then_verified(
      sts(), [&](const http::Request&) { return wire::encode_response(GetCallerIdentity::operation(), &me, "r-1"); });
  Client caller = client();
  EXPECT_EQ(caller.call<GetCallerIdentity>({}).account, "123456789012");
  EXPECT_EQ(aws.origins, std::vector<std::string>{"http://127.0.0.1:4577"});
  EXPECT_EQ(aws.requests[0].headers.get("Host"), "127.0.0.1:4577");
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].service + " " + reports[0].operation + " " + reports[0].outcome, "sts GetCallerIdentity ok");
}

struct Failing {
  std::string code;  // empty: nobody answers
  int status;
  bool again;
};

class RetryMatrix : public Calling, public ::testing::WithParamInterface<Failing> {};

TEST_P(RetryMatrix, TriesThreeTimesWhatMayPassAndOnceWhatMayNot) {
  const Failing& failing = GetParam();
  const std::size_t tries = failing.again ? 3 : 1;
  for (std::size_t i = 0; i < tries; ++i) {
    if (failing.code.empty()) {
      aws.then_nobody(failing.status == 0 ? ErrorCode::timeout : ErrorCode::unavailable);
    } else {
      aws.then_error(ec2(), failing.code, failing.status);
    }
  }
  Client caller = client();
  failure<DescribeRegions>(caller);
  EXPECT_EQ(aws.requests.size(), tries);
  EXPECT_EQ(reports.at(0).attempts, static_cast<int>(tries));
  // Full jitter on 1 s and 2 s.
  EXPECT_LE(clock.uptime(), Duration(3000));
  EXPECT_EQ(clock.uptime() > Duration::zero(), failing.again);
}

INSTANTIATE_TEST_SUITE_P(
    Codes, RetryMatrix,
    ::testing::Values(Failing{"", 0, true}, Failing{"", 1, true}, Failing{"RequestLimitExceeded", 503, true},
                      Failing{"Throttling", 400, true}, Failing{"RequestTimeout", 400, true},
                      Failing{"InternalError", 500, true}, Failing{"Unavailable", 503, true}, Failing{"Odd", 502, true},
                      Failing{"Odd", 504, true}, Failing{"NotImplemented", 501, false},
                      Failing{"AuthFailure", 401, false}, Failing{"UnauthorizedOperation", 403, false},
                      Failing{"InvalidAMIID.NotFound", 400, false}, Failing{"InvalidParameterValue", 400, false},
                      Failing{"Odd", 409, false}, Failing{"Odd", 429, false}));

TEST_F(Calling, GivesTheAnswerOfALaterAttempt) {
  aws.then_nobody(ErrorCode::unavailable).then_error(sts(), "Throttling", 400).then_ok<GetCallerIdentity>(me);
  Client caller = client();
  EXPECT_EQ(caller.call<GetCallerIdentity>({}).user_id, "u");
  EXPECT_EQ(reports.at(0).attempts, 3);
  EXPECT_EQ(reports.at(0).outcome, "ok");
}

TEST_F(Calling, KeepsOneClientTokenOverAllAttempts) {
  aws.then_error(ec2(), "InternalError", 500)
      .then_ok<RunInstances>({})
      .then_ok<RunInstances>({})
      .then_ok<RunInstances>({});
  Client caller = client();
  wire::ec2::RunInstancesRequest input;
  input.image_id = "ami-1";
  input.min_count = input.max_count = 1;
  caller.call<RunInstances>(input);
  caller.call<RunInstances>(input);
  input.client_token = "mine";
  caller.call<RunInstances>(input);
  const std::string token = field(aws.requests[0], "ClientToken");
  EXPECT_EQ(token.size(), 36u);
  EXPECT_EQ(field(aws.requests[1], "ClientToken"), token);
  EXPECT_NE(field(aws.requests[2], "ClientToken"), token);
  EXPECT_EQ(field(aws.requests[3], "ClientToken"), "mine");
}

TEST_F(Calling, CarriesAwssErrorToTheCaller) {
  aws.then_error(ec2(), "InvalidAMIID.NotFound", 400);
  Client caller = client();
  try {
    caller.call<DescribeRegions>({});
    FAIL();
  } catch (const AwsError& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_EQ(error.aws_code(), "InvalidAMIID.NotFound");
    EXPECT_EQ(error.details().request_id, "r-error");
    EXPECT_EQ(error.details().http_status, 400);
    EXPECT_EQ(error.details().operation, "DescribeRegions");
  }
}

TEST_F(Calling, SaysWhoseCredentialsWereRefusedAndNeverTheSecret) {
  aws.then_error(ec2(), "AuthFailure", 401);
  Client caller = client();
  Error error = failure<DescribeRegions>(caller);
  EXPECT_EQ(error.code(), ErrorCode::denied);
  EXPECT_THAT(error.next(), HasSubstr("environment"));
  EXPECT_THAT(error.what(), Not(HasSubstr("secret")));
}

TEST_F(Calling, SaysWhereNobodyAnsweredAndWhatToDo) {
  aws.then_nobody(ErrorCode::unavailable).then_nobody(ErrorCode::unavailable).then_nobody(ErrorCode::unavailable);
  Client caller = client();
  Error error = failure<DescribeRegions>(caller);
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_THAT(error.what(), HasSubstr("ec2 DescribeRegions, 3 attempts: nobody answers"));
  EXPECT_THAT(error.next(), HasSubstr("kiln region start"));
}

TEST_F(Calling, NamesTheStatusOfAnAnswerThatIsNoAwsError) {
  aws.then([](const http::Request&) {
    http::Response page;
    page.status = 404;
    page.body = "<html>not here</html>";
    return page;
  });
  Client caller = client();
  EXPECT_THAT(failure<DescribeRegions>(caller).message(), HasSubstr("HttpError404"));
}

TEST_F(Calling, CorrectsItsClockOnceByTheAnswersDate) {
  aws.ahead = Duration(3'600'000);
  auto good = [&](const http::Request&) { return wire::encode_response(GetCallerIdentity::operation(), &me, "r"); };
  aws.then_verified(sts(), good).then_verified(sts(), good).then_verified(sts(), good);
  Client caller = client();
  EXPECT_EQ(caller.call<GetCallerIdentity>({}).user_id, "u");
  EXPECT_EQ(aws.requests.size(), 2u);
  EXPECT_EQ(clock.uptime(), Duration::zero());
  caller.call<GetCallerIdentity>({});  // what was learned holds for later calls
  EXPECT_EQ(aws.requests.size(), 3u);
}

TEST_F(Calling, DoesNotBlameTheClockForAWrongSecret) {
  aws.then_verified(sts(), nullptr);
  Client caller = client({}, test_config({{"AWS_SECRET_ACCESS_KEY", "wrong"}}));
  EXPECT_EQ(failure<GetCallerIdentity>(caller).code(), ErrorCode::denied);
  EXPECT_EQ(aws.requests.size(), 1u);
}

TEST_F(Calling, StopsRetryingWhenTheQuotaIsSpent) {
  Client caller = client();
  for (int call = 0; call < 60; ++call) {
    for (int i = 0; i < 3; ++i) {
      aws.then_error(ec2(), "InternalError", 500);
    }
  }
  for (int call = 0; call < 60; ++call) {
    failure<DescribeRegions>(caller);
  }
  EXPECT_EQ(aws.requests.size(), 160u);  // 60 calls and the 100 retries that the quota pays for
}

TEST_F(Calling, AttemptsAsOftenAsTheConfigSays) {
  aws.then_error(ec2(), "InternalError", 500);
  Client caller = client({}, test_config({{"AWS_MAX_ATTEMPTS", "1"}}));
  failure<DescribeRegions>(caller);
  EXPECT_EQ(aws.requests.size(), 1u);
}

TEST_F(Calling, EndsInABackoffWhenItIsCancelled) {
  aws.then_error(ec2(), "InternalError", 500);
  Client::Options options;
  options.cancelled = [&] { return !aws.requests.empty(); };
  Client caller = client(std::move(options));
  EXPECT_EQ(failure<DescribeRegions>(caller).code(), ErrorCode::cancelled);
  EXPECT_EQ(reports.at(0).outcome, "cancelled");
}

TEST_F(Calling, SendsNothingWithoutCredentials) {
  Client caller = client({}, test_config({{"AWS_ACCESS_KEY_ID", ""}, {"AWS_SECRET_ACCESS_KEY", ""}}));
  EXPECT_EQ(failure<DescribeRegions>(caller).code(), ErrorCode::denied);
  EXPECT_TRUE(aws.requests.empty());
}

}  // namespace
}  // namespace kiln::aws
