// Metadata options: as they are asked for, kept, changed and shown.
#include <gmock/gmock.h>

#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::HasSubstr;

class MetadataOptionsTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    image = register_image();
  }
  std::string launch(const api::InstanceMetadataOptionsRequest& metadata) {
    api::RunInstancesRequest request = run_request(image);
    request.metadata_options = metadata;
    return call<api::RunInstances>(request).instances.at(0).instance_id.value();
  }
  api::InstanceMetadataOptionsResponse options_of(const std::string& id) {
    return describe(id).metadata_options.value();
  }

  std::string image;
};

TEST_F(MetadataOptionsTest, AreEc2sDefaultsUnlessSaid) {
  const auto found = options_of(run(image).at(0));
  EXPECT_EQ(found.state, "applied");
  EXPECT_EQ(found.http_tokens, "optional");
  EXPECT_EQ(found.http_endpoint, "enabled");
  EXPECT_EQ(found.http_put_response_hop_limit, 1);
  EXPECT_EQ(found.instance_metadata_tags, "disabled");
  EXPECT_EQ(found.http_protocol_ipv6, "disabled");
}

TEST_F(MetadataOptionsTest, AreSetAtLaunchAndOutliveTheControlPlane) {
  api::InstanceMetadataOptionsRequest metadata;
  metadata.http_tokens = "required";
  metadata.http_put_response_hop_limit = 2;
  metadata.instance_metadata_tags = "enabled";
  metadata.http_endpoint = "";  // Packer sends what it does not set as nothing
  const std::string id = launch(metadata);
  die();
  start();
  const auto found = options_of(id);
  EXPECT_EQ(found.http_tokens, "required");
  EXPECT_EQ(found.http_put_response_hop_limit, 2);
  EXPECT_EQ(found.instance_metadata_tags, "enabled");
  EXPECT_EQ(found.http_endpoint, "enabled");
}

TEST_F(MetadataOptionsTest, ATemplatesAreTakenAndTheRequestsWin) {
  api::CreateLaunchTemplateRequest create;
  create.launch_template_name = "web";
  create.launch_template_data.emplace().image_id = image;
  auto& metadata = create.launch_template_data->metadata_options.emplace();
  metadata.http_tokens = "required";
  metadata.http_put_response_hop_limit = 3;
  call<api::CreateLaunchTemplate>(create);
  api::DescribeLaunchTemplateVersionsRequest ask;
  ask.launch_template_name = "web";
  const auto data = call<api::DescribeLaunchTemplateVersions>(ask).launch_template_versions.at(0).launch_template_data;
  EXPECT_EQ(data->metadata_options->http_tokens, "required");
  EXPECT_EQ(data->metadata_options->http_put_response_hop_limit, 3);
  api::RunInstancesRequest request;
  request.min_count = request.max_count = 1;
  request.launch_template.emplace().launch_template_name = "web";
  request.metadata_options.emplace().http_put_response_hop_limit = 5;
  const auto found = options_of(call<api::RunInstances>(request).instances.at(0).instance_id.value());
  EXPECT_EQ(found.http_tokens, "required");
  EXPECT_EQ(found.http_put_response_hop_limit, 5);
}

TEST_F(MetadataOptionsTest, AreModifiedWhereTheyAreNamed) {
  const std::string id = launch({});
  api::ModifyInstanceMetadataOptionsRequest modify;
  modify.instance_id = id;
  modify.http_tokens = "required";
  EXPECT_EQ(call<api::ModifyInstanceMetadataOptions>(modify).instance_metadata_options->http_tokens, "required");
  modify.http_tokens = {};
  modify.http_endpoint = "disabled";
  call<api::ModifyInstanceMetadataOptions>(modify);
  EXPECT_EQ(options_of(id).http_tokens, "required");
  EXPECT_EQ(options_of(id).http_endpoint, "disabled");
  modify.instance_id = "i-0123456789abcdef0";
  EXPECT_EQ(refusal<api::ModifyInstanceMetadataOptions>(modify), "InvalidInstanceID.NotFound");
}

TEST_F(MetadataOptionsTest, WrongValuesAreRefusedAndChangeNothing) {
  const std::string id = launch({});
  api::ModifyInstanceMetadataOptionsRequest modify;
  modify.instance_id = id;
  modify.http_tokens = "perhaps";
  EXPECT_EQ(refusal<api::ModifyInstanceMetadataOptions>(modify), "InvalidParameterValue");
  modify.http_tokens = "required";
  for (const std::int64_t hops : {0, 65, -1}) {
    modify.http_put_response_hop_limit = hops;
    EXPECT_EQ(refusal<api::ModifyInstanceMetadataOptions>(modify), "InvalidParameterValue") << hops;
  }
  modify.http_put_response_hop_limit = {};
  modify.http_protocol_ipv6 = "enabled";
  EXPECT_EQ(refusal<api::ModifyInstanceMetadataOptions>(modify), "UnsupportedOperation");
  EXPECT_EQ(options_of(id).http_tokens, "optional");
}

TEST_F(MetadataOptionsTest, TagsThatAreServedHaveKeysThatArePartsOfAPath) {
  api::RunInstancesRequest request = run_request(image);
  request.metadata_options.emplace().instance_metadata_tags = "enabled";
  request.tag_specifications = {{"instance", {{"a/b", "x"}}}};
  EXPECT_EQ(refusal<api::RunInstances>(request), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("'a/b' is not a valid tag key."));
  request.tag_specifications = {{"instance", {{"Name", "x"}}}};
  const std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  api::CreateTagsRequest create;
  create.resources = {id};
  create.tags = {{"with space", "x"}};
  EXPECT_EQ(refusal<api::CreateTags>(create), "InvalidParameterValue");
  const std::string other = launch({});
  create.resources = {other};
  call<api::CreateTags>(create);
  api::ModifyInstanceMetadataOptionsRequest modify;
  modify.instance_id = other;
  modify.instance_metadata_tags = "enabled";
  EXPECT_EQ(refusal<api::ModifyInstanceMetadataOptions>(modify), "InvalidParameterValue");
}

}  // namespace
}  // namespace kiln::region::ec2
