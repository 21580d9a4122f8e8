// Tests of instance profiles: in IAM, and on the instances that have them.
#include "region/iam/testing/iam_world.h"

namespace kiln::region {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
namespace api = wire::ec2;
namespace w = wire::iam;

class InstanceProfilesTest : public testing::IamWorld {
 protected:
  api::RunInstancesRequest run_with(const std::string& name, const std::string& arn = "") {
    api::RunInstancesRequest request = run_request(register_image("web-" + std::to_string(++images_)));
    request.iam_instance_profile.emplace();
    if (!name.empty()) request.iam_instance_profile->name = name;
    if (!arn.empty()) request.iam_instance_profile->arn = arn;
    return request;
  }
  std::vector<api::IamInstanceProfileAssociation> associations() {
    return call<api::DescribeIamInstanceProfileAssociations>({}).iam_instance_profile_associations;
  }
  static api::AssociateIamInstanceProfileRequest associate(const std::string& id, const std::string& name) {
    api::AssociateIamInstanceProfileRequest request;
    request.instance_id = id;
    request.iam_instance_profile.emplace().name = name;
    return request;
  }

 private:
  int images_ = 0;
};

TEST_F(InstanceProfilesTest, CarryOneRole) {
  const w::InstanceProfile made = make_profile("web");
  EXPECT_THAT(made.instance_profile_id.value(), MatchesRegex("AIPA[A-Z2-7]{17}"));
  EXPECT_EQ(made.arn, "arn:aws:iam::123456789012:instance-profile/web");
  make_role("other");
  w::AddRoleToInstanceProfileRequest add;
  add.instance_profile_name = "web";
  add.role_name = "other";
  EXPECT_EQ(refusal<w::AddRoleToInstanceProfile>(add), "LimitExceeded");
  EXPECT_EQ(last_message, "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1");
  w::ListInstanceProfilesForRoleRequest list;
  list.role_name = "web";
  EXPECT_EQ(call<w::ListInstanceProfilesForRole>(list).instance_profiles.at(0).roles.at(0).role_name, "web");
  list.role_name = "other";
  EXPECT_TRUE(call<w::ListInstanceProfilesForRole>(list).instance_profiles.empty());
  EXPECT_EQ(call<w::ListInstanceProfiles>({}).instance_profiles.size(), 1u);
}

TEST_F(InstanceProfilesTest, AndTheirRolesAreDeletedApart) {
  make_profile("web");
  w::DeleteRoleRequest role;
  role.role_name = "web";
  w::DeleteInstanceProfileRequest profile;
  profile.instance_profile_name = "web";
  EXPECT_EQ(refusal<w::DeleteRole>(role), "DeleteConflict");
  EXPECT_EQ(last_message, "Cannot delete entity, must remove roles from instance profile first.");
  EXPECT_EQ(refusal<w::DeleteInstanceProfile>(profile), "DeleteConflict");
  w::RemoveRoleFromInstanceProfileRequest remove;
  remove.instance_profile_name = "web";
  remove.role_name = "web";
  call<w::RemoveRoleFromInstanceProfile>(remove);
  EXPECT_EQ(refusal<w::RemoveRoleFromInstanceProfile>(remove), "NoSuchEntity");
  call<w::DeleteInstanceProfile>(profile);
  call<w::DeleteRole>(role);
  EXPECT_EQ(refusal<w::DeleteInstanceProfile>(profile), "NoSuchEntity");
  EXPECT_EQ(last_message, "Instance Profile web cannot be found.");
}

TEST_F(InstanceProfilesTest, AreVisibleToALaunchAtOnceByNameAndByArn) {
  const w::InstanceProfile profile = make_profile("web");
  const std::string by_name = call<api::RunInstances>(run_with("web")).instances.at(0).instance_id.value();
  const std::string by_arn = call<api::RunInstances>(run_with("", *profile.arn)).instances.at(0).instance_id.value();
  for (const std::string& id : {by_name, by_arn}) {
    const api::Instance shown = describe(id);
    ASSERT_TRUE(shown.iam_instance_profile);
    EXPECT_EQ(shown.iam_instance_profile->arn, profile.arn);
    EXPECT_EQ(shown.iam_instance_profile->id, profile.instance_profile_id);
  }
  ASSERT_EQ(associations().size(), 2u);
  EXPECT_EQ(associations()[0].state, "associated");
  EXPECT_THAT(associations()[0].association_id.value(), MatchesRegex("iip-assoc-[0-9a-f]{17}"));
  api::DescribeInstancesRequest filtered;
  filtered.filters.emplace_back().name = "iam-instance-profile.arn";
  filtered.filters[0].values = {"*/web"};
  EXPECT_EQ(call<api::DescribeInstances>(filtered).reservations.size(), 2u);
  die();
  start();
  EXPECT_EQ(describe(by_name).iam_instance_profile->arn, profile.arn) << "also after a death";
}

TEST_F(InstanceProfilesTest, ThatAreWrongStopTheLaunchInAwsWords) {
  EXPECT_EQ(refusal<api::RunInstances>(run_with("none")), "InvalidParameterValue");
  EXPECT_EQ(last_message,
            "Value (none) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name");
  EXPECT_EQ(refusal<api::RunInstances>(run_with("", "arn:none")), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("Invalid IAM Instance Profile ARN"));
  const w::InstanceProfile profile = make_profile("web");
  EXPECT_EQ(refusal<api::RunInstances>(run_with("web", *profile.arn)), "InvalidParameterCombination");
  w::RemoveRoleFromInstanceProfileRequest remove;
  remove.instance_profile_name = remove.role_name = "web";
  call<w::RemoveRoleFromInstanceProfile>(remove);
  EXPECT_EQ(refusal<api::RunInstances>(run_with("web")), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("has no associated IAM Roles"));
  EXPECT_TRUE(life->ec2.instances().empty());
}

TEST_F(InstanceProfilesTest, WithoutANameAreAbsent) {
  const api::Instance one = call<api::RunInstances>(run_with("")).instances.at(0);
  EXPECT_FALSE(describe(*one.instance_id).iam_instance_profile);
}

TEST_F(InstanceProfilesTest, ComeWithALaunchTemplate) {
  const w::InstanceProfile profile = make_profile("web");
  make_profile("other");
  api::CreateLaunchTemplateRequest create;
  create.launch_template_name = "web";
  create.launch_template_data.emplace().image_id = register_image();
  create.launch_template_data->iam_instance_profile.emplace().name = "web";
  call<api::CreateLaunchTemplate>(create);
  api::DescribeLaunchTemplateVersionsRequest versions;
  versions.launch_template_name = "web";
  die();
  start();
  EXPECT_EQ(call<api::DescribeLaunchTemplateVersions>(versions)
                .launch_template_versions.at(0)
                .launch_template_data->iam_instance_profile->name,
            "web");
  api::RunInstancesRequest run;
  run.min_count = run.max_count = 1;
  run.launch_template.emplace().launch_template_name = "web";
  const std::string id = call<api::RunInstances>(run).instances.at(0).instance_id.value();
  EXPECT_EQ(describe(id).iam_instance_profile->arn, profile.arn);
  run.iam_instance_profile.emplace().name = "other";
  const std::string over = call<api::RunInstances>(run).instances.at(0).instance_id.value();
  EXPECT_THAT(describe(over).iam_instance_profile->arn.value(), HasSubstr("/other")) << "the request wins";
}

TEST_F(InstanceProfilesTest, AreAssociatedWithARunningInstanceOneAtATime) {
  make_profile("web");
  const std::string id = run_one(register_image());
  const auto made = call<api::AssociateIamInstanceProfile>(associate(id, "web")).iam_instance_profile_association;
  EXPECT_EQ(made->state, "associating");
  EXPECT_EQ(refusal<api::AssociateIamInstanceProfile>(associate(id, "web")), "IncorrectState");
  EXPECT_THAT(last_message, HasSubstr("There is an existing association for instance " + id));
  api::DescribeIamInstanceProfileAssociationsRequest one;
  one.filters.emplace_back().name = "instance-id";
  one.filters[0].values = {id};
  EXPECT_EQ(call<api::DescribeIamInstanceProfileAssociations>(one).iam_instance_profile_associations.at(0).state,
            "associated");
  api::DisassociateIamInstanceProfileRequest gone;
  gone.association_id = made->association_id;
  EXPECT_EQ(call<api::DisassociateIamInstanceProfile>(gone).iam_instance_profile_association->state, "disassociating");
  EXPECT_EQ(refusal<api::DisassociateIamInstanceProfile>(gone), "InvalidAssociationID.NotFound");
  EXPECT_FALSE(describe(id).iam_instance_profile);
  EXPECT_TRUE(associations().empty());
  one.filters.clear();
  one.association_ids = {*made->association_id};
  EXPECT_EQ(refusal<api::DescribeIamInstanceProfileAssociations>(one), "InvalidAssociationID.NotFound");
  EXPECT_EQ(refusal<api::AssociateIamInstanceProfile>(associate("i-0123456789abcdef0", "web")),
            "InvalidInstanceID.NotFound");
  api::TerminateInstancesRequest end;
  end.instance_ids = {id};
  call<api::TerminateInstances>(end);
  EXPECT_EQ(refusal<api::AssociateIamInstanceProfile>(associate(id, "web")), "IncorrectInstanceState");
}

}  // namespace
}  // namespace kiln::region
