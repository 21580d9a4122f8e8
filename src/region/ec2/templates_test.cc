// Launch templates: numbered versions that never change, and launches from them.
#include <gmock/gmock.h>

#include "base/encoding.h"
#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class TemplatesTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    image = register_image("web-1");
    newer = register_image("web-2");
  }
  api::CreateLaunchTemplateRequest request_named(const std::string& name) {
    api::CreateLaunchTemplateRequest request;
    request.launch_template_name = name;
    request.launch_template_data.emplace().image_id = image;
    request.launch_template_data->instance_type = "t3.micro";
    return request;
  }
  std::string create(const std::string& name = "web") {
    return call<api::CreateLaunchTemplate>(request_named(name)).launch_template->launch_template_id.value();
  }
  std::int64_t add_version(const std::string& id, const std::string& source, const std::string& image_id) {
    api::CreateLaunchTemplateVersionRequest request;
    request.launch_template_id = id;
    if (!source.empty()) request.source_version = source;
    request.launch_template_data.emplace().image_id = image_id;
    return call<api::CreateLaunchTemplateVersion>(request).launch_template_version->version_number.value();
  }
  api::RunInstancesRequest launch_from(const std::string& id, const std::string& version = "") {
    api::RunInstancesRequest request;
    request.min_count = 1;
    request.max_count = 1;
    request.launch_template.emplace().launch_template_id = id;
    if (!version.empty()) request.launch_template->version = version;
    return request;
  }
  std::vector<std::int64_t> versions(const std::string& id, const std::vector<std::string>& wanted = {}) {
    api::DescribeLaunchTemplateVersionsRequest request;
    request.launch_template_id = id;
    request.versions = wanted;
    std::vector<std::int64_t> numbers;
    for (const auto& one : call<api::DescribeLaunchTemplateVersions>(request).launch_template_versions) {
      numbers.push_back(one.version_number.value());
    }
    return numbers;
  }
  std::string image;
  std::string newer;
};

TEST_F(TemplatesTest, TheFirstVersionIsOneAndTheDefault) {
  auto made = call<api::CreateLaunchTemplate>(request_named("web")).launch_template.value();
  EXPECT_THAT(made.launch_template_id.value(), StartsWith("lt-"));
  EXPECT_EQ(made.launch_template_name, "web");
  EXPECT_EQ(made.default_version_number, 1);
  EXPECT_EQ(made.latest_version_number, 1);
}

TEST_F(TemplatesTest, LaunchesWithoutAVersionUseTheDefaultOne) {
  std::string id = create();
  EXPECT_EQ(add_version(id, "1", newer), 2);
  auto image_of = [&](const std::string& version) {
    return call<api::RunInstances>(launch_from(id, version)).instances.at(0).image_id.value();
  };
  EXPECT_EQ(image_of(""), image);
  EXPECT_EQ(image_of("$Default"), image);
  EXPECT_EQ(image_of("$Latest"), newer);
  EXPECT_EQ(image_of("2"), newer);
  api::ModifyLaunchTemplateRequest modify;
  modify.launch_template_id = id;
  modify.default_version = "2";
  EXPECT_EQ(call<api::ModifyLaunchTemplate>(modify).launch_template->default_version_number, 2);
  EXPECT_EQ(image_of(""), newer);
  EXPECT_EQ(refusal<api::RunInstances>(launch_from(id, "3")), "InvalidLaunchTemplateId.VersionNotFound");
  EXPECT_EQ(refusal<api::RunInstances>(launch_from(id, "newest")), "InvalidLaunchTemplateId.VersionNotFound");
}

TEST_F(TemplatesTest, InstancesSayWhichVersionTheyCameFrom) {
  std::string id = create();
  add_version(id, "1", newer);
  std::string instance = call<api::RunInstances>(launch_from(id, "$Latest")).instances.at(0).instance_id.value();
  EXPECT_EQ(life->ec2.instance(instance).tags,
            (Tags{{"aws:ec2launchtemplate:id", id}, {"aws:ec2launchtemplate:version", "2"}}));
}

TEST_F(TemplatesTest, TheRequestWinsOverTheTemplate) {
  auto request = request_named("web");
  request.launch_template_data->tag_specifications = {{"instance", {{"from", "template"}}}};
  request.launch_template_data->user_data = base64_encode("template's");
  std::string id = call<api::CreateLaunchTemplate>(request).launch_template->launch_template_id.value();
  auto plain = call<api::RunInstances>(launch_from(id)).instances.at(0);
  EXPECT_EQ(plain.instance_type, "t3.micro");
  EXPECT_EQ(life->ec2.instance(*plain.instance_id).tags.at("from"), "template");
  auto over = launch_from(id);
  over.instance_type = "t3.large";
  over.tag_specifications = {{"instance", {{"from", "request"}}}};
  auto changed = call<api::RunInstances>(over).instances.at(0);
  EXPECT_EQ(changed.instance_type, "t3.large");
  EXPECT_EQ(changed.image_id, image);
  EXPECT_EQ(life->ec2.instance(*changed.instance_id).tags.at("from"), "request");
  EXPECT_EQ(life->ec2.instance(*changed.instance_id).user_data, base64_encode("template's"));
}

TEST_F(TemplatesTest, ANewVersionInheritsOnlyFromASourceVersion) {
  std::string id = create();
  add_version(id, "1", newer);
  add_version(id, "", newer);
  api::DescribeLaunchTemplateVersionsRequest request;
  request.launch_template_id = id;
  request.versions = {"2", "3"};
  auto found = call<api::DescribeLaunchTemplateVersions>(request).launch_template_versions;
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[0].launch_template_data->instance_type, "t3.micro");
  EXPECT_EQ(found[0].launch_template_data->image_id, newer);
  EXPECT_FALSE(found[1].launch_template_data->instance_type);
}

TEST_F(TemplatesTest, NumbersAreNeverUsedAgain) {
  std::string id = create();
  add_version(id, "1", newer);
  add_version(id, "1", newer);
  api::DeleteLaunchTemplateVersionsRequest remove;
  remove.launch_template_id = id;
  remove.versions = {"3"};
  EXPECT_THAT(call<api::DeleteLaunchTemplateVersions>(remove).successfully_deleted_launch_template_versions, SizeIs(1));
  EXPECT_EQ(add_version(id, "1", newer), 4);
  EXPECT_THAT(versions(id), ElementsAre(4, 2, 1));
  EXPECT_THAT(versions(id, {"$Latest", "$Default"}), ElementsAre(4, 1));
}

TEST_F(TemplatesTest, TheDefaultVersionCannotBeDeleted) {
  std::string id = create();
  add_version(id, "1", newer);
  api::DeleteLaunchTemplateVersionsRequest remove;
  remove.launch_template_id = id;
  remove.versions = {"1", "2", "7"};
  auto answer = call<api::DeleteLaunchTemplateVersions>(remove);
  ASSERT_THAT(answer.successfully_deleted_launch_template_versions, SizeIs(1));
  EXPECT_EQ(answer.successfully_deleted_launch_template_versions[0].version_number, 2);
  ASSERT_THAT(answer.unsuccessfully_deleted_launch_template_versions, SizeIs(2));
  EXPECT_EQ(answer.unsuccessfully_deleted_launch_template_versions[1].response_error->code,
            "launchTemplateVersionDoesNotExist");
  EXPECT_THAT(versions(id), ElementsAre(1));
}

TEST_F(TemplatesTest, NamesAreUniqueAndOfAwsForm) {
  create("web");
  EXPECT_EQ(refusal<api::CreateLaunchTemplate>(request_named("web")),
            "InvalidLaunchTemplateName.AlreadyExistsException");
  EXPECT_EQ(refusal<api::CreateLaunchTemplate>(request_named("w")), "InvalidLaunchTemplateName.MalformedException");
  EXPECT_EQ(refusal<api::CreateLaunchTemplate>(request_named("web server")),
            "InvalidLaunchTemplateName.MalformedException");
}

TEST_F(TemplatesTest, AClientTokenMakesOneTemplateAndOneVersion) {
  auto request = request_named("web");
  request.client_token = "once";
  std::string id = call<api::CreateLaunchTemplate>(request).launch_template->launch_template_id.value();
  EXPECT_EQ(call<api::CreateLaunchTemplate>(request).launch_template->launch_template_id, id);
  request.launch_template_data->instance_type = "t3.large";
  EXPECT_EQ(refusal<api::CreateLaunchTemplate>(request), "IdempotentParameterMismatch");
  api::CreateLaunchTemplateVersionRequest version;
  version.launch_template_id = id;
  version.client_token = "twice";
  version.launch_template_data.emplace().image_id = newer;
  EXPECT_EQ(call<api::CreateLaunchTemplateVersion>(version).launch_template_version->version_number, 2);
  EXPECT_EQ(call<api::CreateLaunchTemplateVersion>(version).launch_template_version->version_number, 2);
  version.launch_template_data->image_id = image;
  EXPECT_EQ(refusal<api::CreateLaunchTemplateVersion>(version), "IdempotentParameterMismatch");
  EXPECT_THAT(versions(id), ElementsAre(2, 1));
}

TEST_F(TemplatesTest, UnknownTemplatesHaveCodesOfTheirOwn) {
  api::DescribeLaunchTemplatesRequest request;
  request.launch_template_ids = {"lt-0123456789abcdef0"};
  EXPECT_EQ(refusal<api::DescribeLaunchTemplates>(request), "InvalidLaunchTemplateId.NotFound");
  request.launch_template_ids = {"web"};
  EXPECT_EQ(refusal<api::DescribeLaunchTemplates>(request), "InvalidLaunchTemplateId.Malformed");
  request.launch_template_ids.clear();
  request.launch_template_names = {"web"};
  EXPECT_EQ(refusal<api::DescribeLaunchTemplates>(request), "InvalidLaunchTemplateName.NotFoundException");
  std::string id = create();
  api::DeleteLaunchTemplateRequest both;
  both.launch_template_id = id;
  both.launch_template_name = "web";
  EXPECT_EQ(refusal<api::DeleteLaunchTemplate>(both), "InvalidParameterCombination");
  both.launch_template_name.reset();
  EXPECT_EQ(call<api::DeleteLaunchTemplate>(both).launch_template->launch_template_name, "web");
  request.launch_template_names.clear();
  EXPECT_THAT(call<api::DescribeLaunchTemplates>(request).launch_templates, IsEmpty());
}

TEST_F(TemplatesTest, WhatIsNotHonouredIsRefusedByName) {
  auto request = request_named("web");
  request.launch_template_data->hibernation_options.emplace().configured = true;
  EXPECT_EQ(refusal<api::CreateLaunchTemplate>(request), "UnsupportedOperation");
  EXPECT_THAT(last_message, HasSubstr("HibernationOptions"));
  request = request_named("web");
  request.launch_template_data->placement.emplace().group_name = "close";
  EXPECT_EQ(refusal<api::CreateLaunchTemplate>(request), "UnsupportedOperation");
  EXPECT_THAT(last_message, HasSubstr("GroupName"));
}

TEST_F(TemplatesTest, PagesOfVersionsGoFromTheNewest) {
  std::string id = create();
  for (int i = 0; i < 4; ++i) add_version(id, "1", newer);
  api::DescribeLaunchTemplateVersionsRequest request;
  request.launch_template_id = id;
  request.max_results = 2;
  std::vector<std::int64_t> seen;
  do {
    auto answer = call<api::DescribeLaunchTemplateVersions>(request);
    EXPECT_LE(answer.launch_template_versions.size(), 2u);
    for (const auto& one : answer.launch_template_versions) seen.push_back(one.version_number.value());
    request.next_token = answer.next_token;
  } while (request.next_token);
  EXPECT_THAT(seen, ElementsAre(5, 4, 3, 2, 1));
}

}  // namespace
}  // namespace kiln::region::ec2
