// Images: AMIs as placements of the store's images.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class ImagesTest : public testing::Ec2World {
 protected:
  std::vector<std::string> described(const api::DescribeImagesRequest& request) {
    std::vector<std::string> ids;
    for (const auto& image : call<api::DescribeImages>(request).images) ids.push_back(image.image_id.value());
    return ids;
  }
  void deregister(const std::string& id) {
    api::DeregisterImageRequest request;
    request.image_id = id;
    EXPECT_TRUE(call<api::DeregisterImage>(request).return_.value());
  }
};

TEST_F(ImagesTest, ARegisteredImageIsAvailableAtOnce) {
  api::RegisterImageRequest request;
  request.name = "web 1.0.0";
  request.description = "the web";
  request.architecture = "x86_64";
  std::string location = "kiln:" + bake("layer").str();
  request.image_location = location;
  request.tag_specifications = {{"image", {{"kiln:app", "web"}}}};
  std::string id = call<api::RegisterImage>(request).image_id.value();
  EXPECT_THAT(id, AllOf(StartsWith("ami-"), SizeIs(21)));
  api::DescribeImagesRequest ask;
  ask.image_ids = {id};
  auto images = call<api::DescribeImages>(ask).images;
  ASSERT_THAT(images, SizeIs(1));
  EXPECT_EQ(images[0].name, "web 1.0.0");
  EXPECT_EQ(images[0].description, "the web");
  EXPECT_EQ(images[0].state, "available");
  EXPECT_EQ(images[0].image_location, location);
  EXPECT_EQ(images[0].owner_id, testing::kAccount);
  EXPECT_EQ(images[0].creation_date, "2026-11-24T03:00:00.000Z");
  ASSERT_THAT(images[0].tags, SizeIs(1));
  EXPECT_EQ(images[0].tags[0].key, "kiln:app");
}

TEST_F(ImagesTest, AnInstanceRunsTheImagesDigest) {
  std::string id = run_one(register_image("web-1"));
  EXPECT_EQ(machines.spec(id).image.digest, bake("layer of web-1"));
}

TEST_F(ImagesTest, ANameIsTakenOnce) {
  std::string first = register_image("web-1");
  api::RegisterImageRequest again;
  again.name = "web-1";
  again.image_location = "kiln:" + bake("other").str();
  EXPECT_EQ(refusal<api::RegisterImage>(again), "InvalidAMIName.Duplicate");
  EXPECT_THAT(last_message, HasSubstr(first));
  deregister(first);
  EXPECT_EQ(refusal<api::RegisterImage>(again), "") << "a deregistered image's name is free";
  again.name = "w";
  EXPECT_EQ(refusal<api::RegisterImage>(again), "InvalidAMIName.Malformed");
  again.name = "no*stars";
  EXPECT_EQ(refusal<api::RegisterImage>(again), "InvalidAMIName.Malformed");
}

TEST_F(ImagesTest, ALocationMustLeadToAWholeImage) {
  api::RegisterImageRequest request;
  request.name = "web-1";
  EXPECT_EQ(refusal<api::RegisterImage>(request), "MissingParameter");
  request.image_location = "my-bucket/image.manifest.xml";
  EXPECT_EQ(refusal<api::RegisterImage>(request), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("kiln:sha256:"));
  request.image_location = "kiln:sha256:nonsense";
  EXPECT_EQ(refusal<api::RegisterImage>(request), "InvalidParameterValue");
  Digest nowhere = sha256("nowhere");
  request.image_location = "kiln:" + nowhere.str();
  EXPECT_EQ(refusal<api::RegisterImage>(request), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr(nowhere.hex()));
  EXPECT_THAT(described({}), IsEmpty());
}

TEST_F(ImagesTest, AnAlteredBlobIsNamed) {
  Digest digest = bake("layer");
  Digest layer = store.image(digest).layers.at(0).digest;
  std::filesystem::permissions(store.path_of(layer), std::filesystem::perms::owner_write,
                               std::filesystem::perm_options::add);
  std::ofstream(store.path_of(layer), std::ios::trunc) << "LAYER";
  api::RegisterImageRequest request;
  request.name = "web-1";
  request.image_location = "kiln:" + digest.str();
  EXPECT_EQ(refusal<api::RegisterImage>(request), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr(layer.hex()));
}

TEST_F(ImagesTest, TheArchitectureIsTheImagesOwn) {
  api::RegisterImageRequest request;
  request.name = "arm";
  request.image_location = "kiln:" + bake("layer", "arm64").str();
  request.architecture = "x86_64";
  EXPECT_EQ(refusal<api::RegisterImage>(request), "InvalidParameterValue");
  request.architecture = "arm64";
  std::string id = call<api::RegisterImage>(request).image_id.value();
  EXPECT_EQ(refusal<api::RunInstances>(run_request(id)), "InvalidParameterValue") << "t3 is not Arm";
  EXPECT_THAT(last_message, HasSubstr("arm64"));
}

TEST_F(ImagesTest, DeregisteringLeavesRunningInstancesAlone) {
  std::string image = register_image();
  std::string id = run_one(image);
  deregister(image);
  EXPECT_EQ(refusal<api::RunInstances>(run_request(image)), "InvalidAMIID.NotFound");
  loop.run_for(Duration(10'000));
  EXPECT_EQ(state_of(id), "running");
  EXPECT_EQ(describe(id).image_id, image);
  api::DeregisterImageRequest again;
  again.image_id = image;
  EXPECT_EQ(refusal<api::DeregisterImage>(again), "InvalidAMIID.NotFound");
  again.image_id = "web";
  EXPECT_EQ(refusal<api::DeregisterImage>(again), "InvalidAMIID.Malformed");
}

TEST_F(ImagesTest, AreFoundByOwnerNameTagAndState) {
  std::string one = register_image("web-1");
  std::string two = register_image("web-2");
  std::string db = register_image("db-1");
  api::CreateTagsRequest tag;
  tag.resources = {two};
  tag.tags = {{"stage", "test"}};
  call<api::CreateTags>(tag);
  auto by = [&](const std::string& name, const std::vector<std::string>& values) {
    api::DescribeImagesRequest request;
    request.filters = {{name, values}};
    return described(request);
  };
  EXPECT_THAT(by("name", {"web-*"}), UnorderedElementsAre(one, two));
  EXPECT_THAT(by("tag:stage", {"test"}), ElementsAre(two));
  EXPECT_THAT(by("state", {"pending"}), IsEmpty());
  EXPECT_THAT(by("image-id", {db}), ElementsAre(db));
  api::DescribeImagesRequest owned;
  owned.owners = {"self"};
  EXPECT_THAT(described(owned), SizeIs(3));
  owned.owners = {"amazon"};
  EXPECT_THAT(described(owned), IsEmpty());
  api::DescribeImagesRequest wrong;
  wrong.filters = {{"colour", {"red"}}};
  EXPECT_EQ(refusal<api::DescribeImages>(wrong), "InvalidParameterValue");
  api::DescribeImagesRequest unknown;
  unknown.image_ids = {"ami-0123456789abcdef0"};
  EXPECT_EQ(refusal<api::DescribeImages>(unknown), "InvalidAMIID.NotFound");
}

TEST_F(ImagesTest, ExecutableUsersAreThoseWithAnExplicitPermission) {
  std::string image = register_image();
  api::DescribeImagesRequest request;
  request.executable_users = {"self"};
  EXPECT_THAT(described(request), IsEmpty()) << "an owner needs none";
  api::ModifyImageAttributeRequest share;
  share.image_id = image;
  share.launch_permission.emplace().add = {{std::nullopt, std::nullopt, testing::kAccount, std::nullopt}};
  call<api::ModifyImageAttribute>(share);
  EXPECT_THAT(described(request), ElementsAre(image));
  request.executable_users = {"all"};
  EXPECT_THAT(described(request), IsEmpty()) << "it is not public";
  request.executable_users = {"me"};
  EXPECT_EQ(refusal<api::DescribeImages>(request), "InvalidUserID.Malformed");
}

}  // namespace
}  // namespace kiln::region::ec2
