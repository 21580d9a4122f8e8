// Volumes besides the root's: made, attached, detached, copied and deleted, on simulated machines.
#include <gmock/gmock.h>

#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class VolumesTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    base = register_image();
  }
  static api::BlockDeviceMapping mapping(const std::string& device, std::int64_t gib) {
    api::BlockDeviceMapping one;
    one.device_name = device;
    one.ebs.emplace().volume_size = gib;
    return one;
  }
  std::string run_with(const std::vector<api::BlockDeviceMapping>& mappings, const std::string& image = {}) {
    api::RunInstancesRequest request = run_request(image.empty() ? base : image);
    request.block_device_mappings = mappings;
    const std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
    EXPECT_TRUE(wait_for(id, InstanceState::running));
    return id;
  }
  std::string volume_of(const std::string& instance, const std::string& device) {
    for (const auto& one : describe(instance).block_device_mappings) {
      if (one.device_name == device) return one.ebs->volume_id.value();
    }
    return "";
  }
  // By a filter: an answer about what is named is held until it has settled.
  api::Volume volume(const std::string& id) {
    api::DescribeVolumesRequest request;
    request.filters = {{"volume-id", {id}}};
    const auto found = call<api::DescribeVolumes>(request).volumes;
    return found.empty() ? api::Volume{} : found[0];
  }
  std::string state(const std::string& id) { return volume(id).state.value_or("gone"); }
  bool settles(const std::string& id) {
    return loop.run_while_not([&] { return life->ec2.volumes_settled({id}); }, Duration(60'000));
  }
  api::CreateVolumeRequest volume_request(std::int64_t gib) const {
    api::CreateVolumeRequest request;
    request.availability_zone = "us-east-1a";
    request.size = gib;
    return request;
  }
  std::string create(std::int64_t gib) {
    const std::string id = call<api::CreateVolume>(volume_request(gib)).volume_id.value();
    EXPECT_TRUE(settles(id));
    return id;
  }
  api::AttachVolumeRequest attach_request(const std::string& volume_id, const std::string& instance,
                                          const std::string& device = "/dev/sdf") const {
    api::AttachVolumeRequest request;
    request.volume_id = volume_id;
    request.instance_id = instance;
    request.device = device;
    return request;
  }
  void attach(const std::string& id, const std::string& instance, const std::string& device = "/dev/sdf") {
    EXPECT_EQ(call<api::AttachVolume>(attach_request(id, instance, device)).state, "attaching");
    EXPECT_TRUE(settles(id));
  }
  static api::DetachVolumeRequest detach_request(const std::string& id) {
    api::DetachVolumeRequest request;
    request.volume_id = id;
    return request;
  }
  std::string delete_refusal(const std::string& id) {
    api::DeleteVolumeRequest request;
    request.volume_id = id;
    return refusal<api::DeleteVolume>(request);
  }
  std::string snapshot_of(const std::string& id) {
    api::CreateSnapshotRequest request;
    request.volume_id = id;
    const std::string made = call<api::CreateSnapshot>(request).snapshot_id.value();
    EXPECT_TRUE(loop.run_while_not([&] { return life->ec2.snapshots_settled({made}); }, Duration(60'000)));
    return made;
  }
  std::string zone_of(const std::string& instance) { return describe(instance).placement->availability_zone.value(); }
  void terminate(const std::string& id) {
    api::TerminateInstancesRequest request;
    request.instance_ids = {id};
    call<api::TerminateInstances>(request);
    EXPECT_TRUE(wait_for(id, InstanceState::terminated));
    loop.run_for(Duration(1'000));
  }
  machine::SimulatedVolumes& host() { return machines.volumes(); }
  std::string base;
};

TEST_F(VolumesTest, AnInstanceHasTheVolumesThatItsMappingsSay) {
  std::vector<api::BlockDeviceMapping> mappings = {mapping("/dev/sdf", 5), mapping("/dev/sdg", 7)};
  mappings[0].ebs->volume_type = "gp3";
  mappings[0].ebs->throughput = 200;
  mappings[0].ebs->encrypted = true;
  mappings[1].ebs->delete_on_termination = false;
  const std::string id = run_with(mappings);
  const std::string first = volume_of(id, "/dev/sdf");
  const std::string second = volume_of(id, "/dev/sdg");
  EXPECT_THAT(machines.spec(id).volumes, ::testing::UnorderedElementsAre(machine::VolumeAt{first, "/dev/sdf"},
                                                                         machine::VolumeAt{second, "/dev/sdg"}));
  EXPECT_EQ(host().at(first).gib, 5u);
  EXPECT_EQ(volume(first).state, "in-use");
  EXPECT_EQ(volume(first).throughput, 200);
  EXPECT_EQ(volume(first).encrypted, true);
  EXPECT_EQ(volume(first).attachments.at(0).state, "attached");
  EXPECT_EQ(volume(first).attachments.at(0).delete_on_termination, true) << "AWS's default at a launch";
  EXPECT_EQ(volume(second).volume_type, "gp2");
  api::DescribeInstancesRequest found;
  found.filters = {{"block-device-mapping.device-name", {"/dev/sdg"}}};
  EXPECT_THAT(call<api::DescribeInstances>(found).reservations, SizeIs(1));
  terminate(id);
  EXPECT_EQ(state(first), "gone");
  EXPECT_EQ(state(second), "available");
  EXPECT_THAT(host().ids(), ElementsAre(second));
}

TEST_F(VolumesTest, MappingsThatNoVolumeCanHaveAreRefused) {
  const auto refused = [&](api::BlockDeviceMapping one) {
    api::RunInstancesRequest request = run_request(base);
    request.block_device_mappings = {std::move(one)};
    return refusal<api::RunInstances>(request);
  };
  api::BlockDeviceMapping sizeless = mapping("/dev/sdf", 1);
  sizeless.ebs->volume_size.reset();
  sizeless.ebs->volume_type = "gp3";
  EXPECT_EQ(refused(sizeless), "MissingParameter");
  EXPECT_EQ(refused(mapping("disk1", 1)), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("not a valid EBS device name"));
  EXPECT_EQ(refused(mapping("/dev/sda", 1)), "InvalidBlockDeviceMapping") << "the root device's place";
  api::BlockDeviceMapping root_copy = mapping("/dev/sdf", 8);
  api::DescribeImagesRequest images;
  images.image_ids = {base};
  root_copy.ebs->snapshot_id =
      call<api::DescribeImages>(images).images.at(0).block_device_mappings.at(0).ebs->snapshot_id;
  EXPECT_EQ(refused(root_copy), "UnsupportedOperation");
  EXPECT_THAT(last_message, HasSubstr("layers"));
  root_copy.ebs->snapshot_id = "snap-0123456789abcdef0";
  EXPECT_EQ(refused(root_copy), "InvalidSnapshot.NotFound");
  api::RunInstancesRequest many = run_request(base);
  for (char letter = 'b'; letter <= 'z'; ++letter)
    many.block_device_mappings.push_back(mapping(std::string("/dev/sd") + letter, 1));
  for (const char* two : {"/dev/xvdba", "/dev/xvdbb"}) many.block_device_mappings.push_back(mapping(two, 1));
  EXPECT_EQ(refusal<api::RunInstances>(many), "AttachmentLimitExceeded");
  EXPECT_THAT(host().ids(), IsEmpty());
  EXPECT_THAT(life->ec2.volumes(), IsEmpty());
}

TEST_F(VolumesTest, OneIsAttachedToARunningInstanceAndDetachedAgain) {
  const std::string id = run_one(base);
  const std::string made = create(3);
  EXPECT_EQ(state(made), "available");
  attach(made, id, "/dev/xvdf");
  EXPECT_EQ(state(made), "in-use");
  EXPECT_EQ(volume(made).attachments.at(0).delete_on_termination, false);
  EXPECT_EQ(host().machine_of(made), id);
  EXPECT_EQ(refusal<api::AttachVolume>(attach_request(made, id)), "VolumeInUse");
  EXPECT_EQ(refusal<api::AttachVolume>(attach_request(create(1), id, "/dev/sdf")), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("already in use"));
  EXPECT_EQ(delete_refusal(made), "VolumeInUse");

  api::DetachVolumeRequest wrong = detach_request(made);
  wrong.device = "/dev/sdz";
  EXPECT_EQ(refusal<api::DetachVolume>(wrong), "InvalidAttachment.NotFound");
  wrong.device.reset();
  wrong.force = true;
  EXPECT_EQ(refusal<api::DetachVolume>(wrong), "UnsupportedOperation");
  EXPECT_EQ(refusal<api::DetachVolume>(detach_request(volume_of(id, "/dev/xvda"))), "OperationNotPermitted");
  EXPECT_EQ(call<api::DetachVolume>(detach_request(made)).state, "detaching");
  ASSERT_TRUE(settles(made));
  EXPECT_EQ(state(made), "available");
  EXPECT_THAT(machines.spec(id).volumes, IsEmpty());
  EXPECT_EQ(refusal<api::DetachVolume>(detach_request(made)), "IncorrectState");
  EXPECT_EQ(delete_refusal(made), "");
  loop.run_for(Duration(1'000));
  EXPECT_EQ(state(made), "gone");
  EXPECT_EQ(delete_refusal(made), "InvalidVolume.NotFound");
}

TEST_F(VolumesTest, CreateAndAttachAreRefusedAsByAws) {
  api::CreateVolumeRequest request = volume_request(1);
  request.availability_zone = "us-east-1z";
  EXPECT_EQ(refusal<api::CreateVolume>(request), "InvalidZone.NotFound");
  request.availability_zone.reset();
  EXPECT_EQ(refusal<api::CreateVolume>(request), "MissingParameter");
  request = volume_request(1);
  request.size.reset();
  EXPECT_EQ(refusal<api::CreateVolume>(request), "MissingParameter");
  request.snapshot_id = "snap-0123456789abcdef0";
  EXPECT_EQ(refusal<api::CreateVolume>(request), "InvalidSnapshot.NotFound");
  request = volume_request(1);
  request.multi_attach_enabled = true;
  EXPECT_EQ(refusal<api::CreateVolume>(request), "UnsupportedOperation");
  request = volume_request(1);
  request.client_token = "once";
  const std::string made = call<api::CreateVolume>(request).volume_id.value();
  EXPECT_EQ(call<api::CreateVolume>(request).volume_id, made);
  request.size = 2;
  EXPECT_EQ(refusal<api::CreateVolume>(request), "IdempotentParameterMismatch");

  const std::string id = run_one(base);
  EXPECT_EQ(refusal<api::AttachVolume>(attach_request("vol-0123456789abcdef0", id)), "InvalidVolume.NotFound");
  EXPECT_EQ(refusal<api::AttachVolume>(attach_request(made, "i-0123456789abcdef0")), "InvalidInstanceID.NotFound");
  EXPECT_EQ(refusal<api::AttachVolume>(attach_request(made, id, "sda")), "InvalidParameterValue");
  request = volume_request(1);
  request.availability_zone = zone_of(id) == "us-east-1a" ? "us-east-1b" : "us-east-1a";
  const std::string far = call<api::CreateVolume>(request).volume_id.value();
  EXPECT_EQ(refusal<api::AttachVolume>(attach_request(far, id)), "IncorrectState") << "it is being made";
  ASSERT_TRUE(settles(far));
  EXPECT_EQ(refusal<api::AttachVolume>(attach_request(far, id)), "InvalidVolume.ZoneMismatch");
  const std::string starting = run(base).at(0);
  EXPECT_EQ(refusal<api::AttachVolume>(attach_request(made, starting)), "IncorrectState");
}

TEST_F(VolumesTest, OneThatItsGuestHasMountedIsBusyUntilItIsNot) {
  const std::string id = run_with({mapping("/dev/sdf", 1)});
  const std::string made = volume_of(id, "/dev/sdf");
  host().at(made).mounted = true;
  call<api::DetachVolume>(detach_request(made));
  loop.run_for(Duration(5'000));
  EXPECT_EQ(volume(made).attachments.at(0).state, "busy");
  EXPECT_THAT(said, ElementsAre(HasSubstr("is mounted"))) << "said once";
  EXPECT_EQ(state_of(id), "running") << "nothing else waits for it";
  die();
  start();
  host().at(made).mounted = false;
  ASSERT_TRUE(loop.run_while_not([&] { return state(made) == "available"; }, Duration(60'000)));
  EXPECT_EQ(host().machine_of(made), "");
}

TEST_F(VolumesTest, ASnapshotIsWhatTheVolumeWas) {
  const std::string id = run_with({mapping("/dev/sdf", 2)});
  const std::string made = volume_of(id, "/dev/sdf");
  host().at(made).content = "first";
  const std::string snap = snapshot_of(made);
  host().at(made).content = "second";
  EXPECT_EQ(host().at(snap).content, "first");
  api::CreateVolumeRequest request = volume_request(4);
  request.snapshot_id = snap;
  const std::string copy = call<api::CreateVolume>(request).volume_id.value();
  ASSERT_TRUE(settles(copy));
  EXPECT_EQ(host().at(copy).content, "first");
  EXPECT_EQ(volume(copy).snapshot_id, snap);
  EXPECT_EQ(volume(copy).size, 4);
  request.size = 1;
  EXPECT_EQ(refusal<api::CreateVolume>(request), "InvalidParameterValue") << "smaller than its snapshot";
  const std::string of_free = snapshot_of(copy);
  EXPECT_EQ(host().at(of_free).content, "first");

  api::DeleteSnapshotRequest gone;
  gone.snapshot_id = snap;
  call<api::DeleteSnapshot>(gone);
  gone.snapshot_id = of_free;
  call<api::DeleteSnapshot>(gone);
  loop.run_for(Duration(1'000));
  EXPECT_THAT(host().ids(), ::testing::UnorderedElementsAre(made, copy));
}

TEST_F(VolumesTest, AnImageOfAnInstanceHasItsVolumesToo) {
  const std::string id = run_with({mapping("/dev/sdf", 2), mapping("/dev/sdg", 3)});
  host().at(volume_of(id, "/dev/sdf")).content = "data";
  api::CreateImageRequest request;
  request.instance_id = id;
  request.name = "web-2";
  api::BlockDeviceMapping left_out;
  left_out.device_name = "/dev/sdg";
  left_out.no_device = "";
  request.block_device_mappings = {left_out, mapping("/dev/sdh", 4)};
  const std::string made = call<api::CreateImage>(request).image_id.value();
  ASSERT_TRUE(loop.run_while_not([&] { return life->ec2.images_settled({made}); }, Duration(60'000)));
  api::DescribeImagesRequest images;
  images.image_ids = {made};
  const api::Image image = call<api::DescribeImages>(images).images.at(0);
  ASSERT_EQ(image.state, "available");
  ASSERT_THAT(image.block_device_mappings, SizeIs(3));
  EXPECT_EQ(image.block_device_mappings[1].device_name, "/dev/sdf");
  EXPECT_EQ(image.block_device_mappings[2].device_name, "/dev/sdh");
  loop.run_for(Duration(60'000));
  EXPECT_EQ(machines.boots(id), 2) << "it was powered down once, for all of them";

  const std::string twin = run_with({}, made);
  EXPECT_EQ(host().at(volume_of(twin, "/dev/sdf")).content, "data");
  EXPECT_EQ(host().at(volume_of(twin, "/dev/sdh")).gib, 4u);
  left_out.device_name = "/dev/xvdf";
  const std::string without = run_with({left_out}, made);
  EXPECT_EQ(volume_of(without, "/dev/sdf"), "");
  const std::string snap = image.block_device_mappings[1].ebs->snapshot_id.value();
  api::DeleteSnapshotRequest gone;
  gone.snapshot_id = snap;
  EXPECT_EQ(refusal<api::DeleteSnapshot>(gone), "InvalidSnapshot.InUse");

  api::CopyImageRequest copy;
  copy.name = "web-3";
  copy.source_image_id = made;
  copy.source_region = testing::kRegion;
  images.image_ids = {call<api::CopyImage>(copy).image_id.value()};
  const api::Image copied = call<api::DescribeImages>(images).images.at(0);
  EXPECT_EQ(copied.state, "available") << "when the snapshots are copied";
  EXPECT_EQ(host().at(copied.block_device_mappings[1].ebs->snapshot_id.value()).content, "data");
}

TEST_F(VolumesTest, OneGrowsAndItsModificationIsDescribed) {
  const std::string id = run_with({mapping("/dev/sdf", 2)});
  const std::string made = volume_of(id, "/dev/sdf");
  api::DescribeVolumesModificationsRequest ask;
  ask.volume_ids = {made};
  EXPECT_EQ(refusal<api::DescribeVolumesModifications>(ask), "InvalidVolumeModification.NotFound");
  api::ModifyVolumeRequest request;
  request.volume_id = made;
  request.size = 5;
  request.volume_type = "gp3";
  EXPECT_EQ(call<api::ModifyVolume>(request).volume_modification->modification_state, "modifying");
  EXPECT_EQ(refusal<api::ModifyVolume>(request), "IncorrectModificationState");
  EXPECT_EQ(call<api::DescribeVolumesModifications>(ask).volumes_modifications.at(0).modification_state, "completed");
  EXPECT_EQ(host().at(made).gib, 5u);
  EXPECT_EQ(volume(made).iops, 3000);
  request.size = 4;
  EXPECT_EQ(refusal<api::ModifyVolume>(request), "InvalidParameterValue");
  request.volume_id = volume_of(id, "/dev/xvda");
  request.size = 100;
  EXPECT_EQ(refusal<api::ModifyVolume>(request), "UnsupportedOperation");
  api::DescribeVolumeStatusRequest status;
  status.volume_ids = {made};
  EXPECT_EQ(call<api::DescribeVolumeStatus>(status).volume_statuses.at(0).volume_status->status, "ok");
}

TEST_F(VolumesTest, AVolumeThatCannotBeMadeFailsItsLaunch) {
  host().fail(1);
  const std::string free = call<api::CreateVolume>(volume_request(1)).volume_id.value();
  loop.run_for(Duration(1'000));
  EXPECT_EQ(state(free), "error");
  host().fail(1);
  api::RunInstancesRequest request = run_request(base);
  request.block_device_mappings = {mapping("/dev/sdf", 1)};
  const std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  EXPECT_THAT(describe(id).state_reason->message.value(), HasSubstr("no space for volumes"));
  EXPECT_EQ(delete_refusal(free), "");
  loop.run_for(Duration(1'000));
  EXPECT_THAT(life->ec2.volumes(), IsEmpty());
  EXPECT_THAT(host().ids(), IsEmpty());
}

TEST_F(VolumesTest, WhatIsOfAStoppedInstanceIsThereWhenItStarts) {
  const std::string id = run_one(base);
  api::StopInstancesRequest stop;
  stop.instance_ids = {id};
  call<api::StopInstances>(stop);
  ASSERT_TRUE(wait_for(id, InstanceState::stopped));
  api::CreateVolumeRequest request = volume_request(1);
  request.availability_zone = zone_of(id);
  const std::string made = call<api::CreateVolume>(request).volume_id.value();
  ASSERT_TRUE(settles(made));
  attach(made, id);
  api::StartInstancesRequest start_it;
  start_it.instance_ids = {id};
  call<api::StartInstances>(start_it);
  ASSERT_TRUE(wait_for(id, InstanceState::running));
  EXPECT_EQ(host().machine_of(made), id);
}

// Kill -9 of the control plane at every moment of a volume's life: it comes to the same end, and nothing is left over.
TEST_F(VolumesTest, AKilledControlPlaneFinishesWhatWasUnderWay) {
  for (int moment = 0; moment <= 1'500; moment += 25) {
    api::RunInstancesRequest request = run_request(base);
    request.block_device_mappings = {mapping("/dev/sdf", 1)};
    const std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
    api::CreateVolumeRequest ask = volume_request(1);
    ask.availability_zone = zone_of(id);
    const std::string free = call<api::CreateVolume>(ask).volume_id.value();
    const auto killed_after = [&](int wait) {
      loop.run_for(Duration(wait));
      die();
      loop.run_for(Duration(100));
      start();
    };
    killed_after(moment);
    ASSERT_TRUE(wait_for(id, InstanceState::running)) << moment;
    ASSERT_TRUE(settles(free)) << moment;
    const std::string launched = volume_of(id, "/dev/sdf");
    EXPECT_EQ(volume(launched).attachments.at(0).state, "attached") << moment;
    call<api::AttachVolume>(attach_request(free, id, "/dev/sdg"));
    killed_after(moment % 150);
    ASSERT_TRUE(settles(free)) << moment;
    EXPECT_EQ(host().machine_of(free), id) << moment;
    host().at(free).content = "data";
    api::CreateSnapshotRequest snap;
    snap.volume_id = free;
    const std::string copy = call<api::CreateSnapshot>(snap).snapshot_id.value();
    killed_after(moment % 150);
    ASSERT_TRUE(loop.run_while_not([&] { return life->ec2.snapshots_settled({copy}); }, Duration(60'000)));
    EXPECT_EQ(host().at(copy).content, "data") << moment;
    call<api::DetachVolume>(detach_request(free));
    killed_after(moment % 150);
    ASSERT_TRUE(settles(free)) << moment;
    EXPECT_EQ(host().machine_of(free), "") << moment;
    EXPECT_EQ(delete_refusal(free), "") << moment;
    api::TerminateInstancesRequest end;
    end.instance_ids = {id};
    call<api::TerminateInstances>(end);
    killed_after(moment);
    ASSERT_TRUE(wait_for(id, InstanceState::terminated)) << moment;
    loop.run_for(Duration(1'000));
    api::DeleteSnapshotRequest gone;
    gone.snapshot_id = copy;
    call<api::DeleteSnapshot>(gone);
    killed_after(moment % 150);
    EXPECT_THAT(host().ids(), IsEmpty()) << moment;
    EXPECT_THAT(life->ec2.volumes(), IsEmpty()) << moment;
  }
}

}  // namespace
}  // namespace kiln::region::ec2
