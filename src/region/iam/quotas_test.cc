// Tests of an account's quotas, asked of IAM itself: over the wire they would take minutes.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
#include <fmt/format.h>

#include "region/iam/testing/iam_world.h"

namespace kiln::region {
namespace {

class QuotasTest : public testing::IamWorld {
 protected:
  // How many go well before the first refusal, which is `code_`.
  template <class Make>
  int made_before_refusal(int bound, Make&& make) {
    for (int i = 0; i <= bound; ++i) {
      try {
        make(fmt::format("thing-{}", i));
      } catch (const ApiError& error) {
        code_ = error.code();
        return i;
      }
    }
    return bound + 1;
  }
  std::string code_;
};

TEST_F(QuotasTest, AnAccountHasFiveThousandUsers) {
  EXPECT_EQ(made_before_refusal(5000, [&](const std::string& name) { life->iam.create_user(name, "/", {}); }), 5000);
  EXPECT_EQ(code_, "LimitExceeded");
}

TEST_F(QuotasTest, AnAccountHasAThousandRolesAndInstanceProfiles) {
  const auto make_one = [&](const std::string& name) {
    iam::NewRole role;
    role.name = name;
    role.trust = kTrustEc2;
    life->iam.create_role(role);
  };
  EXPECT_EQ(made_before_refusal(1000, make_one), 1000);
  EXPECT_EQ(code_, "LimitExceeded");
  EXPECT_EQ(
      made_before_refusal(1000, [&](const std::string& name) { life->iam.create_instance_profile(name, "/", {}); }),
      1000);
  EXPECT_EQ(code_, "LimitExceeded");
}

TEST_F(QuotasTest, AnAccountHasFifteenHundredPolicies) {
  EXPECT_EQ(
      made_before_refusal(1500, [&](const std::string& name) { life->iam.create_policy(name, "/", kPolicy, "", {}); }),
      1500);
  EXPECT_EQ(code_, "LimitExceeded");
}

TEST_F(QuotasTest, TemporaryCredentialsAreBounded) {
  const Principal root = iam::root_of(testing::kAccount);
  EXPECT_EQ(made_before_refusal(20'000, [&](const std::string&) { life->iam.session_token(root, std::nullopt); }),
            20'000);
  EXPECT_EQ(code_, "Throttling");
  loop.run_for(Duration(26 * 3'600'000));
  life->iam.session_token(root, std::nullopt);
}

}  // namespace
}  // namespace kiln::region
