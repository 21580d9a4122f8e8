// Tests of IAM over the wire: users, access keys, roles, tags, pages, and what a death leaves.
#include "base/encoding.h"
#include "region/iam/testing/iam_world.h"

namespace kiln::region {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
namespace api = wire::ec2;
namespace w = wire::iam;

using UsersTest = testing::IamWorld;
using AccessKeysTest = testing::IamWorld;
using RolesTest = testing::IamWorld;

template <class Request>
Request of_user(const std::string& name) {
  Request request;
  request.user_name = name;
  return request;
}

template <class Request>
Request of_role(const std::string& name) {
  Request request;
  request.role_name = name;
  return request;
}

TEST_F(UsersTest, AreReadBackAsTheyWereWritten) {
  w::CreateUserRequest request;
  request.user_name = "ann";
  request.path = "/ci/";
  request.tags = {{"team", "web"}};
  const w::User made = call<w::CreateUser>(request).user.value();
  EXPECT_THAT(made.user_id.value(), MatchesRegex("AIDA[A-Z2-7]{17}"));
  EXPECT_EQ(made.arn, "arn:aws:iam::123456789012:user/ci/ann");
  EXPECT_EQ(made.create_date, loop.now());
  const w::User read = call<w::GetUser>(of_user<w::GetUserRequest>("ann")).user.value();
  EXPECT_EQ(read.user_id, made.user_id);
  EXPECT_EQ(read.path, "/ci/");
  ASSERT_EQ(read.tags.size(), 1u);
  EXPECT_EQ(read.tags[0].value, "web");
  EXPECT_THAT(call<w::ListGroupsForUser>(of_user<w::ListGroupsForUserRequest>("ann")).groups, IsEmpty());
}

TEST_F(UsersTest, HaveAwsCodesForWhatIsWrong) {
  make_user("ann");
  EXPECT_EQ(refusal<w::CreateUser>(of_user<w::CreateUserRequest>("ann")), "EntityAlreadyExists");
  EXPECT_EQ(last_message, "User with name ann already exists.");
  EXPECT_EQ(refusal<w::CreateUser>(of_user<w::CreateUserRequest>("Ann")), "EntityAlreadyExists") << "no case";
  EXPECT_EQ(refusal<w::GetUser>(of_user<w::GetUserRequest>("bob")), "NoSuchEntity");
  EXPECT_EQ(last_message, "The user with name bob cannot be found.");
  EXPECT_EQ(refusal<w::DeleteUser>(of_user<w::DeleteUserRequest>("bob")), "NoSuchEntity");
  EXPECT_EQ(refusal<w::ListGroupsForUser>(of_user<w::ListGroupsForUserRequest>("bob")), "NoSuchEntity");
  EXPECT_EQ(refusal<w::CreateUser>(of_user<w::CreateUserRequest>("a b")), "ValidationError");
  EXPECT_EQ(refusal<w::CreateUser>(of_user<w::CreateUserRequest>(std::string(65, 'a'))), "ValidationError");
  auto request = of_user<w::CreateUserRequest>("bob");
  request.path = "ci";
  EXPECT_EQ(refusal<w::CreateUser>(request), "ValidationError");
  request.path = "/";
  request.permissions_boundary = "arn:aws:iam::aws:policy/AdministratorAccess";
  EXPECT_EQ(refusal<w::CreateUser>(request), "UnsupportedOperation");
  EXPECT_THAT(last_message, HasSubstr("PermissionsBoundary"));
  try {
    call<w::GetUser>(of_user<w::GetUserRequest>("bob"));
  } catch (const ApiError& error) {
    EXPECT_EQ(error.http_status(), 404);
  }
}

TEST_F(UsersTest, CannotBeDeletedBeforeWhatTheyHold) {
  const wire::Credentials key = make_user_with_key("ann");
  EXPECT_EQ(refusal<w::DeleteUser>(of_user<w::DeleteUserRequest>("ann")), "DeleteConflict");
  EXPECT_EQ(last_message, "Cannot delete entity, must delete access keys first.");
  auto gone = of_user<w::DeleteAccessKeyRequest>("ann");
  gone.access_key_id = key.access_key;
  call<w::DeleteAccessKey>(gone);
  auto attach = of_user<w::AttachUserPolicyRequest>("ann");
  attach.policy_arn = "arn:aws:iam::aws:policy/AdministratorAccess";
  call<w::AttachUserPolicy>(attach);
  EXPECT_EQ(refusal<w::DeleteUser>(of_user<w::DeleteUserRequest>("ann")), "DeleteConflict");
  EXPECT_EQ(last_message, "Cannot delete entity, must detach all policies first.");
  auto detach = of_user<w::DetachUserPolicyRequest>("ann");
  detach.policy_arn = attach.policy_arn;
  call<w::DetachUserPolicy>(detach);
  auto put = of_user<w::PutUserPolicyRequest>("ann");
  put.policy_name = "p";
  put.policy_document = kPolicy;
  call<w::PutUserPolicy>(put);
  EXPECT_EQ(refusal<w::DeleteUser>(of_user<w::DeleteUserRequest>("ann")), "DeleteConflict");
  EXPECT_EQ(last_message, "Cannot delete entity, must delete policies first.");
  auto remove = of_user<w::DeleteUserPolicyRequest>("ann");
  remove.policy_name = "p";
  call<w::DeleteUserPolicy>(remove);
  call<w::DeleteUser>(of_user<w::DeleteUserRequest>("ann"));
  EXPECT_EQ(refusal<w::GetUser>(of_user<w::GetUserRequest>("ann")), "NoSuchEntity");
}

TEST_F(UsersTest, AreListedInPagesAndByPath) {
  for (const char* name : {"bob", "ann", "eve"}) make_user(name);
  w::CreateUserRequest other;
  other.user_name = "zoe";
  other.path = "/ci/";
  call<w::CreateUser>(other);
  w::ListUsersRequest request;
  request.max_items = 2;
  std::vector<std::string> seen;
  for (int pages = 0; pages < 5; ++pages) {
    const auto page = call<w::ListUsers>(request);
    EXPECT_LE(page.users.size(), 2u);
    for (const w::User& user : page.users) seen.push_back(user.user_name.value());
    EXPECT_EQ(page.is_truncated.value(), page.marker.has_value());
    if (!page.marker) break;
    request.marker = page.marker;
  }
  EXPECT_THAT(seen, ElementsAre("ann", "bob", "eve", "zoe"));
  w::ListUsersRequest by_path;
  by_path.path_prefix = "/ci";
  EXPECT_EQ(call<w::ListUsers>(by_path).users.size(), 1u);
  request.max_items = 1001;
  EXPECT_EQ(refusal<w::ListUsers>(request), "ValidationError");
  request.max_items = 2;
  request.marker = "%";
  EXPECT_EQ(refusal<w::ListUsers>(request), "ValidationError");
}

TEST_F(UsersTest, TagsAreWrittenOverWhateverTheirCase) {
  make_user("ann");
  w::TagUserRequest tag;
  tag.user_name = "ann";
  tag.tags = {{"Team", "web"}, {"stage", "dev"}};
  call<w::TagUser>(tag);
  tag.tags = {{"team", "ops"}};
  call<w::TagUser>(tag);
  const auto tags = call<w::ListUserTags>(of_user<w::ListUserTagsRequest>("ann")).tags;
  ASSERT_EQ(tags.size(), 2u);
  EXPECT_EQ(tags[1].key, "team");
  EXPECT_EQ(tags[1].value, "ops");
  auto untag = of_user<w::UntagUserRequest>("ann");
  untag.tag_keys = {"TEAM", "none"};
  call<w::UntagUser>(untag);
  EXPECT_EQ(call<w::ListUserTags>(of_user<w::ListUserTagsRequest>("ann")).tags.size(), 1u);
  tag.tags = {{"aws:x", "1"}};
  EXPECT_EQ(refusal<w::TagUser>(tag), "InvalidInput");
  tag.tags = {{"a", "1"}, {"A", "2"}};
  EXPECT_EQ(refusal<w::TagUser>(tag), "InvalidInput");
  tag.tags.clear();
  for (int i = 0; i < 50; ++i) tag.tags.push_back({"k" + std::to_string(i), "v"});
  EXPECT_EQ(refusal<w::TagUser>(tag), "LimitExceeded") << "50 and the one that is there";
}

TEST_F(AccessKeysTest, SignAtOnceAsTheirUser) {
  const wire::Credentials key = make_user_with_key("ann");
  EXPECT_THAT(key.access_key, MatchesRegex("AKIA[A-Z2-7]{16}"));
  EXPECT_EQ(key.secret_key.size(), 40u);
  as(key);
  EXPECT_EQ(who().arn, "arn:aws:iam::123456789012:user/ann");
  EXPECT_EQ(who().user_id, call<w::GetUser>({}).user->user_id) << "a user that is not named is the caller";
  EXPECT_EQ(call<api::DescribeRegions>({}).regions.empty(), false) << "it signs for every service";
}

TEST_F(AccessKeysTest, ThatAreInactiveOrDeletedSignNoMore) {
  const wire::Credentials key = make_user_with_key("ann");
  const auto set = [&](const char* status) {
    as_root();
    auto update = of_user<w::UpdateAccessKeyRequest>("ann");
    update.access_key_id = key.access_key;
    update.status = status;
    call<w::UpdateAccessKey>(update);
    as(key);
  };
  set("Inactive");
  EXPECT_EQ(refusal<wire::sts::GetCallerIdentity>({}), "InvalidClientTokenId");
  EXPECT_EQ(refusal<api::DescribeRegions>({}), "AuthFailure");
  set("Active");
  EXPECT_EQ(refusal<wire::sts::GetCallerIdentity>({}), "");
  set("Inactive");
  die();
  start();
  EXPECT_EQ(refusal<wire::sts::GetCallerIdentity>({}), "InvalidClientTokenId") << "also after a death";
  set("Active");
  as_root();
  auto gone = of_user<w::DeleteAccessKeyRequest>("ann");
  gone.access_key_id = key.access_key;
  call<w::DeleteAccessKey>(gone);
  as(key);
  EXPECT_EQ(refusal<wire::sts::GetCallerIdentity>({}), "InvalidClientTokenId");
}

TEST_F(AccessKeysTest, AreTwoAUserAtMost) {
  make_user_with_key("ann");
  make_key("ann");
  EXPECT_EQ(refusal<w::CreateAccessKey>(of_user<w::CreateAccessKeyRequest>("ann")), "LimitExceeded");
  EXPECT_EQ(last_message, "Cannot exceed quota for AccessKeysPerUser: 2");
  const auto keys = call<w::ListAccessKeys>(of_user<w::ListAccessKeysRequest>("ann")).access_key_metadata;
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].status, "Active");
  auto update = of_user<w::UpdateAccessKeyRequest>("ann");
  update.access_key_id = "AKIAAAAAAAAAAAAAAAAA";
  update.status = "Inactive";
  EXPECT_EQ(refusal<w::UpdateAccessKey>(update), "NoSuchEntity");
  update.access_key_id = keys[0].access_key_id;
  update.status = "Expired";
  EXPECT_EQ(refusal<w::UpdateAccessKey>(update), "ValidationError");
}

TEST_F(AccessKeysTest, OfNobodyNamedAreTheCallersAndRootHasNoneToList) {
  const wire::Credentials key = make_user_with_key("ann");
  EXPECT_EQ(refusal<w::ListAccessKeys>({}), "ValidationError");
  EXPECT_EQ(refusal<w::CreateAccessKey>({}), "ValidationError");
  const w::User root = call<w::GetUser>({}).user.value();
  EXPECT_EQ(root.arn, "arn:aws:iam::123456789012:root");
  EXPECT_EQ(root.user_id, "123456789012");
  as(key);
  EXPECT_EQ(call<w::ListAccessKeys>({}).access_key_metadata.at(0).user_name, "ann");
}

TEST_F(RolesTest, AreReadBackAsTheyWereWritten) {
  w::CreateRoleRequest request;
  request.role_name = "web";
  request.path = "/app/";
  request.assume_role_policy_document = kTrustEc2;
  request.description = "what web may do";
  request.max_session_duration = 7200;
  request.tags = {{"team", "web"}};
  const w::Role made = call<w::CreateRole>(request).role.value();
  EXPECT_THAT(made.role_id.value(), MatchesRegex("AROA[A-Z2-7]{17}"));
  EXPECT_EQ(made.arn, "arn:aws:iam::123456789012:role/app/web");
  const w::Role read = call<w::GetRole>(of_role<w::GetRoleRequest>("web")).role.value();
  EXPECT_EQ(percent_decode(read.assume_role_policy_document.value()), kTrustEc2);
  EXPECT_THAT(read.assume_role_policy_document.value(), HasSubstr("%7B%22Version%22%3A")) << "encoded, as AWS does";
  EXPECT_EQ(read.description, "what web may do");
  EXPECT_EQ(read.max_session_duration, 7200);
  EXPECT_EQ(read.tags.size(), 1u);
  const auto listed = call<w::ListRoles>({}).roles;
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_THAT(listed[0].tags, IsEmpty()) << "a list has no tags";
}

TEST_F(RolesTest, ChangeOnlyWhereTheyAreToldTo) {
  make_role("web");
  auto update = of_role<w::UpdateRoleRequest>("web");
  update.description = "new";
  call<w::UpdateRole>(update);
  update.description.reset();
  update.max_session_duration = 43'200;
  call<w::UpdateRole>(update);
  w::Role read = call<w::GetRole>(of_role<w::GetRoleRequest>("web")).role.value();
  EXPECT_EQ(read.description, "new");
  EXPECT_EQ(read.max_session_duration, 43'200);
  call<w::UpdateRole>(of_role<w::UpdateRoleRequest>("web"));
  read = call<w::GetRole>(of_role<w::GetRoleRequest>("web")).role.value();
  EXPECT_FALSE(read.description) << "an empty description comes as an absent one";
  EXPECT_EQ(read.max_session_duration, 43'200);
  update.max_session_duration = 3599;
  EXPECT_EQ(refusal<w::UpdateRole>(update), "ValidationError");
  update.max_session_duration = 43'201;
  EXPECT_EQ(refusal<w::UpdateRole>(update), "ValidationError");
  auto trust = of_role<w::UpdateAssumeRolePolicyRequest>("web");
  trust.policy_document = kTrustEc2;
  call<w::UpdateAssumeRolePolicy>(trust);
  read = call<w::GetRole>(of_role<w::GetRoleRequest>("web")).role.value();
  EXPECT_EQ(percent_decode(read.assume_role_policy_document.value()), kTrustEc2);
}

TEST_F(RolesTest, HaveAwsCodesForWhatIsWrong) {
  make_role("web");
  auto request = of_role<w::CreateRoleRequest>("WEB");
  request.assume_role_policy_document = kTrustEc2;
  EXPECT_EQ(refusal<w::CreateRole>(request), "EntityAlreadyExists");
  request.role_name = "other";
  request.assume_role_policy_document = "{";
  EXPECT_EQ(refusal<w::CreateRole>(request), "MalformedPolicyDocument");
  request.assume_role_policy_document =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",)"
      R"("Principal":{"AWS":"arn:aws:iam::123456789012:user/nobody"}}]})";
  EXPECT_EQ(refusal<w::CreateRole>(request), "MalformedPolicyDocument") << "a principal of the account must be there";
  EXPECT_THAT(last_message, HasSubstr("Invalid principal in policy"));
  const std::string spaces(2048, ' ');
  request.assume_role_policy_document = spaces + kTrustEc2;
  call<w::CreateRole>(request);
  request.role_name = "large";
  request.assume_role_policy_document =
      std::string(R"({"Version":"2012-10-17","Id":")") + std::string(2048, 'x') +
      R"(","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*"}]})";
  EXPECT_EQ(refusal<w::CreateRole>(request), "LimitExceeded");
  EXPECT_EQ(last_message, "Cannot exceed quota for ACLSizePerRole: 2048");
  EXPECT_EQ(refusal<w::GetRole>(of_role<w::GetRoleRequest>("none")), "NoSuchEntity");
  EXPECT_EQ(last_message, "The role with name none cannot be found.");
}

TEST_F(RolesTest, AllOfItIsKnownAgainAfterADeath) {
  make_user_with_key("ann");
  make_profile("web");
  w::CreatePolicyRequest create;
  create.policy_name = "p";
  create.policy_document = kPolicy;
  const std::string arn = call<w::CreatePolicy>(create).policy->arn.value();
  auto attach = of_role<w::AttachRolePolicyRequest>("web");
  attach.policy_arn = arn;
  call<w::AttachRolePolicy>(attach);
  const w::Role before = call<w::GetRole>(of_role<w::GetRoleRequest>("web")).role.value();
  die();
  start();
  const w::Role after = call<w::GetRole>(of_role<w::GetRoleRequest>("web")).role.value();
  EXPECT_EQ(after.role_id, before.role_id);
  EXPECT_EQ(after.assume_role_policy_document, before.assume_role_policy_document);
  EXPECT_EQ(after.create_date, before.create_date);
  EXPECT_EQ(call<w::ListUsers>({}).users.size(), 1u);
  w::GetInstanceProfileRequest profile;
  profile.instance_profile_name = "web";
  EXPECT_EQ(call<w::GetInstanceProfile>(profile).instance_profile->roles.at(0).role_name, "web");
  w::GetPolicyRequest read;
  read.policy_arn = arn;
  EXPECT_EQ(call<w::GetPolicy>(read).policy->attachment_count, 1);
}

TEST_F(RolesTest, EveryOperationOfTheServiceIsServed) {
  for (const wire::Operation& operation : w::GetRole::operation().service->operations) {
    EXPECT_TRUE(life->handlers.serves(operation)) << operation.name;
  }
}

}  // namespace
}  // namespace kiln::region
