// Image attributes: who sees and may launch an image, for how long, and copies of it.
#include <gmock/gmock.h>

#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr const char* kFriend = "210987654321";

// Another account, or another region of the same, beside the one that is asked over the wire.
struct Neighbour {
  Neighbour(host::Loop& loop, host::Random& random, const ImagePlacements& placements, Options options)
      : machines(loop, random), ec2(loop, random, journal, machines, network, placements, std::move(options)) {
    network.open();
    ec2.open();
  }
  MemoryJournal journal;
  machine::SimulatedMachines machines;
  machine::SimulatedNetwork network;
  Ec2 ec2;
};

class ImageAttributesTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    image = register_image();
  }
  api::Image shown(const std::string& id) {
    api::DescribeImagesRequest request;
    request.image_ids = {id};
    request.include_disabled = true;
    return call<api::DescribeImages>(request).images.at(0);
  }
  std::vector<std::string> described(const api::DescribeImagesRequest& request = {}) {
    std::vector<std::string> ids;
    for (const auto& one : call<api::DescribeImages>(request).images) ids.push_back(one.image_id.value());
    return ids;
  }
  std::vector<std::string> found(const std::string& filter, const std::string& value) {
    api::DescribeImagesRequest request;
    request.filters = {{filter, {value}}};
    return described(request);
  }
  template <class Op, class Request>
  std::string try_with(const std::string& id) {
    Request request;
    request.image_id = id;
    return refusal<Op>(request);
  }
  std::vector<api::LaunchPermission> permissions() {
    api::DescribeImageAttributeRequest request;
    request.image_id = image;
    request.attribute = "launchPermission";
    return call<api::DescribeImageAttribute>(request).launch_permissions;
  }
  void share_with(const std::string& account) {
    api::ModifyImageAttributeRequest request;
    request.image_id = image;
    request.launch_permission.emplace().add.emplace_back().user_id = account;
    call<api::ModifyImageAttribute>(request);
  }
  std::unique_ptr<Neighbour> neighbour(const std::string& account, const std::string& region) {
    Options with = options;
    with.account = account;
    with.region = region;
    return std::make_unique<Neighbour>(loop, random, placements, with);
  }
  std::string deprecate(const std::string& id, const char* at) {
    api::EnableImageDeprecationRequest request;
    request.image_id = id;
    request.deprecate_at = parse_iso8601(at);
    return refusal<api::EnableImageDeprecation>(request);
  }
  std::string image;
};

TEST_F(ImageAttributesTest, LaunchPermissionsAreChangedInBothForms) {
  share_with(kFriend);
  api::ModifyImageAttributeRequest old;
  old.image_id = image;
  old.attribute = "launchPermission";
  old.operation_type = "add";
  old.user_ids = {"111122223333"};
  old.user_groups = {"all"};
  call<api::ModifyImageAttribute>(old);
  EXPECT_THAT(permissions(), SizeIs(3));
  EXPECT_EQ(shown(image).public_, true);
  EXPECT_THAT(found("is-public", "true"), ElementsAre(image));
  old.operation_type = "remove";
  call<api::ModifyImageAttribute>(old);
  ASSERT_THAT(permissions(), SizeIs(1));
  EXPECT_EQ(permissions()[0].user_id, kFriend);
  die();
  start();
  EXPECT_THAT(permissions(), SizeIs(1));
  api::ResetImageAttributeRequest reset;
  reset.image_id = image;
  reset.attribute = "launchPermission";
  call<api::ResetImageAttribute>(reset);
  EXPECT_THAT(permissions(), IsEmpty());
  old.user_ids = {"me"};
  EXPECT_EQ(refusal<api::ModifyImageAttribute>(old), "InvalidAMIAttributeItemValue");
  old.user_ids.clear();
  old.user_groups = {"some"};
  EXPECT_EQ(refusal<api::ModifyImageAttribute>(old), "InvalidAMIAttributeItemValue");
  old.operation_type.reset();
  EXPECT_EQ(refusal<api::ModifyImageAttribute>(old), "InvalidParameterValue") << "neither add nor remove";
  old.user_groups.clear();
  EXPECT_EQ(refusal<api::ModifyImageAttribute>(old), "InvalidParameterCombination") << "nothing to change";
  old.organization_arns = {"arn:aws:organizations::1:organization/o-1"};
  EXPECT_EQ(refusal<api::ModifyImageAttribute>(old), "UnsupportedOperation");
}

TEST_F(ImageAttributesTest, DescriptionAndImdsSupportAreChanged) {
  api::ModifyImageAttributeRequest request;
  request.image_id = image;
  request.description.emplace().value = "better";
  call<api::ModifyImageAttribute>(request);
  request.description.reset();
  request.imds_support.emplace().value = "v1.0";
  EXPECT_EQ(refusal<api::ModifyImageAttribute>(request), "InvalidParameterValue") << "it cannot be taken back";
  request.imds_support->value = "v2.0";
  call<api::ModifyImageAttribute>(request);
  EXPECT_EQ(shown(image).description, "better");
  EXPECT_EQ(shown(image).imds_support, "v2.0");
  api::DescribeImageAttributeRequest ask;
  ask.image_id = image;
  ask.attribute = "blockDeviceMapping";
  EXPECT_EQ(call<api::DescribeImageAttribute>(ask).block_device_mappings.at(0).device_name, "/dev/xvda");
  ask.attribute = "uefiData";
  EXPECT_EQ(refusal<api::DescribeImageAttribute>(ask), "UnsupportedOperation");
}

TEST_F(ImageAttributesTest, ADisabledImageIsHiddenNotSharedAndNotLaunched) {
  share_with(kFriend);
  const std::string id = run_one(image);
  EXPECT_EQ((try_with<api::DisableImage, api::DisableImageRequest>(image)), "");
  EXPECT_THAT(described(), IsEmpty());
  EXPECT_EQ(shown(image).state, "disabled");
  EXPECT_EQ(refusal<api::RunInstances>(run_request(image)), "InvalidAMIID.Unavailable");
  EXPECT_EQ(state_of(id), "running");
  api::ModifyImageAttributeRequest share;
  share.image_id = image;
  share.user_ids = {kFriend};
  share.operation_type = "add";
  EXPECT_EQ(refusal<api::ModifyImageAttribute>(share), "InvalidAMIID.Unavailable") << "it cannot be shared";
  api::DeleteSnapshotRequest snapshot;
  snapshot.snapshot_id = shown(image).block_device_mappings.at(0).ebs->snapshot_id;
  EXPECT_EQ(refusal<api::DeleteSnapshot>(snapshot), "InvalidSnapshot.InUse");
  EXPECT_EQ((try_with<api::EnableImage, api::EnableImageRequest>(image)), "");
  EXPECT_THAT(described(), ElementsAre(image));
  EXPECT_THAT(permissions(), IsEmpty()) << "who had it does not get it back";
}

TEST_F(ImageAttributesTest, DeprecationIsRoundedToTheMinuteAndHasBounds) {
  EXPECT_EQ(deprecate(image, "2026-11-25T03:00:29Z"), "");
  EXPECT_EQ(shown(image).deprecation_time, "2026-11-25T03:00:00.000Z");
  EXPECT_EQ(deprecate(image, "2026-11-25T03:00:31Z"), "");
  EXPECT_EQ(shown(image).deprecation_time, "2026-11-25T03:01:00.000Z");
  EXPECT_EQ(deprecate(image, "2026-11-23T03:00:00Z"), "InvalidParameterValue") << "past";
  EXPECT_EQ(deprecate(image, "2036-11-25T03:00:00Z"), "InvalidParameterValue") << "more than ten years";
  loop.run_for(Duration(48 * 3'600'000));
  EXPECT_THAT(described(), ElementsAre(image)) << "its owner sees it";
  EXPECT_EQ(refusal<api::RunInstances>(run_request(image)), "") << "and it can be launched";
  EXPECT_EQ((try_with<api::DisableImageDeprecation, api::DisableImageDeprecationRequest>(image)), "");
  EXPECT_FALSE(shown(image).deprecation_time);
  api::ModifyImageAttributeRequest share;
  share.image_id = image;
  share.user_groups = {"all"};
  share.operation_type = "add";
  call<api::ModifyImageAttribute>(share);
  EXPECT_EQ(shown(image).deprecation_time, "2028-11-24T03:00:00.000Z") << "a public one: two years after it was made";
  EXPECT_EQ(deprecate(image, "2029-01-01T00:00:00Z"), "InvalidParameterValue");
}

TEST_F(ImageAttributesTest, AProtectedImageIsNotDeregisteredNorWithinItsCooldown) {
  api::EnableImageDeregistrationProtectionRequest protect;
  protect.image_id = image;
  call<api::EnableImageDeregistrationProtection>(protect);
  EXPECT_EQ(shown(image).deregistration_protection, "enabled-without-cooldown");
  const auto deregister = [&] { return try_with<api::DeregisterImage, api::DeregisterImageRequest>(image); };
  const auto unprotect = [&] {
    return try_with<api::DisableImageDeregistrationProtection, api::DisableImageDeregistrationProtectionRequest>(image);
  };
  EXPECT_EQ(deregister(), "OperationNotPermitted");
  EXPECT_EQ(unprotect(), "");
  EXPECT_EQ(shown(image).deregistration_protection, "disabled");
  protect.with_cooldown = true;
  call<api::EnableImageDeregistrationProtection>(protect);
  EXPECT_EQ(unprotect(), "");
  loop.run_for(Duration(23 * 3'600'000));
  EXPECT_EQ(deregister(), "OperationNotPermitted") << "for a day it holds";
  die();
  start();
  loop.run_for(Duration(3'600'000));
  EXPECT_EQ(shown(image).deregistration_protection, "disabled");
  EXPECT_EQ(deregister(), "");
}

TEST_F(ImageAttributesTest, AnotherAccountsImageIsSeenAndLaunchedWhenItIsShared) {
  const auto other = neighbour(kFriend, testing::kRegion);
  life->ec2.set_foreign_images([&] { return other->ec2.images_shared_with(testing::kAccount); });
  ImageRequest request;
  request.name = "theirs";
  request.location = "kiln:" + bake("theirs").str();
  const std::string theirs = other->ec2.register_image(request).id;
  EXPECT_THAT(described(), ElementsAre(image));
  EXPECT_EQ(refusal<api::RunInstances>(run_request(theirs)), "InvalidAMIID.NotFound");
  other->ec2.share_image(theirs, {{testing::kAccount}, {}, {}, {}});
  EXPECT_THAT(described(), UnorderedElementsAre(image, theirs));
  EXPECT_EQ(shown(theirs).owner_id, kFriend);
  api::DescribeImagesRequest owned;
  owned.owners = {"self"};
  EXPECT_THAT(described(owned), ElementsAre(image));
  owned.owners = {kFriend};
  EXPECT_THAT(described(owned), ElementsAre(theirs));
  const std::string id = run_one(theirs);
  EXPECT_EQ(machines.spec(id).image.digest, bake("theirs"));
  api::ModifyImageAttributeRequest change;
  change.image_id = theirs;
  change.description.emplace().value = "mine";
  EXPECT_EQ(refusal<api::ModifyImageAttribute>(change), "AuthFailure");
  EXPECT_EQ((try_with<api::DeregisterImage, api::DeregisterImageRequest>(theirs)), "AuthFailure");
  other->ec2.deprecate_image(theirs, loop.now() + Duration(60'000));
  loop.run_for(Duration(180'000));
  EXPECT_THAT(described(), ElementsAre(image)) << "deprecated ones are for their owner";
  api::DescribeImagesRequest all;
  all.include_deprecated = true;
  EXPECT_THAT(described(all), UnorderedElementsAre(image, theirs));
  other->ec2.disable_image(theirs);
  EXPECT_EQ(refusal<api::RunInstances>(run_request(theirs)), "InvalidAMIID.NotFound") << "no longer shared";
}

TEST_F(ImageAttributesTest, ACopyHasTheContentAndASnapshotOfItsOwn) {
  const auto west = neighbour(testing::kAccount, "us-west-2");
  west->ec2.set_other_regions(
      [&](const std::string& region) { return region == testing::kRegion ? &life->ec2 : nullptr; });
  api::CreateTagsRequest tag;
  tag.resources = {image};
  tag.tags = {{"app", "web"}};
  call<api::CreateTags>(tag);
  share_with(kFriend);
  CopyRequest request;
  request.source_image = image;
  request.source_region = testing::kRegion;
  request.name = "copied";
  request.encrypted = true;
  request.kms_key = "alias/mine";
  request.client_token = "once";
  const Image copy = west->ec2.copy_image(request);
  EXPECT_EQ(copy.digest, bake("layer of web-1"));
  EXPECT_EQ(copy.state, ImageState::available);
  EXPECT_EQ(copy.source_image, image);
  EXPECT_EQ(copy.source_region, testing::kRegion);
  EXPECT_THAT(copy.tags, IsEmpty()) << "tags only when it is asked for";
  EXPECT_THAT(copy.sharing.accounts, IsEmpty()) << "permissions never";
  const Snapshot& snapshot = west->ec2.snapshot(copy.root()->snapshot_id);
  EXPECT_TRUE(snapshot.encrypted);
  EXPECT_EQ(snapshot.kms_key, "arn:aws:kms:us-west-2:123456789012:alias/mine");
  EXPECT_THAT(snapshot.description, HasSubstr("from SourceAmi " + image));
  EXPECT_EQ(west->ec2.copy_image(request).id, copy.id) << "the same token";
  request.name = "other";
  EXPECT_THROW(west->ec2.copy_image(request), ApiError);

  api::CopyImageRequest here;
  here.name = "copied";
  here.source_image_id = image;
  here.source_region = "us-west-2";
  EXPECT_EQ(refusal<api::CopyImage>(here), "InvalidParameterValue") << "a region that there is not";
  here.source_region = testing::kRegion;
  here.kms_key_id = "alias/mine";
  EXPECT_EQ(refusal<api::CopyImage>(here), "InvalidParameterDependency");
  here.kms_key_id.reset();
  here.copy_image_tags = true;
  here.tag_specifications = {{"snapshot", {{"made", "by copy"}}}};
  const std::string twin = call<api::CopyImage>(here).image_id.value();
  EXPECT_EQ(shown(twin).tags.at(0).key, "app");
  EXPECT_EQ(state_of(run_one(twin)), "running");
  EXPECT_EQ(refusal<api::CopyImage>(here), "InvalidAMIName.Duplicate");
}

TEST_F(ImageAttributesTest, ImagesAreFoundByTheirDisksAndSources) {
  const std::string snapshot = shown(image).block_device_mappings.at(0).ebs->snapshot_id.value();
  EXPECT_THAT(found("block-device-mapping.snapshot-id", snapshot), ElementsAre(image));
  EXPECT_THAT(found("block-device-mapping.volume-size", "8"), ElementsAre(image));
  EXPECT_THAT(found("block-device-mapping.volume-type", "gp2"), IsEmpty());
  EXPECT_THAT(found("block-device-mapping.delete-on-termination", "true"), ElementsAre(image));
  EXPECT_THAT(found("root-device-type", "ebs"), ElementsAre(image));
  EXPECT_THAT(found("source-instance-id", "i-*"), IsEmpty());
  EXPECT_THAT(found("owner-alias", "*"), IsEmpty());
  api::DescribeImagesRequest wrong;
  wrong.filters = {{"block-device-mapping.colour", {"red"}}};
  EXPECT_EQ(refusal<api::DescribeImages>(wrong), "InvalidParameterValue");
  wrong.filters.clear();
  wrong.owners = {"somebody"};
  EXPECT_EQ(refusal<api::DescribeImages>(wrong), "InvalidUserID.Malformed");
}

}  // namespace
}  // namespace kiln::region::ec2
