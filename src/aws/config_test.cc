// Config: AWS's order of environment and files, and what it says when something is missing.
#include "aws/config.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"
#include "host/file.h"

namespace kiln::aws {
namespace {

using testing::failure;
using ::testing::HasSubstr;
using ::testing::Not;

class Configured : public ::testing::Test {
 protected:
  Config load(std::map<std::string, std::string> more = {}, const Overrides& overrides = {}) const {
    std::map<std::string, std::string> all{{"HOME", "/nonexistent"},
                                           {"AWS_CONFIG_FILE", testdata + "config"},
                                           {"AWS_SHARED_CREDENTIALS_FILE", testdata + "credentials"}};
    for (auto& [name, value] : more) {
      all[name] = value;
    }
    return Config::load([all](const std::string& name) { return all.contains(name) ? all.at(name) : ""; }, overrides);
  }

  const std::string testdata = std::string(KILN_SOURCE_DIR) + "/src/aws/testdata/";
};

TEST_F(Configured, TakesCredentialsFromTheEnvironmentFirst) {
  Config config = load({{"AWS_ACCESS_KEY_ID", "AKIAENV"},
                        {"AWS_SECRET_ACCESS_KEY", "env"},
                        {"AWS_SESSION_TOKEN", "t"},
                        {"AWS_PROFILE", "temporary"}});
  EXPECT_EQ(config.credentials().access_key, "AKIAENV");
  EXPECT_EQ(config.credentials().session_token, "t");
  EXPECT_EQ(config.credentials_source(), "environment");
}

TEST_F(Configured, TakesTheProfileOfTheCommandLineBeforeTheEnvironment) {
  Config config = load({{"AWS_ACCESS_KEY_ID", "AKIAENV"}, {"AWS_SECRET_ACCESS_KEY", "env"}}, {"temporary", "", ""});
  EXPECT_EQ(config.credentials().access_key, "ASIATEMP");
  EXPECT_EQ(config.credentials().session_token, "token==");
  EXPECT_EQ(config.credentials_source(), "profile temporary in " + testdata + "credentials");
}

TEST_F(Configured, FindsAProfileInEitherFile) {
  EXPECT_EQ(load().credentials().secret_key, "default-secret");
  EXPECT_EQ(load({{"AWS_PROFILE", "dev"}}).credentials().access_key, "AKIACONFIG");
  EXPECT_EQ(load({{"AWS_PROFILE", "dev"}}).region(), "eu-west-1");
}

TEST_F(Configured, SaysWhereItLookedForCredentials) {
  Error error = failure([&] {
    load({{"AWS_CONFIG_FILE", "/none/c"}, {"AWS_SHARED_CREDENTIALS_FILE", ""}}).credentials();
  });
  EXPECT_EQ(error.code(), ErrorCode::denied);
  EXPECT_THAT(error.message(), HasSubstr("AWS_ACCESS_KEY_ID is not set"));
  EXPECT_THAT(error.message(), HasSubstr("/nonexistent/.aws/credentials (no such file)"));
  EXPECT_THAT(error.message(), HasSubstr("/none/c (no such file)"));
  EXPECT_THAT(error.next(), HasSubstr("AWS_SECRET_ACCESS_KEY"));
}

TEST_F(Configured, NamesTheLineOfHalfACredentialAndNeverTheSecret) {
  Error error = failure([&] { load({{"AWS_PROFILE", "broken"}}).credentials(); });
  EXPECT_EQ(error.code(), ErrorCode::denied);
  EXPECT_THAT(error.message(), HasSubstr("credentials:11: profile 'broken' has aws_access_key_id but no "));
  Error half = failure([&] { load({{"AWS_SECRET_ACCESS_KEY", "hush"}}).credentials(); });
  EXPECT_THAT(half.message(), HasSubstr("AWS_ACCESS_KEY_ID is not"));
  EXPECT_THAT(half.what(), Not(HasSubstr("hush")));
}

TEST_F(Configured, SaysWhichKindsOfCredentialsItCannotTake) {
  Error error = failure([&] { load({{"AWS_PROFILE", "my team"}}).credentials(); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_THAT(error.message(), HasSubstr("config:17: profile 'my team' takes its credentials from role_arn"));
  EXPECT_THAT(error.next(), HasSubstr("export-credentials"));
}

TEST_F(Configured, NamesTheNearestProfileToAnUnknownOne) {
  Error error = failure([&] { load({{"AWS_PROFILE", "temporery"}}); });
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.message(), HasSubstr("profile 'temporery' (AWS_PROFILE)"));
  EXPECT_THAT(error.next(), HasSubstr("'temporary'"));
}

TEST_F(Configured, FindsTheRegionInAwssOrder) {
  EXPECT_EQ(load().region(), "us-east-1");
  EXPECT_EQ(load({{"AWS_DEFAULT_REGION", "eu-north-1"}}).region(), "eu-north-1");
  EXPECT_EQ(load({{"AWS_DEFAULT_REGION", "eu-north-1"}, {"AWS_REGION", "eu-west-3"}}).region(), "eu-west-3");
  EXPECT_EQ(load({{"AWS_REGION", "eu-west-3"}}, {"", "sa-east-1", ""}).region(), "sa-east-1");
  EXPECT_EQ(failure([&] { load({{"AWS_PROFILE", "plain"}}).region(); }).code(), ErrorCode::usage);
  EXPECT_THAT(failure([&] {
                load({{"AWS_REGION", "us-east-1.evil.com/"}}).region();
              }).message(),
              HasSubstr("AWS_REGION"));
}

TEST_F(Configured, FindsTheEndpointInAwssOrder) {
  const std::string id = "Auto Scaling", prefix = "autoscaling";
  EXPECT_EQ(load().endpoint(id, prefix), "https://autoscaling.us-east-1.amazonaws.com");
  EXPECT_EQ(load({{"AWS_PROFILE", "plain"}}).endpoint(id, prefix), "http://127.0.0.1:9999");
  EXPECT_EQ(load({{"AWS_PROFILE", "dev"}}).endpoint(id, prefix), "http://127.0.0.2:4577");
  EXPECT_EQ(load({{"AWS_PROFILE", "dev"}}).endpoint("STS", "sts"), "https://sts.eu-west-1.amazonaws.com");
  std::map<std::string, std::string> environment{{"AWS_PROFILE", "dev"}, {"AWS_ENDPOINT_URL", "http://localhost:1"}};
  EXPECT_EQ(load(environment).endpoint(id, prefix), "http://localhost:1");
  environment["AWS_ENDPOINT_URL_AUTO_SCALING"] = "https://as.example:8443/";
  EXPECT_EQ(load(environment).endpoint(id, prefix), "https://as.example:8443");
  EXPECT_EQ(load(environment).endpoint("EC2", "ec2"), "http://localhost:1");
  EXPECT_EQ(load(environment, {"", "", "http://127.9.9.9:9"}).endpoint(id, prefix), "http://127.9.9.9:9");
  environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "True";
  EXPECT_EQ(load(environment).endpoint(id, prefix), "https://autoscaling.eu-west-1.amazonaws.com");
}

TEST_F(Configured, NamesTheServiceIdAsAwsDoes) {
  EXPECT_EQ(load({{"AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", "http://h:1"}})
                .endpoint("Elastic Load Balancing v2", "elasticloadbalancing"),
            "http://h:1");
}

TEST_F(Configured, RefusesAnEndpointThatIsNoOriginWithoutShowingIt) {
  for (const char* url : {"127.0.0.1:4577", "ftp://h", "http://", "http://user:hush@h", "http://h/path", "http://h?q",
                          "http://h\r\nX: y"}) {
    Error error = failure([&] { load({{"AWS_ENDPOINT_URL", url}}).endpoint("EC2", "ec2"); });
    EXPECT_EQ(error.code(), ErrorCode::usage) << url;
    EXPECT_THAT(error.message(), HasSubstr("AWS_ENDPOINT_URL"));
    EXPECT_THAT(error.message(), Not(HasSubstr("hush")));
  }
}

TEST_F(Configured, KnowsThePartitions) {
  EXPECT_EQ(aws_endpoint("ec2", "cn-north-1"), "https://ec2.cn-north-1.amazonaws.com.cn");
  EXPECT_EQ(aws_endpoint("ec2", "us-gov-west-1"), "https://ec2.us-gov-west-1.amazonaws.com");
}

TEST_F(Configured, BoundsTheNumberOfAttempts) {
  EXPECT_EQ(load().attempts_max(), 3);
  EXPECT_EQ(load({{"AWS_PROFILE", "dev"}}).attempts_max(), 5);
  EXPECT_EQ(load({{"AWS_MAX_ATTEMPTS", "1"}}).attempts_max(), 1);
  for (const char* wrong : {"0", "21", "many"}) {
    EXPECT_EQ(failure([&] { load({{"AWS_MAX_ATTEMPTS", wrong}}).attempts_max(); }).code(), ErrorCode::usage);
  }
}

}  // namespace
}  // namespace kiln::aws
