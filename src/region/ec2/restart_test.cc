// Restart: the control plane is killed at any moment; machines go on, and the next one goes on from what was committed.
#include <gmock/gmock.h>

#include <stdexcept>

#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RestartTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    image = register_image();
  }
  void restart(Duration later = Duration(0)) {
    die();
    loop.run_for(later);
    start();
  }
  std::string image;
};

TEST_F(RestartTest, FindsItsMachinesAgain) {
  std::string id = run_one(image);
  api::Instance before = describe(id);
  restart(Duration(60'000));
  api::Instance after = describe(id);
  EXPECT_EQ(after.state->name, "running");
  EXPECT_EQ(after.private_ip_address, before.private_ip_address);
  EXPECT_EQ(after.public_ip_address, before.public_ip_address);
  EXPECT_EQ(after.launch_time, before.launch_time);
  loop.run_for(Duration(10'000));
  EXPECT_EQ(machines.launches(), 1u);
  ASSERT_THAT(network.ports(), SizeIs(1));
  std::string next = run_one(image);
  EXPECT_NE(describe(next).private_ip_address, before.private_ip_address) << "the address is still taken";
}

TEST_F(RestartTest, EverythingElseIsThereToo) {
  api::CreateSecurityGroupRequest group;
  group.group_name = "web";
  group.description = "for the web";
  std::string group_id = call<api::CreateSecurityGroup>(group).group_id.value();
  api::AuthorizeSecurityGroupIngressRequest rule;
  rule.group_id = group_id;
  rule.ip_protocol = "tcp";
  rule.from_port = 80;
  rule.to_port = 80;
  rule.cidr_ip = "0.0.0.0/0";
  call<api::AuthorizeSecurityGroupIngress>(rule);
  api::CreateLaunchTemplateRequest launch_template;
  launch_template.launch_template_name = "web";
  launch_template.launch_template_data.emplace().image_id = image;
  launch_template.launch_template_data->security_group_ids = {group_id};
  launch_template.tag_specifications = {{"launch-template", {{"app", "web"}}}};
  auto made = call<api::CreateLaunchTemplate>(launch_template).launch_template;
  api::ImportKeyPairRequest key;
  key.key_name = "mine";
  key.public_key_material = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJb0uQ0kXr5n1QmXrM1e2P6v0m1n8y5iS7dO1hXo0v2T me@here";
  call<api::ImportKeyPair>(key);
  auto groups = life->ec2.security_groups().at(group_id).rules;
  restart();
  EXPECT_EQ(life->ec2.security_groups().at(group_id).rules.size(), groups.size());
  EXPECT_TRUE(life->ec2.security_groups().at(group_id).rules.back().same_traffic(groups.back()));
  const LaunchTemplate& kept = life->ec2.launch_template(*made->launch_template_id, "");
  EXPECT_EQ(kept.name, "web");
  EXPECT_EQ(kept.tags, (Tags{{"app", "web"}}));
  EXPECT_EQ(kept.versions.at(1).data.security_group_ids, (std::vector<std::string>{group_id}));
  EXPECT_EQ(life->ec2.key_pairs().at("mine").public_key.substr(0, 11), "ssh-ed25519");
  EXPECT_EQ(life->ec2.image(image).name, "web-1");
}

TEST_F(RestartTest, AMachineThatEndedMeanwhileIsNoticed) {
  std::string id = run_one(image);
  die();
  machines.kill(id, "killed by signal 9");
  start();
  ASSERT_TRUE(wait_for(id, InstanceState::stopped));
}

TEST_F(RestartTest, AfterAStopOfTheRegionInstancesAreStoppedForTheirMachinesAreGone) {
  std::string runs = run_one(image);
  std::string ends = run_one(image);
  std::string stops = run_one(image);
  std::string starts = run(image).at(0);
  api::TerminateInstancesRequest end;
  end.instance_ids = {ends};
  call<api::TerminateInstances>(end);
  api::StopInstancesRequest stop;
  stop.instance_ids = {stops};
  call<api::StopInstances>(stop);
  die();
  machines.remove_all();
  start();
  ASSERT_TRUE(wait_for(runs, InstanceState::stopped));
  EXPECT_EQ(describe(runs).state_reason->code, "Server.InternalError");
  EXPECT_THAT(describe(runs).state_reason->message.value(), HasSubstr("nothing is left of it"));
  ASSERT_TRUE(wait_for(ends, InstanceState::terminated));
  ASSERT_TRUE(wait_for(stops, InstanceState::stopped));
  ASSERT_TRUE(wait_for(starts, InstanceState::running)) << "a launch under way begins anew";
  EXPECT_THAT(machines.ids(), ElementsAre(starts));
  api::GetConsoleOutputRequest console;
  console.instance_id = runs;
  EXPECT_EQ(call<api::GetConsoleOutput>(console).output.value_or(""), "");
  end.instance_ids = {runs, stops};
  call<api::TerminateInstances>(end);
  EXPECT_TRUE(wait_for(runs, InstanceState::terminated));
  EXPECT_TRUE(wait_for(stops, InstanceState::terminated));
}

TEST_F(RestartTest, AnAcknowledgedRebootIsDoneWheneverTheControlPlaneDies) {
  for (int at = 0; at <= 1200; at += 50) {
    std::string id = run_one(image);
    api::RebootInstancesRequest request;
    request.instance_ids = {id};
    call<api::RebootInstances>(request);
    loop.run_for(Duration(at));
    restart(Duration(at % 300));
    loop.run_for(Duration(10'000));
    EXPECT_EQ(state_of(id), "running") << "killed after " << at << " ms";
    EXPECT_GE(machines.boots(id), 2) << "killed after " << at << " ms";
    int boots = machines.boots(id);
    restart();
    loop.run_for(Duration(10'000));
    EXPECT_EQ(machines.boots(id), boots) << "and not for ever";
  }
}

TEST_F(RestartTest, ALaunchUnderWayBeginsAnewAndRuns) {
  std::string id = run(image).at(0);
  loop.run_for(Duration(20));
  restart();
  ASSERT_TRUE(wait_for(id, InstanceState::running));
  EXPECT_THAT(machines.ids(), ElementsAre(id));
}

TEST_F(RestartTest, ALaunchThatEndedUnseenIsKept) {
  std::string id = run(image).at(0);
  loop.run_for(Duration(20));
  restart(Duration(5'000));
  ASSERT_TRUE(wait_for(id, InstanceState::running));
  EXPECT_EQ(machines.launches(), 1u);
}

TEST_F(RestartTest, AClientTokenIsKnownStill) {
  api::RunInstancesRequest request = run_request(image, 2);
  request.client_token = "once";
  auto first = call<api::RunInstances>(request);
  restart();
  auto second = call<api::RunInstances>(request);
  EXPECT_EQ(first.reservation_id, second.reservation_id);
  EXPECT_THAT(life->ec2.instances(), SizeIs(2));
  request.instance_type = "t3.small";
  EXPECT_EQ(refusal<api::RunInstances>(request), "IdempotentParameterMismatch");
}

TEST_F(RestartTest, WhatWasAskedGoesOnAtEveryMomentOfALife) {
  // A life: launch, stop, start, terminate. The control plane dies `at` ms into each of them.
  for (int at = 0; at <= 1000; at += 50) {
    std::string id = run(image).at(0);
    loop.run_for(Duration(at));
    restart(Duration(at % 300));
    ASSERT_TRUE(wait_for(id, InstanceState::running)) << "launch, killed after " << at << " ms";
    api::StopInstancesRequest stop;
    stop.instance_ids = {id};
    call<api::StopInstances>(stop);
    loop.run_for(Duration(at));
    restart(Duration(at % 300));
    ASSERT_TRUE(wait_for(id, InstanceState::stopped)) << "stop, killed after " << at << " ms";
    EXPECT_EQ(machines.state(id), machine::State::stopped);
    api::StartInstancesRequest begin;
    begin.instance_ids = {id};
    call<api::StartInstances>(begin);
    loop.run_for(Duration(at));
    restart(Duration(at % 300));
    ASSERT_TRUE(wait_for(id, InstanceState::running)) << "start, killed after " << at << " ms";
    api::TerminateInstancesRequest end;
    end.instance_ids = {id};
    call<api::TerminateInstances>(end);
    loop.run_for(Duration(at));
    restart(Duration(at % 300));
    ASSERT_TRUE(wait_for(id, InstanceState::terminated)) << "terminate, killed after " << at << " ms";
    loop.run_for(Duration(1));
    EXPECT_THAT(machines.ids(), IsEmpty());
    EXPECT_THAT(network.ports(), IsEmpty());
  }
}

TEST_F(RestartTest, ADeathAtAnyCommitLeavesAWholeCallOrNone) {
  for (int last = 0; last < 12; ++last) {
    int commits = 0;
    journal.before_commit([&] {
      if (commits++ == last) throw std::runtime_error("killed");
    });
    api::RunInstancesRequest request = run_request(image, 3);
    request.client_token = "token " + std::to_string(last);
    bool dead = false;
    try {
      call<api::RunInstances>(request);
      loop.run_for(Duration(5'000));
    } catch (const std::runtime_error&) {
      dead = true;
    }
    journal.before_commit({});
    if (dead) restart();
    std::size_t here = 0;
    for (const auto& [id, one] : life->ec2.instances()) here += one.client_token == *request.client_token ? 1u : 0u;
    EXPECT_TRUE(here == 0 || here == 3) << here;
    EXPECT_THAT(call<api::RunInstances>(request).instances, SizeIs(3)) << "the client asks again, and gets the same";
    loop.run_for(Duration(5'000));
    for (const auto& [id, one] : life->ec2.instances()) EXPECT_EQ(one.state, InstanceState::running) << id;
  }
}

TEST_F(RestartTest, TerminatedInstancesAreForgottenOnTime) {
  std::string id = run_one(image);
  api::TerminateInstancesRequest end;
  end.instance_ids = {id};
  call<api::TerminateInstances>(end);
  ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  restart(Duration(3'000'000));
  EXPECT_EQ(state_of(id), "terminated");
  loop.run_for(Duration(700'000));
  EXPECT_THAT(life->ec2.instances(), IsEmpty());
  restart();
  EXPECT_THAT(life->ec2.instances(), IsEmpty()) << "the journal has forgotten it too";
}

}  // namespace
}  // namespace kiln::region::ec2
