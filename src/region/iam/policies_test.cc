// Tests of policies over the wire: managed ones with versions, attached ones, inline ones.
#include <algorithm>

#include "base/encoding.h"
#include "region/iam/testing/iam_world.h"

namespace kiln::region {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
namespace w = wire::iam;

class PoliciesTest : public testing::IamWorld {
 protected:
  static constexpr const char* kManagedCore = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";

  std::string make_policy(const std::string& name) {
    w::CreatePolicyRequest request;
    request.policy_name = name;
    request.policy_document = kPolicy;
    return call<w::CreatePolicy>(request).policy->arn.value();
  }
  w::Policy get(const std::string& arn) {
    w::GetPolicyRequest request;
    request.policy_arn = arn;
    return call<w::GetPolicy>(request).policy.value();
  }
  w::CreatePolicyVersionRequest version(const std::string& arn, bool set_default) const {
    w::CreatePolicyVersionRequest request;
    request.policy_arn = arn;
    request.policy_document = kPolicy;
    request.set_as_default = set_default;
    return request;
  }
  std::string attach(const std::string& role, const std::string& arn) {
    w::AttachRolePolicyRequest request;
    request.role_name = role;
    request.policy_arn = arn;
    return refusal<w::AttachRolePolicy>(request);
  }
  std::string detach(const std::string& role, const std::string& arn) {
    w::DetachRolePolicyRequest request;
    request.role_name = role;
    request.policy_arn = arn;
    return refusal<w::DetachRolePolicy>(request);
  }
  std::string remove(const std::string& arn) {
    w::DeletePolicyRequest request;
    request.policy_arn = arn;
    return refusal<w::DeletePolicy>(request);
  }
};

TEST_F(PoliciesTest, AreReadBackAsTheyWereWritten) {
  w::CreatePolicyRequest request;
  request.policy_name = "read";
  request.path = "/app/";
  request.policy_document = kPolicy;
  request.description = "reads";
  request.tags = {{"team", "web"}};
  const w::Policy made = call<w::CreatePolicy>(request).policy.value();
  EXPECT_THAT(made.policy_id.value(), MatchesRegex("ANPA[A-Z2-7]{17}"));
  EXPECT_EQ(made.arn, "arn:aws:iam::123456789012:policy/app/read");
  EXPECT_EQ(made.default_version_id, "v1");
  const w::Policy read = get(*made.arn);
  EXPECT_EQ(read.description, "reads");
  EXPECT_EQ(read.tags.size(), 1u);
  EXPECT_EQ(read.attachment_count, 0);
  w::GetPolicyVersionRequest version_request;
  version_request.policy_arn = made.arn;
  version_request.version_id = "v1";
  const w::PolicyVersion first = call<w::GetPolicyVersion>(version_request).policy_version.value();
  EXPECT_EQ(percent_decode(first.document.value()), kPolicy);
  EXPECT_EQ(first.is_default_version, true);
  EXPECT_EQ(refusal<w::CreatePolicy>(request), "EntityAlreadyExists");
  EXPECT_EQ(last_message, "A policy called read already exists. Duplicate names are not allowed.");
}

TEST_F(PoliciesTest, HaveFiveVersionsAtMostWhoseNumbersAreNeverUsedAgain) {
  const std::string arn = make_policy("p");
  for (int i = 2; i <= 5; ++i) call<w::CreatePolicyVersion>(version(arn, i == 3));
  EXPECT_EQ(refusal<w::CreatePolicyVersion>(version(arn, true)), "LimitExceeded");
  EXPECT_EQ(get(arn).default_version_id, "v3");
  w::DeletePolicyVersionRequest gone;
  gone.policy_arn = arn;
  gone.version_id = "v3";
  EXPECT_EQ(refusal<w::DeletePolicyVersion>(gone), "DeleteConflict");
  EXPECT_EQ(last_message, "Cannot delete the default version of a policy.");
  gone.version_id = "v5";
  call<w::DeletePolicyVersion>(gone);
  EXPECT_EQ(refusal<w::DeletePolicyVersion>(gone), "NoSuchEntity");
  EXPECT_EQ(call<w::CreatePolicyVersion>(version(arn, false)).policy_version->version_id, "v6");
  w::SetDefaultPolicyVersionRequest set;
  set.policy_arn = arn;
  set.version_id = "v6";
  call<w::SetDefaultPolicyVersion>(set);
  w::ListPolicyVersionsRequest list;
  list.policy_arn = arn;
  std::vector<std::string> names;
  for (const auto& one : call<w::ListPolicyVersions>(list).versions) {
    names.push_back(*one.version_id);
    EXPECT_EQ(one.is_default_version.value(), *one.version_id == "v6");
  }
  EXPECT_THAT(names, ElementsAre("v6", "v4", "v3", "v2", "v1"));
}

TEST_F(PoliciesTest, CannotBeDeletedWhileTheyAreAttachedOrHaveVersions) {
  make_role("web");
  const std::string arn = make_policy("p");
  EXPECT_EQ(attach("web", arn), "");
  EXPECT_EQ(attach("web", arn), "") << "attaching again changes nothing";
  EXPECT_EQ(remove(arn), "DeleteConflict");
  EXPECT_EQ(last_message, "Cannot delete a policy attached to entities.");
  EXPECT_EQ(detach("web", arn), "");
  EXPECT_EQ(detach("web", arn), "NoSuchEntity");
  call<w::CreatePolicyVersion>(version(arn, true));
  EXPECT_EQ(remove(arn), "DeleteConflict");
  EXPECT_THAT(last_message, HasSubstr("more than one version"));
  w::DeletePolicyVersionRequest gone;
  gone.policy_arn = arn;
  gone.version_id = "v1";
  call<w::DeletePolicyVersion>(gone);
  EXPECT_EQ(remove(arn), "");
  EXPECT_EQ(remove(arn), "NoSuchEntity");
}

TEST_F(PoliciesTest, OfAwsAreKnownByTheirArnAndCannotBeChanged) {
  make_role("web");
  EXPECT_EQ(attach("web", kManagedCore), "");
  w::ListAttachedRolePoliciesRequest list;
  list.role_name = "web";
  const auto attached = call<w::ListAttachedRolePolicies>(list).attached_policies;
  ASSERT_EQ(attached.size(), 1u);
  EXPECT_EQ(attached[0].policy_name, "AmazonSSMManagedInstanceCore");
  const w::Policy core = get(kManagedCore);
  EXPECT_EQ(core.attachment_count, 1);
  w::GetPolicyVersionRequest version_request;
  version_request.policy_arn = kManagedCore;
  version_request.version_id = core.default_version_id;
  EXPECT_THAT(percent_decode(call<w::GetPolicyVersion>(version_request).policy_version->document.value()),
              HasSubstr("ssmmessages:OpenDataChannel"));
  EXPECT_EQ(remove(kManagedCore), "AccessDenied");
  EXPECT_EQ(refusal<w::CreatePolicyVersion>(version(kManagedCore, true)), "AccessDenied");
  EXPECT_EQ(attach("web", "arn:aws:iam::aws:policy/NoSuchPolicy"), "NoSuchEntity");
  EXPECT_THAT(last_message, HasSubstr("does not exist or is not attachable"));
  EXPECT_EQ(attach("web", "nonsense"), "InvalidInput");
}

TEST_F(PoliciesTest, OfAwsAllHaveTheFormThatIsAskedOfOthers) {
  w::ListPoliciesRequest list;
  list.scope = "AWS";
  const auto policies = call<w::ListPolicies>(list).policies;
  EXPECT_GE(policies.size(), 10u);
  for (const w::Policy& one : policies) {
    w::GetPolicyVersionRequest request;
    request.policy_arn = one.arn;
    request.version_id = one.default_version_id;
    w::CreatePolicyRequest copy;
    copy.policy_name = "Copy" + one.policy_name.value();
    copy.policy_document = percent_decode(call<w::GetPolicyVersion>(request).policy_version->document.value());
    EXPECT_EQ(refusal<w::CreatePolicy>(copy), "") << *one.arn << last_message;
  }
}

TEST_F(PoliciesTest, AreListedByScopeAndByWhetherTheyAreAttached) {
  make_role("web");
  const std::string arn = make_policy("mine");
  make_policy("unused");
  attach("web", arn);
  attach("web", kManagedCore);
  const auto names = [&](const w::ListPoliciesRequest& request) {
    std::vector<std::string> out;
    for (const auto& one : call<w::ListPolicies>(request).policies) out.push_back(*one.policy_name);
    return out;
  };
  w::ListPoliciesRequest request;
  request.scope = "Local";
  EXPECT_THAT(names(request), ElementsAre("mine", "unused"));
  request.only_attached = true;
  EXPECT_THAT(names(request), ElementsAre("mine"));
  request.scope = "All";
  EXPECT_THAT(names(request), ElementsAre("AmazonSSMManagedInstanceCore", "mine"));
  request.policy_usage_filter = "PermissionsBoundary";
  EXPECT_THAT(names(request), ElementsAre());
}

TEST_F(PoliciesTest, InlineOnesBelongToTheirRoleOrUser) {
  make_role("web");
  make_user("ann");
  w::PutRolePolicyRequest put;
  put.role_name = "web";
  put.policy_name = "p";
  put.policy_document = kPolicy;
  call<w::PutRolePolicy>(put);
  call<w::PutRolePolicy>(put);
  w::PutUserPolicyRequest put_user;
  put_user.user_name = "ann";
  put_user.policy_name = "q";
  put_user.policy_document = kPolicy;
  call<w::PutUserPolicy>(put_user);
  w::GetRolePolicyRequest get_role;
  get_role.role_name = "web";
  get_role.policy_name = "p";
  EXPECT_EQ(percent_decode(call<w::GetRolePolicy>(get_role).policy_document.value()), kPolicy);
  get_role.policy_name = "q";
  EXPECT_EQ(refusal<w::GetRolePolicy>(get_role), "NoSuchEntity");
  EXPECT_EQ(last_message, "The role policy with name q cannot be found.");
  w::ListUserPoliciesRequest list;
  list.user_name = "ann";
  EXPECT_THAT(call<w::ListUserPolicies>(list).policy_names, ElementsAre("q"));
  w::ListRolePoliciesRequest list_role;
  list_role.role_name = "web";
  EXPECT_THAT(call<w::ListRolePolicies>(list_role).policy_names, ElementsAre("p"));
  w::GetUserPolicyRequest get_user;
  get_user.user_name = "ann";
  get_user.policy_name = "q";
  EXPECT_EQ(call<w::GetUserPolicy>(get_user).user_name, "ann");
  w::DeleteRoleRequest gone;
  gone.role_name = "web";
  EXPECT_EQ(refusal<w::DeleteRole>(gone), "DeleteConflict");
  w::DeleteRolePolicyRequest remove_policy;
  remove_policy.role_name = "web";
  remove_policy.policy_name = "p";
  call<w::DeleteRolePolicy>(remove_policy);
  EXPECT_EQ(refusal<w::DeleteRolePolicy>(remove_policy), "NoSuchEntity");
  call<w::DeleteRole>(gone);
}

TEST_F(PoliciesTest, HaveSizesAndNumbersThatAreBounded) {
  make_role("web");
  make_user("ann");
  const auto document = [](std::size_t size) {
    return R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::)" +
           std::string(size, 'x') + R"("}]})";
  };
  w::CreatePolicyRequest managed;
  managed.policy_name = "large";
  managed.policy_document = document(6144);
  EXPECT_EQ(refusal<w::CreatePolicy>(managed), "LimitExceeded");
  EXPECT_EQ(last_message, "Cannot exceed quota for PolicySize: 6144");
  w::PutUserPolicyRequest user;
  user.user_name = "ann";
  user.policy_name = "p";
  user.policy_document = document(2048);
  EXPECT_EQ(refusal<w::PutUserPolicy>(user), "LimitExceeded");
  w::PutRolePolicyRequest role;
  role.role_name = "web";
  role.policy_document = document(5000);
  role.policy_name = "a";
  call<w::PutRolePolicy>(role);
  role.policy_name = "b";
  call<w::PutRolePolicy>(role);
  role.policy_name = "c";
  EXPECT_EQ(refusal<w::PutRolePolicy>(role), "LimitExceeded") << "all of a role's together";
  EXPECT_EQ(last_message, "Maximum policy size of 10240 bytes exceeded for role web");
  role.policy_document = "nonsense";
  EXPECT_EQ(refusal<w::PutRolePolicy>(role), "MalformedPolicyDocument");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(attach("web", make_policy("p" + std::to_string(i))), "");
  EXPECT_EQ(attach("web", make_policy("p10")), "LimitExceeded");
  EXPECT_EQ(last_message, "Cannot exceed quota for PoliciesPerRole: 10");
}

}  // namespace
}  // namespace kiln::region
