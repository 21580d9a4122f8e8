// Disks: volumes, snapshots and the images that are made of instances.
#include <gmock/gmock.h>

#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DisksTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    base = register_image();
  }
  std::string create_image(const std::string& instance, const std::string& name, bool no_reboot = false) {
    api::CreateImageRequest request;
    request.instance_id = instance;
    request.name = name;
    request.no_reboot = no_reboot;
    return call<api::CreateImage>(request).image_id.value();
  }
  // By filters: an answer about what is named is held until it has settled.
  api::Image image(const std::string& id) {
    api::DescribeImagesRequest request;
    request.filters = {{"image-id", {id}}};
    return call<api::DescribeImages>(request).images.at(0);
  }
  std::string snapshot_of(const std::string& image_id) {
    return image(image_id).block_device_mappings.at(0).ebs->snapshot_id.value();
  }
  api::Snapshot snapshot(const std::string& id) {
    api::DescribeSnapshotsRequest request;
    request.filters = {{"snapshot-id", {id}}};
    return call<api::DescribeSnapshots>(request).snapshots.at(0);
  }
  std::vector<api::Volume> volumes(const std::vector<api::Filter>& filters = {}) {
    api::DescribeVolumesRequest request;
    request.filters = filters;
    return call<api::DescribeVolumes>(request).volumes;
  }
  std::string root_volume(const std::string& instance) {
    return describe(instance).block_device_mappings.at(0).ebs->volume_id.value();
  }
  bool settles(const std::string& id) {
    return loop.run_while_not([&] { return life->ec2.images_settled({id}); }, Duration(60'000));
  }
  void terminate(const std::string& id) {
    api::TerminateInstancesRequest request;
    request.instance_ids = {id};
    call<api::TerminateInstances>(request);
    EXPECT_TRUE(wait_for(id, InstanceState::terminated));
  }
  void stop(const std::string& id) {
    api::StopInstancesRequest request;
    request.instance_ids = {id};
    call<api::StopInstances>(request);
    EXPECT_TRUE(wait_for(id, InstanceState::stopped));
  }
  static api::BlockDeviceMapping root_mapping(std::int64_t gib) {
    api::BlockDeviceMapping mapping;
    mapping.device_name = "/dev/xvda";
    mapping.ebs.emplace().volume_size = gib;
    return mapping;
  }
  std::string base;
};

TEST_F(DisksTest, AnImageOfARunningInstancePowersItDownAndStartsItAgain) {
  std::string id = run_one(base);
  std::string made = create_image(id, "web-2");
  EXPECT_EQ(image(made).state, "pending");
  EXPECT_EQ(snapshot(snapshot_of(made)).state, "pending");
  EXPECT_EQ(refusal<api::RunInstances>(run_request(made)), "InvalidAMIID.Unavailable");
  ASSERT_TRUE(settles(made));
  api::Image done = image(made);
  EXPECT_EQ(done.state, "available");
  EXPECT_EQ(done.source_instance_id, id);
  EXPECT_EQ(done.image_location, std::string(testing::kAccount) + "/web-2");
  EXPECT_EQ(snapshot(snapshot_of(made)).state, "completed");
  EXPECT_EQ(snapshot(snapshot_of(made)).progress, "100%");
  EXPECT_EQ(snapshot(snapshot_of(made)).volume_id, root_volume(id));
  EXPECT_EQ(snapshot(snapshot_of(made)).description, "Created by CreateImage(" + id + ") for " + made);
  EXPECT_EQ(state_of(id), "running") << "AWS shows it running all the time";
  ASSERT_TRUE(loop.run_while_not([&] { return machines.boots(id) == 2; }, Duration(60'000)));
  EXPECT_EQ(state_of(run_one(made)), "running");
}

TEST_F(DisksTest, AWaiterThatNamesAnImageSeesItAvailableAtItsFirstLook) {
  std::string id = run_one(base);
  api::DescribeImagesRequest images;
  images.image_ids = {create_image(id, "web-2", true)};
  EXPECT_EQ(call<api::DescribeImages>(images).images.at(0).state, "available");
  api::CreateSnapshotRequest ask;
  ask.volume_id = root_volume(id);
  api::DescribeSnapshotsRequest snapshots;
  snapshots.snapshot_ids = {call<api::CreateSnapshot>(ask).snapshot_id.value()};
  EXPECT_EQ(call<api::DescribeSnapshots>(snapshots).snapshots.at(0).state, "completed");
}

TEST_F(DisksTest, NoRebootAndStoppedInstancesAreOnlyRead) {
  std::string id = run_one(base);
  std::string first = create_image(id, "web-2", true);
  ASSERT_TRUE(settles(first));
  EXPECT_EQ(machines.boots(id), 1);
  EXPECT_EQ(machines.state(id), machine::State::running);
  stop(id);
  std::string second = create_image(id, "web-3");
  ASSERT_TRUE(settles(second));
  loop.run_for(Duration(10'000));
  EXPECT_EQ(state_of(id), "stopped");
  EXPECT_EQ(machines.boots(id), 1);
  EXPECT_EQ(machines.captures(), 2u);
}

TEST_F(DisksTest, AnImageThatCannotBeMadeHasFailed) {
  policy = [](const machine::Spec& spec, host::Random& chance) {
    machine::Behaviour behaviour = machine::ordinary(spec, chance);
    behaviour.capture_failure = "the disk is full";
    return behaviour;
  };
  std::string id = run_one(base);
  std::string made = create_image(id, "web-2");
  ASSERT_TRUE(settles(made));
  EXPECT_EQ(image(made).state, "failed");
  EXPECT_THAT(image(made).state_reason->message.value(), HasSubstr("the disk is full"));
  EXPECT_EQ(snapshot(snapshot_of(made)).state, "error");
  ASSERT_TRUE(loop.run_while_not([&] { return machines.boots(id) == 2; }, Duration(60'000))) << "it is up again";
  EXPECT_THAT(said, ElementsAre(HasSubstr("the disk is full")));
}

TEST_F(DisksTest, WhatIsAskedMeanwhileWaitsForTheImage) {
  std::string id = run_one(base);
  std::string made = create_image(id, "web-2", true);
  loop.run_for(Duration(10));
  terminate(id);
  EXPECT_EQ(image(made).state, "available") << "its disk was read before it went";
}

TEST_F(DisksTest, CreateImageIsRefusedByState) {
  std::string id = run(base).at(0);
  api::CreateImageRequest request;
  request.instance_id = id;
  request.name = "web-2";
  EXPECT_EQ(refusal<api::CreateImage>(request), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("Instance is not in state"));
  ASSERT_TRUE(wait_for(id, InstanceState::running));
  request.name = "web-1";
  EXPECT_EQ(refusal<api::CreateImage>(request), "InvalidAMIName.Duplicate");
  request.name = "web-2";
  request.block_device_mappings = {root_mapping(20)};
  EXPECT_EQ(refusal<api::CreateImage>(request), "InvalidBlockDeviceMapping") << "the size is the volume's";
  request.block_device_mappings = {root_mapping(8)};
  request.block_device_mappings[0].ebs->delete_on_termination = false;
  request.tag_specifications = {{"image", {{"a", "1"}}}, {"snapshot", {{"b", "2"}}}};
  std::string made = call<api::CreateImage>(request).image_id.value();
  EXPECT_EQ(image(made).block_device_mappings.at(0).ebs->delete_on_termination, false);
  EXPECT_EQ(image(made).tags.at(0).key, "a");
  EXPECT_EQ(snapshot(snapshot_of(made)).tags.at(0).key, "b");
  request.instance_id = "i-0123456789abcdef0";
  request.name = "web-3";
  EXPECT_EQ(refusal<api::CreateImage>(request), "InvalidInstanceID.NotFound");
}

TEST_F(DisksTest, AKilledControlPlaneFinishesAnImage) {
  for (int moment : {0, 5, 400, 1'000, 1'300, 1'600, 2'500}) {
    std::string id = run_one(base);
    std::string made = create_image(id, "at " + std::to_string(moment));
    loop.run_for(Duration(moment));
    die();
    loop.run_for(Duration(1'000));
    start();
    ASSERT_TRUE(settles(made)) << moment;
    EXPECT_EQ(image(made).state, "available") << moment;
    loop.run_for(Duration(20'000));
    EXPECT_EQ(state_of(id), "running") << moment;
    EXPECT_EQ(machines.state(id), machine::State::running) << moment;
    EXPECT_GE(machines.boots(id), 2) << moment;
  }
}

TEST_F(DisksTest, AnImageOfAnInstanceThatIsGoneHasFailed) {
  std::string id = run_one(base);
  std::string made = create_image(id, "web-2");
  die();
  machines.remove_all();
  start();
  terminate(id);
  ASSERT_TRUE(settles(made));
  EXPECT_EQ(image(made).state, "failed");
}

TEST_F(DisksTest, TheRootVolumeHasTheSizeThatWasAskedFor) {
  std::string id = run_one(base);
  EXPECT_EQ(machines.spec(id).disk_gib, 8u) << "the snapshot's";
  api::RunInstancesRequest request = run_request(base);
  request.block_device_mappings = {root_mapping(20)};
  request.block_device_mappings[0].ebs->volume_type = "gp2";
  request.tag_specifications = {{"volume", {{"of", "web"}}}};
  std::string large = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  ASSERT_TRUE(wait_for(large, InstanceState::running));
  EXPECT_EQ(machines.spec(large).disk_gib, 20u);
  auto found = volumes({{"attachment.instance-id", {large}}});
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].size, 20);
  EXPECT_EQ(found[0].volume_type, "gp2");
  EXPECT_EQ(found[0].iops, 100);
  EXPECT_EQ(found[0].state, "in-use");
  EXPECT_EQ(found[0].tags.at(0).value, "web");
  EXPECT_EQ(found[0].attachments.at(0).device, "/dev/xvda");
  request.block_device_mappings = {root_mapping(7)};
  EXPECT_EQ(refusal<api::RunInstances>(request), "InvalidBlockDeviceMapping");
  EXPECT_THAT(last_message, HasSubstr("is smaller than snapshot"));
  request.block_device_mappings = {root_mapping(20), root_mapping(20)};
  EXPECT_EQ(refusal<api::RunInstances>(request), "InvalidBlockDeviceMapping") << "a device is named once";
  request.block_device_mappings = {root_mapping(20)};
  request.block_device_mappings[0].device_name = "/dev/sdb";
  request.block_device_mappings[0].ebs.reset();
  request.block_device_mappings[0].virtual_name = "ephemeral0";
  EXPECT_EQ(refusal<api::RunInstances>(request), "") << "types without such disks ignore it";
}

TEST_F(DisksTest, WhatNoVolumeCanBeIsRefused) {
  const auto refused = [&](auto&& change) {
    api::RunInstancesRequest request = run_request(base);
    request.block_device_mappings = {root_mapping(20)};
    change(*request.block_device_mappings[0].ebs);
    return refusal<api::RunInstances>(request);
  };
  EXPECT_EQ(refused([](auto& ebs) { ebs.volume_type = "gp9"; }), "InvalidParameterValue");
  EXPECT_EQ(refused([](auto& ebs) { ebs.volume_size = 0; }), "InvalidParameterValue");
  EXPECT_EQ(refused([](auto& ebs) { ebs.volume_size = 70'000; }), "InvalidParameterValue");
  EXPECT_EQ(refused([](auto& ebs) { ebs.volume_size = 5'000; }), "UnsupportedOperation");
  EXPECT_EQ(refused([](auto& ebs) { ebs.volume_type = "io1"; }), "MissingParameter");
  EXPECT_EQ(refused([](auto& ebs) { ebs.iops = 100; }), "InvalidParameterValue") << "gp3 has 3000 or more";
  EXPECT_EQ(refused([](auto& ebs) { ebs.throughput = 10; }), "InvalidParameterValue");
  EXPECT_EQ(refused([](auto& ebs) {
              ebs.volume_type = "gp2";
              ebs.iops = 3000;
            }),
            "InvalidParameterCombination");
  EXPECT_EQ(refused([](auto& ebs) {
              ebs.volume_type = "st1";
              ebs.volume_size = 200;
            }),
            "InvalidBlockDeviceMapping");
  EXPECT_EQ(refused([](auto& ebs) { ebs.kms_key_id = "alias/mine"; }), "InvalidParameterDependency");
  EXPECT_EQ(refused([](auto& ebs) { ebs.snapshot_id = "snap-0123456789abcdef0"; }), "InvalidBlockDeviceMapping");
  EXPECT_EQ(refused([](auto& ebs) { ebs.outpost_arn = "arn:aws:outposts:x"; }), "UnsupportedOperation");
}

TEST_F(DisksTest, ALaunchTemplateSaysTheRootVolumeToo) {
  api::CreateLaunchTemplateRequest request;
  request.launch_template_name = "web";
  auto& data = request.launch_template_data.emplace();
  data.image_id = base;
  data.instance_type = "t3.micro";
  auto& mapping = data.block_device_mappings.emplace_back();
  mapping.device_name = "/dev/xvda";
  mapping.ebs.emplace().volume_size = 12;
  mapping.ebs->delete_on_termination = false;
  call<api::CreateLaunchTemplate>(request);
  die();
  start();
  api::DescribeLaunchTemplateVersionsRequest ask;
  ask.launch_template_name = "web";
  auto shown = call<api::DescribeLaunchTemplateVersions>(ask).launch_template_versions.at(0).launch_template_data;
  EXPECT_EQ(shown->block_device_mappings.at(0).ebs->volume_size, 12);
  api::RunInstancesRequest launch;
  launch.launch_template.emplace().launch_template_name = "web";
  launch.min_count = launch.max_count = 1;
  std::string id = call<api::RunInstances>(launch).instances.at(0).instance_id.value();
  ASSERT_TRUE(wait_for(id, InstanceState::running));
  EXPECT_EQ(machines.spec(id).disk_gib, 12u);
  EXPECT_EQ(describe(id).block_device_mappings.at(0).ebs->delete_on_termination, false);
}

TEST_F(DisksTest, ARootVolumeGoesWithItsInstanceUnlessItIsToStay) {
  terminate(run_one(base));
  EXPECT_THAT(volumes(), IsEmpty());
  api::RunInstancesRequest request = run_request(base);
  request.block_device_mappings = {root_mapping(9)};
  request.block_device_mappings[0].ebs->delete_on_termination = false;
  std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  ASSERT_TRUE(wait_for(id, InstanceState::running));
  std::string volume = root_volume(id);
  terminate(id);
  auto left = volumes();
  ASSERT_THAT(left, SizeIs(1));
  EXPECT_EQ(left[0].volume_id, volume);
  EXPECT_EQ(left[0].state, "available");
  EXPECT_THAT(left[0].attachments, IsEmpty());
  EXPECT_EQ(machines.captures(), 1u) << "what it has written was read before it went";
  api::CreateSnapshotRequest ask;
  ask.volume_id = volume;
  EXPECT_EQ(call<api::CreateSnapshot>(ask).state, "completed") << "and can be used";
}

TEST_F(DisksTest, AnImageIsRegisteredFromASnapshotOfAVolume) {
  std::string id = run_one(base);
  stop(id);
  api::CreateSnapshotRequest ask;
  ask.volume_id = root_volume(id);
  ask.description = "by hand";
  api::Snapshot taken = call<api::CreateSnapshot>(ask);
  EXPECT_EQ(taken.state, "pending");
  api::RegisterImageRequest request;
  request.name = "surrogate";
  request.root_device_name = "/dev/sda1";
  request.virtualization_type = "hvm";
  request.architecture = "x86_64";
  request.block_device_mappings = {root_mapping(10)};
  request.block_device_mappings[0].device_name = "/dev/sda1";
  request.block_device_mappings[0].ebs->snapshot_id = taken.snapshot_id;
  EXPECT_EQ(refusal<api::RegisterImage>(request), "IncorrectState");
  ASSERT_TRUE(loop.run_while_not([&] { return life->ec2.snapshots_settled({*taken.snapshot_id}); }, Duration(60'000)));
  std::string made = call<api::RegisterImage>(request).image_id.value();
  EXPECT_EQ(snapshot_of(made), taken.snapshot_id);
  EXPECT_EQ(image(made).block_device_mappings.at(0).ebs->volume_size, 10);
  EXPECT_EQ(image(made).root_device_name, "/dev/sda1");
  std::string run_of_it = run_one(made);
  EXPECT_EQ(describe(run_of_it).root_device_name, "/dev/sda1");
  EXPECT_EQ(machines.spec(run_of_it).disk_gib, 10u);
  api::DeleteSnapshotRequest gone;
  gone.snapshot_id = taken.snapshot_id;
  EXPECT_EQ(refusal<api::DeleteSnapshot>(gone), "InvalidSnapshot.InUse");
  EXPECT_THAT(last_message, HasSubstr(made));
  request.name = "small";
  request.block_device_mappings[0].ebs->volume_size = 4;
  EXPECT_EQ(refusal<api::RegisterImage>(request), "InvalidBlockDeviceMapping");
  request.block_device_mappings[0].ebs->snapshot_id = "snap-0123456789abcdef0";
  EXPECT_EQ(refusal<api::RegisterImage>(request), "InvalidSnapshot.NotFound");
}

// As amazon-ebssurrogate makes one.
class SurrogateTest : public DisksTest {
 protected:
  // Of a data volume whose file system is that image's root; empty: it has none.
  std::string data_snapshot(const std::string& root) {
    api::CreateVolumeRequest volume;
    volume.availability_zone = "us-east-1a";
    volume.size = 2;
    const std::string id = call<api::CreateVolume>(volume).volume_id.value();
    EXPECT_TRUE(loop.run_while_not([&] { return life->ec2.volumes_settled({id}); }, Duration(60'000)));
    machines.volumes().at(id).content = root;
    api::CreateSnapshotRequest ask;
    ask.volume_id = id;
    const std::string taken = call<api::CreateSnapshot>(ask).snapshot_id.value();
    EXPECT_TRUE(loop.run_while_not([&] { return life->ec2.snapshots_settled({taken}); }, Duration(60'000)));
    return taken;
  }
  static api::RegisterImageRequest request_of(const std::string& taken, const std::string& name = "surrogate") {
    api::RegisterImageRequest request;
    request.name = name;
    request.root_device_name = "/dev/xvda";
    request.architecture = "x86_64";
    request.virtualization_type = "hvm";
    request.block_device_mappings = {root_mapping(2)};
    request.block_device_mappings[0].ebs->snapshot_id = taken;
    return request;
  }
  std::string registered(const std::string& taken, const std::string& name = "surrogate") {
    return call<api::RegisterImage>(request_of(taken, name)).image_id.value();
  }
  std::string delete_refusal(const std::string& id) {
    api::DeleteSnapshotRequest request;
    request.snapshot_id = id;
    return refusal<api::DeleteSnapshot>(request);
  }
};

TEST_F(SurrogateTest, AnImageIsRegisteredFromASnapshotOfADataVolumeAndBoots) {
  const Digest root = bake("what the volume holds");
  const std::string taken = data_snapshot(root.str());
  const std::string made = registered(taken);
  EXPECT_EQ(image(made).state, "pending");
  EXPECT_EQ(image(made).block_device_mappings.at(0).ebs->volume_size, 2);
  EXPECT_EQ(refusal<api::RunInstances>(run_request(made)), "InvalidAMIID.Unavailable");
  ASSERT_TRUE(settles(made));
  EXPECT_EQ(image(made).state, "available");
  EXPECT_EQ(snapshot_of(made), taken);
  const std::string id = run_one(made);
  EXPECT_EQ(machines.spec(id).image.digest, root);
  EXPECT_EQ(machines.spec(id).disk_gib, 2u);
  EXPECT_EQ(delete_refusal(taken), "InvalidSnapshot.InUse");
  const std::string second = registered(taken, "again");
  ASSERT_TRUE(settles(second));
  EXPECT_EQ(state_of(run_one(second)), "running") << "a snapshot may be the root of many images";
}

TEST_F(SurrogateTest, ASnapshotWithoutARootFailsTheImageWithWords) {
  const std::string taken = data_snapshot("");
  const std::string made = registered(taken);
  ASSERT_TRUE(settles(made));
  EXPECT_EQ(image(made).state, "failed");
  EXPECT_THAT(image(made).state_reason->message.value(), HasSubstr(taken + " cannot be the root device"));
  EXPECT_EQ(refusal<api::RunInstances>(run_request(made)), "InvalidAMIID.Unavailable");
  EXPECT_EQ(delete_refusal(taken), "") << "a failed image holds nothing";
}

TEST_F(SurrogateTest, ASnapshotThatIsBeingReadIsNotDeleted) {
  const std::string taken = data_snapshot(bake("root").str());
  const std::string made = registered(taken);
  loop.run_for(Duration(1));
  api::DeregisterImageRequest request;
  request.image_id = made;
  call<api::DeregisterImage>(request);
  EXPECT_EQ(delete_refusal(taken), "IncorrectState");
  loop.run_for(Duration(1'000));
  EXPECT_EQ(delete_refusal(taken), "");
}

TEST_F(SurrogateTest, AKilledControlPlaneReadsItAgain) {
  const std::string made = registered(data_snapshot(bake("root").str()));
  loop.run_for(Duration(10));
  die();
  start();
  EXPECT_EQ(image(made).state, "pending");
  ASSERT_TRUE(settles(made));
  EXPECT_EQ(image(made).state, "available");
}

TEST_F(SurrogateTest, ManyAtOnceAreReadOneAfterAnother) {
  const std::string taken = data_snapshot(bake("root").str());
  std::vector<std::string> made;
  for (int i = 0; i < 5; ++i) made.push_back(registered(taken, "surrogate-" + std::to_string(i)));
  for (const std::string& one : made) {
    ASSERT_TRUE(settles(one));
    EXPECT_EQ(image(one).state, "available");
  }
}

TEST_F(SurrogateTest, AnArchitectureThatThisRegionLacksIsRefused) {
  api::RegisterImageRequest request = request_of(data_snapshot(bake("root").str()));
  request.architecture = "i386";
  EXPECT_EQ(refusal<api::RegisterImage>(request), "InvalidParameterValue");
  request.architecture = "arm64";
  const std::string made = call<api::RegisterImage>(request).image_id.value();
  EXPECT_EQ(image(made).architecture, "arm64");
}

TEST_F(DisksTest, DeregisteringDeletesTheSnapshotsThatNoOtherImageHas) {
  std::string snap = snapshot_of(base);
  EXPECT_EQ(snapshot(snap).state, "completed") << "an image that is registered by location has one too";
  api::RegisterImageRequest twin;
  twin.name = "twin";
  twin.block_device_mappings = {root_mapping(8)};
  twin.block_device_mappings[0].ebs->snapshot_id = snap;
  std::string second = call<api::RegisterImage>(twin).image_id.value();
  api::DeregisterImageRequest request;
  request.image_id = base;
  request.delete_associated_snapshots = true;
  auto first_answer = call<api::DeregisterImage>(request).delete_snapshot_results;
  ASSERT_THAT(first_answer, SizeIs(1));
  EXPECT_EQ(first_answer[0].return_code, "skipped");
  request.image_id = second;
  EXPECT_EQ(call<api::DeregisterImage>(request).delete_snapshot_results.at(0).return_code, "success");
  api::DescribeSnapshotsRequest ask;
  ask.snapshot_ids = {snap};
  EXPECT_EQ(refusal<api::DescribeSnapshots>(ask), "InvalidSnapshot.NotFound");
}

TEST_F(DisksTest, SnapshotsAreFoundByOwnerPermissionAndFilter) {
  std::string snap = snapshot_of(base);
  const auto found = [&](auto&& change) {
    api::DescribeSnapshotsRequest request;
    change(request);
    return call<api::DescribeSnapshots>(request).snapshots.size();
  };
  EXPECT_EQ(found([](auto& request) { request.owner_ids = {"self"}; }), 1u);
  EXPECT_EQ(found([](auto& request) { request.owner_ids = {"amazon"}; }), 0u);
  EXPECT_EQ(found([](auto& request) { request.filters = {{"volume-size", {"8"}}}; }), 1u);
  EXPECT_EQ(found([](auto& request) { request.filters = {{"status", {"pending"}}}; }), 0u);
  EXPECT_EQ(found([](auto& request) { request.restorable_by_user_ids = {"210987654321"}; }), 0u);
  api::ModifySnapshotAttributeRequest share;
  share.snapshot_id = snap;
  share.create_volume_permission.emplace().add = {{"210987654321", std::nullopt}};
  share.user_ids = {"210987654321"};  // Packer sends both
  call<api::ModifySnapshotAttribute>(share);
  EXPECT_EQ(found([](auto& request) { request.restorable_by_user_ids = {"210987654321"}; }), 1u);
  api::DescribeSnapshotAttributeRequest ask;
  ask.snapshot_id = snap;
  ask.attribute = "createVolumePermission";
  EXPECT_EQ(call<api::DescribeSnapshotAttribute>(ask).create_volume_permissions.at(0).user_id, "210987654321");
  api::ResetSnapshotAttributeRequest reset;
  reset.snapshot_id = snap;
  reset.attribute = "createVolumePermission";
  call<api::ResetSnapshotAttribute>(reset);
  EXPECT_THAT(call<api::DescribeSnapshotAttribute>(ask).create_volume_permissions, IsEmpty());
  share.create_volume_permission->add = {{"somebody", std::nullopt}};
  EXPECT_EQ(refusal<api::ModifySnapshotAttribute>(share), "InvalidAttributeItemValue");
}

TEST_F(DisksTest, DisksAreTagged) {
  std::string id = run_one(base);
  api::CreateTagsRequest tag;
  tag.resources = {root_volume(id), snapshot_of(base)};
  tag.tags = {{"team", "web"}};
  call<api::CreateTags>(tag);
  EXPECT_THAT(volumes({{"tag:team", {"web"}}}), SizeIs(1));
  die();
  start();
  EXPECT_EQ(snapshot(snapshot_of(base)).tags.at(0).value, "web");
  EXPECT_THAT(volumes({{"tag:team", {"web"}}, {"size", {"8"}}}), SizeIs(1));
  EXPECT_THAT(volumes({{"status", {"available"}}}), IsEmpty());
}

}  // namespace
}  // namespace kiln::region::ec2
