// Tests of temporary credentials: AssumeRole, GetSessionToken, what an instance gets, and how they end.
#include "region/iam/testing/iam_world.h"

namespace kiln::region {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
namespace api = wire::ec2;
namespace sts_ = wire::sts;

class SessionsTest : public testing::IamWorld {
 protected:
  static sts_::AssumeRoleRequest role_request(const std::string& role, const std::string& session = "session") {
    sts_::AssumeRoleRequest request;
    request.role_arn = "arn:aws:iam::123456789012:role/" + role;
    request.role_session_name = session;
    return request;
  }
  void pass(Duration time) { loop.run_for(time); }
};

TEST_F(SessionsTest, AUserAssumesARoleAndCallsAsIt) {
  const std::string role_id = make_role("deploy").role_id.value();
  as(make_user_with_key("ann"));
  const auto answer = call<sts_::AssumeRole>(role_request("deploy", "ann@laptop"));
  EXPECT_EQ(answer.assumed_role_user->arn, "arn:aws:sts::123456789012:assumed-role/deploy/ann@laptop");
  EXPECT_EQ(answer.assumed_role_user->assumed_role_id, role_id + ":ann@laptop");
  EXPECT_THAT(answer.credentials->access_key_id.value(), MatchesRegex("ASIA[A-Z2-7]{16}"));
  EXPECT_EQ(answer.credentials->expiration, loop.now() + Duration(3'600'000));
  as(of(*answer.credentials));
  EXPECT_EQ(who().arn, "arn:aws:sts::123456789012:assumed-role/deploy/ann@laptop");
  EXPECT_EQ(who().user_id, role_id + ":ann@laptop");
  EXPECT_EQ(who().account, "123456789012");
  EXPECT_FALSE(call<api::DescribeRegions>({}).regions.empty());
}

TEST_F(SessionsTest, TheTokenIsPartOfTheKey) {
  make_role("deploy");
  as(make_user_with_key("ann"));
  wire::Credentials session = assume("deploy");
  session.session_token = "another";
  as(session);
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "InvalidClientTokenId");
  session.session_token.clear();
  as(session);
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "InvalidClientTokenId");
}

TEST_F(SessionsTest, ExpireInTheWordsOfEachProtocol) {
  make_role("deploy");
  as(make_user_with_key("ann"));
  auto request = role_request("deploy");
  request.duration_seconds = 900;
  as(of(call<sts_::AssumeRole>(request).credentials.value()));
  pass(Duration(899'000));
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "");
  pass(Duration(1'000));
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "ExpiredToken");
  EXPECT_EQ(refusal<api::DescribeRegions>({}), "RequestExpired");
  die();
  start();
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "ExpiredToken") << "also after a death";
}

TEST_F(SessionsTest, OutliveAControlPlaneAndAreForgottenADayAfterTheirEnd) {
  make_role("deploy");
  as(make_user_with_key("ann"));
  const wire::Credentials session = assume("deploy");
  die();
  start();
  as(session);
  EXPECT_EQ(who().arn, "arn:aws:sts::123456789012:assumed-role/deploy/session");
  pass(Duration(27 * 3'600'000));
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "InvalidClientTokenId");
  EXPECT_TRUE(journal.load("iam.session").empty());
}

TEST_F(SessionsTest, TheTrustPolicyDecidesWhoMayAssume) {
  const std::string ann_trust = R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",)"
                                R"("Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"}}]})";
  const wire::Credentials ann = make_user_with_key("ann");
  const wire::Credentials bob = make_user_with_key("bob");
  make_role("deploy", ann_trust);
  make_role("web", kTrustEc2);
  as(bob);
  EXPECT_EQ(refusal<sts_::AssumeRole>(role_request("deploy")), "AccessDenied");
  EXPECT_EQ(last_message,
            "User: arn:aws:iam::123456789012:user/bob is not authorized to perform: sts:AssumeRole on resource: "
            "arn:aws:iam::123456789012:role/deploy");
  as(ann);
  EXPECT_EQ(refusal<sts_::AssumeRole>(role_request("deploy")), "");
  EXPECT_EQ(refusal<sts_::AssumeRole>(role_request("web")), "AccessDenied") << "only a service may";
  EXPECT_EQ(refusal<sts_::AssumeRole>(role_request("none")), "AccessDenied") << "as AWS says of one that is not there";
  EXPECT_EQ(refusal<sts_::AssumeRole>(role_request("path/deploy")), "AccessDenied") << "the path counts";
  auto elsewhere = role_request("deploy");
  elsewhere.role_arn = "arn:aws:iam::210987654321:role/deploy";
  EXPECT_EQ(refusal<sts_::AssumeRole>(elsewhere), "AccessDenied");
  elsewhere.role_arn = "nonsense";
  EXPECT_EQ(refusal<sts_::AssumeRole>(elsewhere), "ValidationError");
  // Ann who was deleted and made again is another one.
  as_root();
  wire::iam::DeleteAccessKeyRequest key;
  key.user_name = "ann";
  key.access_key_id = ann.access_key;
  call<wire::iam::DeleteAccessKey>(key);
  wire::iam::DeleteUserRequest gone;
  gone.user_name = "ann";
  call<wire::iam::DeleteUser>(gone);
  as(make_user_with_key("ann"));
  EXPECT_EQ(refusal<sts_::AssumeRole>(role_request("deploy")), "AccessDenied");
}

TEST_F(SessionsTest, ARoleOfAnotherAccountIsAssumedWhenItTrustsThisOne) {
  MemoryJournal theirs;
  iam::Iam other(loop, random, theirs, life->keyring, "210987654321");
  iam::NewRole role;
  role.name = "shared";
  role.trust = kTrustRoot;  // the root of this account: anybody of it
  other.create_role(role);
  Handlers handlers;
  sts::serve(handlers, life->iam, life->keyring,
             [&](const std::string& account) { return account == other.account() ? &other : nullptr; });
  as(make_user_with_key("ann"));
  Call ann;
  ann.account = testing::kAccount;
  ann.principal = {testing::kAccount, who().arn.value(), who().user_id.value(), "", false};
  auto request = role_request("shared");
  request.role_arn = "arn:aws:iam::210987654321:role/shared";
  const auto answer =
      std::static_pointer_cast<sts_::AssumeRoleResponse>(handlers.run(sts_::AssumeRole::operation(), ann, &request));
  EXPECT_EQ(answer->assumed_role_user->arn, "arn:aws:sts::210987654321:assumed-role/shared/session");
  const auto key = life->keyring.find(answer->credentials->access_key_id.value());
  ASSERT_TRUE(key);
  EXPECT_EQ(key->principal.account, "210987654321") << "the session is the other account's";
  EXPECT_EQ(iam::account_of(answer->credentials->access_key_id.value()), "210987654321");
  request.role_arn = "arn:aws:iam::333333333333:role/shared";
  EXPECT_THROW(handlers.run(sts_::AssumeRole::operation(), ann, &request), ApiError);
}

TEST_F(SessionsTest, RootMayNotAssumeARole) {
  make_role("deploy");
  EXPECT_EQ(refusal<sts_::AssumeRole>(role_request("deploy")), "AccessDenied");
  EXPECT_EQ(last_message, "Roles may not be assumed by root accounts.");
}

TEST_F(SessionsTest, LastWithinTheRolesBoundsAndAnHourWhenChained) {
  make_role("deploy");
  as(make_user_with_key("ann"));
  auto request = role_request("deploy");
  for (std::int64_t seconds : {899, 43'201}) {
    request.duration_seconds = seconds;
    EXPECT_EQ(refusal<sts_::AssumeRole>(request), "ValidationError");
    EXPECT_THAT(last_message, HasSubstr("durationSeconds"));
  }
  request.duration_seconds = 3601;
  EXPECT_EQ(refusal<sts_::AssumeRole>(request), "ValidationError");
  EXPECT_EQ(last_message, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
  wire::iam::UpdateRoleRequest longer;
  longer.role_name = "deploy";
  longer.max_session_duration = 7200;
  call<wire::iam::UpdateRole>(longer);
  EXPECT_EQ(refusal<sts_::AssumeRole>(request), "");
  as(assume("deploy"));
  EXPECT_EQ(refusal<sts_::AssumeRole>(request), "ValidationError");
  EXPECT_THAT(last_message, HasSubstr("1 hour session limit for roles assumed by role chaining"));
  request.duration_seconds = 3600;
  EXPECT_EQ(refusal<sts_::AssumeRole>(request), "");
}

TEST_F(SessionsTest, HaveNamesOfAwsForm) {
  make_role("deploy");
  as(make_user_with_key("ann"));
  for (const std::string& name : {std::string("x"), std::string("a b"), std::string("a/b"), std::string(65, 'a')}) {
    EXPECT_EQ(refusal<sts_::AssumeRole>(role_request("deploy", name)), "ValidationError") << name;
  }
  auto request = role_request("deploy");
  request.policy = kPolicy;
  EXPECT_EQ(refusal<sts_::AssumeRole>(request), "UnsupportedOperation");
  EXPECT_THAT(last_message, HasSubstr("Policy"));
  request.policy.reset();
  request.token_code = "123456";
  EXPECT_EQ(refusal<sts_::AssumeRole>(request), "UnsupportedOperation");
}

TEST_F(SessionsTest, AnExternalIdIsWhatTheTrustPolicyAsksFor) {
  make_role("deploy",
            R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*",)"
            R"("Condition":{"StringEquals":{"sts:ExternalId":"vendor"}}}]})");
  as(make_user_with_key("ann"));
  auto request = role_request("deploy");
  EXPECT_EQ(refusal<sts_::AssumeRole>(request), "AccessDenied");
  request.external_id = "vendor";
  EXPECT_EQ(refusal<sts_::AssumeRole>(request), "");
}

TEST_F(SessionsTest, ASessionTokenIsTheCallersOwn) {
  as(make_user_with_key("ann"));
  const auto answer = call<sts_::GetSessionToken>({});
  EXPECT_EQ(answer.credentials->expiration, loop.now() + Duration(43'200'000));
  const std::string id = who().user_id.value();
  as(of(*answer.credentials));
  EXPECT_EQ(who().arn, "arn:aws:iam::123456789012:user/ann");
  EXPECT_EQ(who().user_id, id);
  EXPECT_EQ(refusal<sts_::GetSessionToken>({}), "AccessDenied");
  EXPECT_EQ(last_message, "Cannot call GetSessionToken with session credentials");
  as_root();
  sts_::GetSessionTokenRequest request;
  request.duration_seconds = 129'600;
  const auto root = call<sts_::GetSessionToken>(request);
  EXPECT_EQ(root.credentials->expiration, loop.now() + Duration(3'600'000)) << "an hour is root's most";
  request.duration_seconds = 899;
  EXPECT_EQ(refusal<sts_::GetSessionToken>(request), "ValidationError");
  request.duration_seconds = 129'601;
  EXPECT_EQ(refusal<sts_::GetSessionToken>(request), "ValidationError");
}

TEST_F(SessionsTest, EndWithTheirUserOrRole) {
  make_role("deploy");
  const wire::Credentials ann = make_user_with_key("ann");
  as(ann);
  const wire::Credentials session = assume("deploy");
  const wire::Credentials token = of(call<sts_::GetSessionToken>({}).credentials.value());
  as_root();
  wire::iam::DeleteRoleRequest role;
  role.role_name = "deploy";
  call<wire::iam::DeleteRole>(role);
  as(session);
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "InvalidClientTokenId");
  as_root();
  wire::iam::DeleteAccessKeyRequest key;
  key.user_name = "ann";
  key.access_key_id = ann.access_key;
  call<wire::iam::DeleteAccessKey>(key);
  as(token);
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "") << "a token outlives the key that it was made with";
  as_root();
  wire::iam::DeleteUserRequest user;
  user.user_name = "ann";
  call<wire::iam::DeleteUser>(user);
  as(token);
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "InvalidClientTokenId");
}

TEST_F(SessionsTest, AKeyTellsItsAccount) {
  const wire::Credentials ann = make_user_with_key("ann");
  const auto account = [&](const std::string& key) {
    sts_::GetAccessKeyInfoRequest request;
    request.access_key_id = key;
    return call<sts_::GetAccessKeyInfo>(request).account.value();
  };
  EXPECT_EQ(account("AKIDEXAMPLE"), "123456789012") << "the region's own";
  EXPECT_EQ(account(ann.access_key), "123456789012");
  EXPECT_EQ(account(iam::root_credentials(testing::kSeed, "210987654321").access_key), "210987654321");
  sts_::GetAccessKeyInfoRequest request;
  request.access_key_id = "nonsense";
  EXPECT_EQ(refusal<sts_::GetAccessKeyInfo>(request), "ValidationError");
}

TEST_F(SessionsTest, AnInstanceGetsItsRolesCredentialsAndNewOnesBeforeTheyExpire) {
  const std::string arn = make_profile("web").arn.value();
  const auto asked = [&] { return life->iam.instance_credentials(arn, "i-1").value(); };
  const iam::RoleCredentials first = asked();
  EXPECT_EQ(first.role, "web");
  EXPECT_EQ(first.updated, loop.now());
  EXPECT_EQ(first.expiration, loop.now() + Duration(6 * 3'600'000));
  as({first.access_key, first.secret_key, first.token});
  EXPECT_EQ(who().arn, "arn:aws:sts::123456789012:assumed-role/web/i-1");
  EXPECT_EQ(asked().access_key, first.access_key);
  EXPECT_NE(life->iam.instance_credentials(arn, "i-2")->access_key, first.access_key);
  pass(Duration(1000));
  die();
  start();
  EXPECT_EQ(asked().access_key, first.access_key) << "also after a death";
  pass(Duration(5 * 3'600'000));
  const iam::RoleCredentials second = asked();
  EXPECT_NE(second.access_key, first.access_key);
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "") << "the old ones are good until their end";
  pass(Duration(3'600'000));
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "ExpiredToken");
  EXPECT_EQ(asked().access_key, second.access_key);
}

TEST_F(SessionsTest, AnInstanceGetsNoneWithoutARoleThatTrustsEc2) {
  const std::string arn = make_profile("web", kTrustRoot).arn.value();
  try {
    life->iam.instance_credentials(arn, "i-1");
    FAIL() << "the role trusts the account only";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.code(), "AssumeRoleUnauthorizedAccess");
  }
  EXPECT_FALSE(life->iam.instance_credentials("arn:aws:iam::123456789012:instance-profile/none", "i-1"));
  wire::iam::RemoveRoleFromInstanceProfileRequest remove;
  remove.instance_profile_name = remove.role_name = "web";
  call<wire::iam::RemoveRoleFromInstanceProfile>(remove);
  EXPECT_FALSE(life->iam.instance_credentials(arn, "i-1"));
}

TEST_F(SessionsTest, IamAndStsAreOfNoRegion) {
  signed_region = "eu-west-1";
  EXPECT_EQ(refusal<sts_::GetCallerIdentity>({}), "");
  EXPECT_EQ(refusal<wire::iam::ListUsers>({}), "");
}

}  // namespace
}  // namespace kiln::region
