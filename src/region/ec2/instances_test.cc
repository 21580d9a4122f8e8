// Instances: from RunInstances to gone, as a client sees it.
#include <gmock/gmock.h>

#include <set>

#include "base/encoding.h"
#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class InstancesTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    image = register_image();
  }
  api::InstanceStateChange terminate(const std::string& id) {
    api::TerminateInstancesRequest request;
    request.instance_ids = {id};
    return call<api::TerminateInstances>(request).terminating_instances.at(0);
  }
  api::InstanceStateChange stop(const std::string& id) {
    api::StopInstancesRequest request;
    request.instance_ids = {id};
    return call<api::StopInstances>(request).stopping_instances.at(0);
  }
  api::InstanceStateChange begin(const std::string& id) {
    api::StartInstancesRequest request;
    request.instance_ids = {id};
    return call<api::StartInstances>(request).starting_instances.at(0);
  }
  std::vector<std::string> described(const api::DescribeInstancesRequest& request) {
    std::vector<std::string> ids;
    for (const auto& reservation : call<api::DescribeInstances>(request).reservations) {
      for (const auto& one : reservation.instances) ids.push_back(one.instance_id.value());
    }
    return ids;
  }
  std::vector<std::string> filtered(const std::string& name, const std::vector<std::string>& values) {
    api::DescribeInstancesRequest request;
    request.filters = {{name, values}};
    return described(request);
  }
  std::string image;
};

TEST_F(InstancesTest, ALaunchIsPendingAtOnceAndRunsWhenItsInitDoes) {
  auto answer = call<api::RunInstances>(run_request(image));
  ASSERT_THAT(answer.instances, SizeIs(1));
  const api::Instance& fresh = answer.instances[0];
  EXPECT_EQ(fresh.state->name, "pending");
  EXPECT_EQ(fresh.state->code, 0);
  EXPECT_THAT(fresh.instance_id.value(), AllOf(StartsWith("i-"), SizeIs(19)));
  EXPECT_THAT(answer.reservation_id.value(), StartsWith("r-"));
  EXPECT_EQ(answer.owner_id, testing::kAccount);
  ASSERT_TRUE(wait_for(*fresh.instance_id, InstanceState::running));
  EXPECT_EQ(machines.state(*fresh.instance_id), machine::State::running);
  EXPECT_EQ(describe(*fresh.instance_id).state->code, 16);
}

TEST_F(InstancesTest, AnInstanceHasWhatTheCliPrints) {
  api::DescribeSubnetsRequest second_zone;
  second_zone.filters = {{"availability-zone", {"us-east-1b"}}};
  std::string subnet = call<api::DescribeSubnets>(second_zone).subnets.at(0).subnet_id.value();
  api::RunInstancesRequest request = run_request(image);
  request.subnet_id = subnet;
  std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  ASSERT_TRUE(wait_for(id, InstanceState::running));
  api::Instance one = describe(id);
  EXPECT_EQ(one.placement->availability_zone, "us-east-1b");
  EXPECT_EQ(one.subnet_id, subnet);
  EXPECT_THAT(one.private_ip_address.value(), StartsWith("172.31."));
  std::string dashed = one.private_ip_address.value();
  std::replace(dashed.begin(), dashed.end(), '.', '-');
  EXPECT_EQ(one.private_dns_name, "ip-" + dashed + ".ec2.internal");
  EXPECT_THAT(one.public_ip_address.value(), StartsWith("127.77."));
  EXPECT_EQ(one.image_id, image);
  EXPECT_EQ(one.instance_type, "t3.micro");
  EXPECT_EQ(one.launch_time, parse_iso8601("2026-11-24T03:00:00Z"));
  ASSERT_THAT(one.security_groups, SizeIs(1));
  EXPECT_EQ(one.security_groups[0].group_name, "default");
  ASSERT_THAT(one.network_interfaces, SizeIs(1));
  EXPECT_THAT(one.network_interfaces[0].network_interface_id.value(), StartsWith("eni-"));
  EXPECT_EQ(one.network_interfaces[0].mac_address, machines.spec(id).interface.mac);
  ASSERT_THAT(one.block_device_mappings, SizeIs(1));
  EXPECT_THAT(one.block_device_mappings[0].ebs->volume_id.value(), StartsWith("vol-"));
  const machine::Spec& spec = machines.spec(id);
  EXPECT_EQ(spec.limits.memory_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(spec.limits.cpus, 2.0);
  EXPECT_EQ(spec.hostname, "ip-" + dashed);
}

TEST_F(InstancesTest, AddressesAreNeverSharedAndNeverTheSubnetsReservedOnes) {
  std::set<std::string> seen;
  for (const std::string& id : run(image, 40)) {
    const Instance& one = life->ec2.instance(id);
    EXPECT_TRUE(seen.insert(one.private_address).second) << one.private_address;
    EXPECT_TRUE(seen.insert(one.public_address).second) << one.public_address;
    EXPECT_NE(one.private_address.substr(one.private_address.rfind('.')), ".255");
    for (const char* reserved : {"172.31.0.0", "172.31.0.1", "172.31.0.2", "172.31.0.3"}) {
      EXPECT_NE(one.private_address, reserved);
    }
  }
}

TEST_F(InstancesTest, PublicAddressesRunOutWithoutHarm) {
  std::vector<std::string> ids = run(image, 160);
  int without = 0;
  for (const std::string& id : ids) without += life->ec2.instance(id).public_address.empty() ? 1 : 0;
  EXPECT_EQ(without, 160 - 155);
}

TEST_F(InstancesTest, ASubnetThatIsFullRefusesWithoutATrace) {
  api::RunInstancesRequest request = run_request(image, 1000);
  api::CreateSecurityGroupRequest group;
  group.group_name = "apart";
  group.description = "its members do not reach each other";
  request.security_group_ids = {call<api::CreateSecurityGroup>(group).group_id.value()};
  for (int i = 0; i < 4; ++i) call<api::RunInstances>(request);
  request.client_token = "too many";
  EXPECT_EQ(refusal<api::RunInstances>(request), "InsufficientFreeAddressesInSubnet");
  EXPECT_THAT(life->ec2.instances(), SizeIs(4000));
  EXPECT_EQ(refusal<api::RunInstances>(request), "InsufficientFreeAddressesInSubnet") << "the token was not used up";
  request.min_count = 1;
  EXPECT_THAT(call<api::RunInstances>(request).instances, SizeIs(91)) << "4096 - 5 reserved - 4000";
}

TEST_F(InstancesTest, TheSameClientTokenFindsTheSameInstances) {
  api::RunInstancesRequest request = run_request(image, 2);
  request.client_token = "once";
  auto first = call<api::RunInstances>(request);
  auto second = call<api::RunInstances>(request);
  EXPECT_EQ(first.reservation_id, second.reservation_id);
  ASSERT_THAT(second.instances, SizeIs(2));
  EXPECT_EQ(first.instances[0].instance_id, second.instances[0].instance_id);
  EXPECT_THAT(life->ec2.instances(), SizeIs(2));
  request.instance_type = "t3.small";
  EXPECT_EQ(refusal<api::RunInstances>(request), "IdempotentParameterMismatch");
  EXPECT_THAT(life->ec2.instances(), SizeIs(2));
}

TEST_F(InstancesTest, TagsComeWithTheLaunch) {
  api::RunInstancesRequest request = run_request(image);
  request.tag_specifications = {{"instance", {{"Name", "web"}, {"stage", "test"}}}};
  std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  EXPECT_EQ(life->ec2.instance(id).tags, (Tags{{"Name", "web"}, {"stage", "test"}}));
  request.tag_specifications = {{"instance", {{"aws:autoscaling:groupName", "web"}}}};
  EXPECT_EQ(refusal<api::RunInstances>(request), "InvalidParameterValue");
  request.tag_specifications = {{"spot-instances-request", {{"a", "b"}}}};
  EXPECT_EQ(refusal<api::RunInstances>(request), "InvalidParameterValue");
}

TEST_F(InstancesTest, WrongLaunchesAreRefusedWithAwsCodes) {
  auto with = [&](auto&& change) {
    api::RunInstancesRequest request = run_request(image);
    change(request);
    return refusal<api::RunInstances>(request);
  };
  EXPECT_EQ(with([](auto& r) { r.image_id = "ami-0123456789abcdef0"; }), "InvalidAMIID.NotFound");
  EXPECT_EQ(with([](auto& r) { r.image_id = "debian"; }), "InvalidAMIID.Malformed");
  EXPECT_EQ(with([](auto& r) { r.image_id.reset(); }), "MissingParameter");
  EXPECT_EQ(with([](auto& r) { r.key_name = "nobody's"; }), "InvalidKeyPair.NotFound");
  EXPECT_EQ(with([](auto& r) { r.subnet_id = "subnet-0123456789abcdef0"; }), "InvalidSubnetID.NotFound");
  EXPECT_EQ(with([](auto& r) { r.security_group_ids = {"sg-0123456789abcdef0"}; }), "InvalidGroup.NotFound");
  EXPECT_EQ(with([](auto& r) { r.security_group_ids = {"sg-nonsense"}; }), "InvalidGroupId.Malformed");
  EXPECT_EQ(with([](auto& r) { r.min_count = 0; }), "InvalidParameterValue");
  EXPECT_EQ(with([](auto& r) { r.min_count = 3; }), "InvalidParameterValue") << "more than MaxCount";
  EXPECT_EQ(with([](auto& r) { r.user_data = "not base64!"; }), "InvalidParameterValue");
  EXPECT_EQ(with([](auto& r) { r.user_data = base64_encode(std::string(16385, 'x')); }), "InvalidParameterValue");
  EXPECT_EQ(with([](auto& r) { r.user_data = base64_encode(std::string(16384, 'x')); }), "");
  EXPECT_EQ(with([](auto& r) { r.instance_type = "p5.48xlarge"; }), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("p5.48xlarge"));
  EXPECT_EQ(with([](auto& r) { r.hibernation_options.emplace().configured = true; }), "UnsupportedOperation")
      << "never ignored";
  EXPECT_THAT(last_message, HasSubstr("HibernationOptions"));
  EXPECT_EQ(with([](auto& r) { r.placement.emplace().group_name = "close"; }), "UnsupportedOperation");
}

TEST_F(InstancesTest, ALaunchThatFailsEndsAsTerminatedAndSaysWhy) {
  policy = [](const machine::Spec& spec, host::Random& chance) {
    machine::Behaviour behaviour = machine::ordinary(spec, chance);
    behaviour.launch_failure = "no init in the image";
    return behaviour;
  };
  std::string id = run(image).at(0);
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  api::Instance one = describe(id);
  EXPECT_EQ(one.state_reason->code, "Server.InternalError");
  EXPECT_THAT(one.state_reason->message.value(), HasSubstr("no init in the image"));
}

TEST_F(InstancesTest, StopAndStartKeepTheDiskAndTheAddress) {
  std::string id = run_one(image);
  std::string address = life->ec2.instance(id).private_address;
  auto change = stop(id);
  EXPECT_EQ(change.previous_state->name, "running");
  EXPECT_EQ(change.current_state->name, "stopping");
  ASSERT_TRUE(wait_for(id, InstanceState::stopped));
  EXPECT_EQ(machines.state(id), machine::State::stopped);
  api::Instance one = describe(id);
  EXPECT_EQ(one.state_reason->code, "Client.UserInitiatedShutdown");
  EXPECT_THAT(one.state_transition_reason.value(), StartsWith("User initiated (2026-11-24 03:00:"));
  EXPECT_EQ(one.private_ip_address, address);
  EXPECT_EQ(begin(id).current_state->name, "pending");
  ASSERT_TRUE(wait_for(id, InstanceState::running));
  EXPECT_EQ(describe(id).private_ip_address, address);
  EXPECT_EQ(machines.launches(), 1u) << "a start is no launch";
  EXPECT_FALSE(describe(id).state_reason);
}

TEST_F(InstancesTest, ChangesFromAWrongStateAreRefused) {
  std::string id = run(image).at(0);
  api::StopInstancesRequest stopping;
  stopping.instance_ids = {id};
  EXPECT_EQ(refusal<api::StopInstances>(stopping), "IncorrectInstanceState") << "it is pending";
  api::RebootInstancesRequest rebooting;
  rebooting.instance_ids = {id};
  EXPECT_EQ(refusal<api::RebootInstances>(rebooting), "IncorrectInstanceState");
  terminate(id);
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  EXPECT_EQ(refusal<api::StopInstances>(stopping), "IncorrectInstanceState");
  api::StartInstancesRequest starting;
  starting.instance_ids = {id};
  EXPECT_EQ(refusal<api::StartInstances>(starting), "IncorrectInstanceState");
  EXPECT_EQ(terminate(id).current_state->name, "terminated") << "ending what has ended is fine";
}

TEST_F(InstancesTest, UnknownIdsStopTheWholeCall) {
  std::string id = run_one(image);
  api::TerminateInstancesRequest request;
  request.instance_ids = {id, "i-0123456789abcdef0"};
  EXPECT_EQ(refusal<api::TerminateInstances>(request), "InvalidInstanceID.NotFound");
  EXPECT_EQ(state_of(id), "running");
  request.instance_ids = {"web-1"};
  EXPECT_EQ(refusal<api::TerminateInstances>(request), "InvalidInstanceID.Malformed");
}

TEST_F(InstancesTest, ATerminatedInstanceIsShownForAnHourWithoutNetworkAndDisk) {
  std::string id = run_one(image);
  EXPECT_EQ(terminate(id).current_state->name, "shutting-down");
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  EXPECT_EQ(machines.state(id), machine::State::gone);
  loop.run_for(Duration(1));
  EXPECT_THAT(network.ports(), IsEmpty());
  api::Instance one = describe(id);
  EXPECT_FALSE(one.private_ip_address);
  EXPECT_THAT(one.network_interfaces, IsEmpty());
  EXPECT_EQ(one.state_reason->code, "Client.UserInitiatedShutdown");
  loop.run_for(Duration(3'599'000));
  EXPECT_EQ(state_of(id), "terminated");
  loop.run_for(Duration(2'000));
  api::DescribeInstancesRequest request;
  request.instance_ids = {id};
  EXPECT_EQ(refusal<api::DescribeInstances>(request), "InvalidInstanceID.NotFound");
}

TEST_F(InstancesTest, ATerminateDuringTheLaunchIsNotLost) {
  std::string id = run(image).at(0);
  loop.run_for(Duration(50));
  EXPECT_EQ(terminate(id).previous_state->name, "pending");
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  loop.run_for(Duration(10'000));
  EXPECT_THAT(machines.ids(), IsEmpty());
}

TEST_F(InstancesTest, ATerminateDuringAStartIsNotLost) {
  std::string id = run_one(image);
  stop(id);
  ASSERT_TRUE(wait_for(id, InstanceState::stopped));
  begin(id);
  loop.run_for(Duration(10));
  terminate(id);
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  EXPECT_THAT(machines.ids(), IsEmpty());
}

TEST_F(InstancesTest, AGuestThatPowersItselfOffDoesWhatItsShutdownBehaviourSays) {
  policy = [](const machine::Spec& spec, host::Random& chance) {
    machine::Behaviour behaviour = machine::ordinary(spec, chance);
    behaviour.dies = Duration(5'000);
    return behaviour;
  };
  std::string stops = run(image).at(0);
  api::RunInstancesRequest request = run_request(image);
  request.instance_initiated_shutdown_behavior = "terminate";
  std::string ends = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  ASSERT_TRUE(wait_for(stops, InstanceState::stopped));
  EXPECT_EQ(describe(stops).state_reason->code, "Client.InstanceInitiatedShutdown");
  ASSERT_TRUE(wait_for(ends, InstanceState::terminated));
  EXPECT_EQ(describe(ends).state_reason->code, "Client.InstanceInitiatedShutdown");
  EXPECT_THAT(machines.ids(), ElementsAre(stops));
}

TEST_F(InstancesTest, AMachineThatIsKilledIsAStoppedInstanceWithAServersReason) {
  std::string id = run_one(image);
  machines.kill(id, "killed by signal 9");
  ASSERT_TRUE(wait_for(id, InstanceState::stopped));
  EXPECT_EQ(describe(id).state_reason->code, "Server.InternalError");
  EXPECT_THAT(describe(id).state_reason->message.value(), HasSubstr("killed by signal 9"));
}

TEST_F(InstancesTest, ARebootComesBackWithTheSameMachine) {
  std::string id = run_one(image);
  api::RebootInstancesRequest request;
  request.instance_ids = {id};
  call<api::RebootInstances>(request);
  loop.run_for(Duration(10'000));
  EXPECT_EQ(state_of(id), "running");
  EXPECT_EQ(machines.state(id), machine::State::running);
  EXPECT_EQ(machines.launches(), 1u);
  EXPECT_EQ(machines.boots(id), 2);
}

TEST_F(InstancesTest, AnEndThatFailsIsTriedAgainAndUntilThenTheInstanceIsNotGone) {
  policy = [](const machine::Spec& spec, host::Random& chance) {
    machine::Behaviour behaviour = machine::ordinary(spec, chance);
    behaviour.failing_ends = 3;
    return behaviour;
  };
  std::string id = run_one(image);
  std::string address = describe(id).private_ip_address.value();
  terminate(id);
  loop.run_for(Duration(500));
  EXPECT_EQ(life->ec2.instance(id).state, InstanceState::shutting_down);
  EXPECT_EQ(call<api::DescribeInstances>({}).reservations.at(0).instances.at(0).private_ip_address, address)
      << "its address is not given away while it has it";
  EXPECT_THAT(network.ports(), SizeIs(1));
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  loop.run_for(Duration(1));
  EXPECT_THAT(machines.ids(), IsEmpty());
  EXPECT_THAT(network.ports(), IsEmpty());
  EXPECT_THAT(said, SizeIs(3));
  EXPECT_THAT(said, Contains(HasSubstr("shutting-down of " + id)));
}

TEST_F(InstancesTest, AStopThatFailsIsTriedAgain) {
  policy = [](const machine::Spec& spec, host::Random& chance) {
    machine::Behaviour behaviour = machine::ordinary(spec, chance);
    behaviour.failing_ends = 2;
    return behaviour;
  };
  std::string id = run_one(image);
  stop(id);
  loop.run_for(Duration(300));
  EXPECT_EQ(life->ec2.instance(id).state, InstanceState::stopping);
  ASSERT_TRUE(wait_for(id, InstanceState::stopped));
  EXPECT_EQ(machines.state(id), machine::State::stopped);
  EXPECT_THAT(said, SizeIs(2));
}

TEST_F(InstancesTest, RulesThatCannotBeSetAreTriedAgainAndSaidEachTime) {
  network.fail_applies(3);
  std::string id = run_one(image);
  ASSERT_TRUE(loop.run_while_not([&] { return network.ports().size() == 1; }, Duration(60'000)));
  EXPECT_EQ(network.applies(), 5) << "one when the region opened, three that failed, and the one that is in force";
  EXPECT_THAT(said, ElementsAre(HasSubstr("trying again in 200ms"), HasSubstr("trying again in 400ms"),
                                HasSubstr("trying again in 800ms")));
  said.clear();
  network.fail_applies(1);
  terminate(id);
  ASSERT_TRUE(loop.run_while_not([&] { return network.ports().empty(); }, Duration(60'000)));
  EXPECT_THAT(said, ElementsAre(HasSubstr("trying again in 200ms"))) << "a success begins the pauses anew";
}

TEST_F(InstancesTest, APublicPortThatTheHostHoldsIsSaidOnce) {
  network.set_problems({"127.77.0.100:22: Address already in use"});
  run_one(image);
  run_one(image);
  EXPECT_THAT(said, ElementsAre(HasSubstr("127.77.0.100:22: Address already in use")));
  network.set_problems({});
  run_one(image);
  network.set_problems({"127.77.0.100:22: Address already in use"});
  run_one(image);
  EXPECT_THAT(said, SizeIs(2)) << "it was gone meanwhile";
}

TEST_F(InstancesTest, ListenersHearOfEveryChangeOfState) {
  std::vector<std::string> heard;
  life->ec2.on_instance_change([&](const Instance& one, InstanceState before) {
    heard.push_back(std::string(to_string(before)) + " > " + std::string(to_string(one.state)));
  });
  std::string id = run_one(image);
  terminate(id);
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  EXPECT_THAT(heard, ElementsAre("pending > running", "running > shutting-down", "shutting-down > terminated"));
}

TEST_F(InstancesTest, FiltersNarrowAndTakeWildcards) {
  api::RunInstancesRequest request = run_request(image);
  request.tag_specifications = {{"instance", {{"Name", "web-1"}}}};
  std::string web = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  request.tag_specifications = {{"instance", {{"Name", "db"}}}};
  request.instance_type = "t3.small";
  std::string db = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  ASSERT_TRUE(wait_for(db, InstanceState::running));
  EXPECT_THAT(filtered("tag:Name", {"web-*"}), ElementsAre(web));
  EXPECT_THAT(filtered("tag:Name", {"web-?", "db"}), SizeIs(2));
  EXPECT_THAT(filtered("tag:Name", {"WEB-1"}), IsEmpty()) << "values are case-sensitive";
  EXPECT_THAT(filtered("tag-key", {"Name"}), SizeIs(2));
  EXPECT_THAT(filtered("instance-type", {"t3.small"}), ElementsAre(db));
  EXPECT_THAT(filtered("private-ip-address", {life->ec2.instance(web).private_address}), ElementsAre(web));
  EXPECT_THAT(filtered("instance-state-name", {"stopped"}), IsEmpty());
  EXPECT_THAT(filtered("subnet-id", {life->ec2.vpcs().default_subnet("us-east-1a")->id}), SizeIs(2));
  api::DescribeInstancesRequest wrong;
  wrong.filters = {{"colour", {"red"}}};
  EXPECT_EQ(refusal<api::DescribeInstances>(wrong), "InvalidParameterValue");
  EXPECT_EQ(last_message, "The filter 'colour' is invalid");
}

TEST_F(InstancesTest, AWrongFilterIsRefusedEvenWhenThereIsNothingToFilter) {
  api::DescribeInstancesRequest wrong;
  wrong.filters = {{"colour", {"red"}}};
  EXPECT_EQ(refusal<api::DescribeInstances>(wrong), "InvalidParameterValue");
}

TEST_F(InstancesTest, PagesMissNothingAndRepeatNothing) {
  std::vector<std::string> all = run(image, 12);
  std::set<std::string> seen;
  api::DescribeInstancesRequest request;
  request.max_results = 5;
  std::vector<std::size_t> sizes;
  do {
    auto answer = call<api::DescribeInstances>(request);
    std::size_t here = 0;
    for (const auto& reservation : answer.reservations) {
      for (const auto& one : reservation.instances) {
        EXPECT_TRUE(seen.insert(one.instance_id.value()).second);
        ++here;
      }
    }
    sizes.push_back(here);
    request.next_token = answer.next_token;
  } while (request.next_token);
  EXPECT_THAT(sizes, ElementsAre(5, 5, 2));
  EXPECT_EQ(seen, std::set<std::string>(all.begin(), all.end()));
  request.max_results = 4;
  EXPECT_EQ(refusal<api::DescribeInstances>(request), "InvalidParameterValue");
  request.max_results = 5;
  request.next_token = "made up";
  EXPECT_NE(refusal<api::DescribeInstances>(request), "");
  request.next_token.reset();
  request.instance_ids = {all[0]};
  EXPECT_EQ(refusal<api::DescribeInstances>(request), "InvalidParameterCombination");
}

TEST_F(InstancesTest, StatusListsWhatRunsUnlessAllIsAsked) {
  std::string running = run_one(image);
  std::string stopped = run_one(image);
  stop(stopped);
  ASSERT_TRUE(wait_for(stopped, InstanceState::stopped));
  auto statuses = call<api::DescribeInstanceStatus>({}).instance_statuses;
  ASSERT_THAT(statuses, SizeIs(1));
  EXPECT_EQ(statuses[0].instance_id, running);
  EXPECT_EQ(statuses[0].instance_status->status, "ok");
  EXPECT_EQ(statuses[0].system_status->status, "ok");
  api::DescribeInstanceStatusRequest all;
  all.include_all_instances = true;
  EXPECT_THAT(call<api::DescribeInstanceStatus>(all).instance_statuses, SizeIs(2));
}

TEST_F(InstancesTest, TheConsoleIsGivenInBase64) {
  std::string id = run_one(image);
  api::GetConsoleOutputRequest request;
  request.instance_id = id;
  auto answer = call<api::GetConsoleOutput>(request);
  EXPECT_EQ(answer.instance_id, id);
  EXPECT_THAT(base64_decode(answer.output.value()), HasSubstr("init is running"));
}

TEST_F(InstancesTest, UserDataIsKeptAsItCame) {
  api::RunInstancesRequest request = run_request(image);
  request.user_data = base64_encode("#!/bin/sh\necho hello\n");
  std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
  api::DescribeInstanceAttributeRequest ask;
  ask.instance_id = id;
  ask.attribute = "userData";
  EXPECT_EQ(base64_decode(call<api::DescribeInstanceAttribute>(ask).user_data->value.value()),
            "#!/bin/sh\necho hello\n");
}

}  // namespace
}  // namespace kiln::region::ec2
