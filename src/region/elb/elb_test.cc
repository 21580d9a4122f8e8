// Elb: tests on virtual time; one rule of AWS each.
#include "region/elb/elb.h"

#include <gtest/gtest.h>

#include "region/elb/testing/simulated_world.h"
#include "region/testing/refusals.h"

namespace kiln::region::elb {
namespace {

using region::testing::code_of;
using testing::SimulatedWorld;

constexpr Duration kSecond{1'000};

// A load balancer with one listener to one group, and instances 1..count in it, all healthy.
struct Serving : SimulatedWorld {
  explicit Serving(int count, int delay_seconds = 10) {
    front = load_balancer();
    web = group();
    elb->set_attributes(web, {{"deregistration_delay.timeout_seconds", std::to_string(delay_seconds)}});
    rule = listener(front, {{web, 1}});
    for (int i = 1; i <= count; ++i) elb->register_targets(web, {{instance(i), 0}});
    run(kSecond);
  }
  LoadBalancerArn front;
  TargetGroupArn web;
  ListenerArn rule;
};

TEST(TargetHealthOfElb, ANewTargetIsInitialThenHealthyAfterOneProbe) {
  SimulatedWorld world;
  TargetGroupArn web = world.group();
  world.listener(world.load_balancer(), {{web, 1}});
  std::string id = world.instance(1);
  world.elb->register_targets(web, {{id, 0}});
  EXPECT_EQ(world.state(web, id), "initial/Elb.RegistrationInProgress");
  world.run(Duration(0));
  EXPECT_EQ(world.state(web, id), "initial/Elb.InitialHealthChecking");
  world.run(kSecond);
  EXPECT_EQ(world.state(web, id), "healthy");
  EXPECT_EQ(world.requests(10), (std::map<int, int>{{1, 10}}));
  EXPECT_FALSE(world.changed.empty());
}

TEST(TargetHealthOfElb, AGroupThatNoListenerNamesIsUnusedAndNotChecked) {
  SimulatedWorld world;
  TargetGroupArn web = world.group();
  std::string id = world.instance(1);
  world.elb->register_targets(web, {{id, 0}});
  world.run(60 * kSecond);
  EXPECT_EQ(world.state(web, id), "unused/Target.NotInUse");
  EXPECT_EQ(world.probes.size(), 0U);
}

TEST(TargetHealthOfElb, AGroupAtWeightZeroIsCheckedAndGetsNoTraffic) {
  SimulatedWorld world;
  TargetGroupArn blue = world.group("blue");
  TargetGroupArn green = world.group("green");
  ListenerArn rule = world.listener(world.load_balancer(), {{blue, 1}, {green, 0}});
  world.elb->register_targets(blue, {{world.instance(1), 0}});
  world.elb->register_targets(green, {{world.instance(2), 0}});
  world.run(kSecond);
  EXPECT_EQ(world.state(green, "i-2"), "healthy");
  EXPECT_EQ(world.requests(50), (std::map<int, int>{{1, 50}}));
  world.elb->modify_listener(rule, std::nullopt, Forward{{{blue, 1}, {green, 3}}, false, 0});
  world.run(kSecond);
  auto shared = world.requests(4000);
  EXPECT_NEAR(shared[2], 3000, 150);
  world.elb->modify_listener(rule, std::nullopt, Forward{{{green, 1}}, false, 0});
  world.run(kSecond);
  EXPECT_EQ(world.state(blue, "i-1"), "unused/Target.NotInUse");
}

TEST(TargetHealthOfElb, ATargetOutsideTheLoadBalancersZonesIsUnused) {
  Serving world(1);
  world.ec2.instances["i-9"] = {"vpc-1", "us-east-1c", "172.31.0.9", InstancePhase::running};
  world.elb->register_targets(world.web, {{"i-9", 0}});
  world.run(kSecond);
  EXPECT_EQ(world.state(world.web, "i-9"), "unused/Target.NotInUse");
  EXPECT_EQ(world.requests(20), (std::map<int, int>{{1, 20}}));
}

TEST(TargetHealthOfElb, AnUnhealthyTargetGetsNoRequestsAndSaysWhichCodeItAnswered) {
  Serving world(2);
  world.http["172.31.0.1"] = 500;
  world.run(12 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "unhealthy/Target.ResponseCodeMismatch");
  EXPECT_EQ(world.elb->target_health(world.web, {"i-1", 80}).description,
            "Health checks failed with these codes: [500]");
  EXPECT_EQ(world.requests(50), (std::map<int, int>{{2, 50}}));
  world.http["172.31.0.1"] = 200;
  world.run(15 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "unhealthy/Target.ResponseCodeMismatch") << "five successes are needed";
  world.run(15 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "healthy");
}

TEST(TargetHealthOfElb, FailsOpenWhenAllAreUnhealthyAndNotWhileTheyAreInitial) {
  SimulatedWorld world;
  TargetGroupArn web = world.group();
  world.listener(world.load_balancer(), {{web, 1}});
  world.elb->register_targets(web, {{world.instance(1, 500), 0}, {world.instance(2, 0), 0}});
  world.run(kSecond);
  EXPECT_EQ(world.requests(10), (std::map<int, int>{{0, 10}})) << "both are initial";
  world.run(20 * kSecond);
  EXPECT_EQ(world.state(web, "i-1"), "unhealthy/Target.ResponseCodeMismatch");
  EXPECT_EQ(world.state(web, "i-2"), "unhealthy/Target.FailedHealthChecks");
  auto served = world.requests(200);
  EXPECT_EQ(served[0], 0);
  EXPECT_GT(served[1], 50);
  EXPECT_GT(served[2], 50);
}

TEST(TargetHealthOfElb, AStoppedInstanceIsUnusedAndBeginsAnewWhenItRuns) {
  Serving world(2);
  world.phase("i-1", InstancePhase::stopped);
  EXPECT_EQ(world.state(world.web, "i-1"), "unused/Target.InvalidState");
  world.run(kSecond);
  EXPECT_EQ(world.requests(20), (std::map<int, int>{{2, 20}}));
  world.http["172.31.0.1"] = 0;
  world.phase("i-1", InstancePhase::running);
  world.run(kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "initial/Elb.InitialHealthChecking");
  world.http["172.31.0.1"] = 200;
  world.run(kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "healthy");
}

TEST(TargetHealthOfElb, ATerminatedInstanceIsDeregistered) {
  Serving world(2);
  world.phase("i-1", InstancePhase::terminated);
  EXPECT_FALSE(world.elb->has_target(world.web, "i-1"));
  EXPECT_EQ(world.state(world.web, "i-1"), "unused/Target.NotRegistered");
}

TEST(Draining, ReportsDrainingUntilTheDelayEndsButGetsNoRequestsAtOnce) {
  Serving world(2);
  world.elb->deregister_targets(world.web, {{"i-1", 0}});
  EXPECT_EQ(world.state(world.web, "i-1"), "draining/Target.DeregistrationInProgress");
  world.run(kSecond);
  EXPECT_EQ(world.requests(50), (std::map<int, int>{{2, 50}}));
  world.run(8 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "draining/Target.DeregistrationInProgress");
  EXPECT_TRUE(world.elb->has_target(world.web, "i-1"));
  world.changed.clear();
  world.run(2 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "unused/Target.NotRegistered");
  EXPECT_FALSE(world.elb->has_target(world.web, "i-1"));
  EXPECT_EQ(world.changed, std::vector<std::string>{"i-1"});
}

TEST(Draining, TheTimerBeginsWhenTheDataPlaneHasConfirmed) {
  Serving world(2);
  world.balancer.fail_next(2);
  world.elb->deregister_targets(world.web, {{"i-1", 0}});
  world.run(11 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "draining/Target.DeregistrationInProgress") << "told 3 s after it was asked";
  world.run(4 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "unused/Target.NotRegistered");
}

TEST(Draining, RegisteringAgainCancelsIt) {
  Serving world(2);
  world.elb->deregister_targets(world.web, {{"i-1", 0}});
  world.run(5 * kSecond);
  world.elb->register_targets(world.web, {{"i-1", 0}});
  EXPECT_EQ(world.state(world.web, "i-1"), "initial/Elb.RegistrationInProgress");
  world.run(20 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "healthy");
}

TEST(Draining, OfAnUnusedGroupAndOfAnUnknownTargetIsOverAtOnce) {
  SimulatedWorld world;
  TargetGroupArn web = world.group();
  world.elb->register_targets(web, {{world.instance(1), 0}});
  world.elb->deregister_targets(web, {{"i-1", 0}, {"i-77", 0}});
  EXPECT_FALSE(world.elb->has_target(web, "i-1"));
}

TEST(Draining, OfTheLastTargetLeavesNobody) {
  Serving world(1);
  world.elb->deregister_targets(world.web, {{"i-1", 0}});
  world.run(kSecond);
  EXPECT_EQ(world.requests(5), (std::map<int, int>{{0, 5}}));
}

TEST(Restart, KeepsHealthSoThatNoTargetLeavesService) {
  Serving world(2);
  world.http["172.31.0.2"] = 500;
  world.run(12 * kSecond);
  ASSERT_EQ(world.state(world.web, "i-2"), "unhealthy/Target.ResponseCodeMismatch");
  BalancerState before = world.balancer.state();
  world.kill();
  world.run(kSecond);
  world.start();
  EXPECT_EQ(world.state(world.web, "i-1"), "healthy");
  EXPECT_EQ(world.elb->wanted(), before);
  world.run(kSecond);
  EXPECT_EQ(world.balancer.state(), before);
  EXPECT_EQ(world.elb->load_balancer(world.front).address, "127.77.0.1");
  world.http["172.31.0.1"] = 500;
  world.http["172.31.0.2"] = 200;
  world.run(60 * kSecond);
  EXPECT_EQ(world.requests(10), (std::map<int, int>{{2, 10}})) << "it probes again";
}

TEST(Restart, GoesOnWithDraining) {
  Serving world(2);
  world.elb->deregister_targets(world.web, {{"i-1", 0}});
  world.run(4 * kSecond);
  world.kill();
  world.start();
  EXPECT_EQ(world.state(world.web, "i-1"), "draining/Target.DeregistrationInProgress");
  world.run(5 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "draining/Target.DeregistrationInProgress");
  world.run(2 * kSecond);
  EXPECT_EQ(world.state(world.web, "i-1"), "unused/Target.NotRegistered");
}

TEST(Restart, SeesInstancesThatEndedMeanwhile) {
  Serving world(2);
  world.kill();
  world.ec2.instances["i-1"].phase = InstancePhase::terminated;
  world.start();
  EXPECT_FALSE(world.elb->has_target(world.web, "i-1"));
}

TEST(SlowStartOfElb, OnlyBesideAHealthyTargetAndLinearly) {
  SimulatedWorld world;
  TargetGroupArn web = world.group();
  world.elb->set_attributes(web, {{"slow_start.duration_seconds", "30"}});
  world.listener(world.load_balancer(), {{web, 1}});
  world.elb->register_targets(web, {{world.instance(1), 0}});
  world.run(kSecond);
  EXPECT_EQ(world.balancer.state().groups[0].servers[0].share_percent, 100) << "the first of a group is not held back";
  world.elb->register_targets(web, {{world.instance(2), 0}});
  world.run(kSecond);
  EXPECT_LT(world.balancer.state().groups[0].servers[1].share_percent, 10);
  world.run(15 * kSecond);
  EXPECT_NEAR(world.balancer.state().groups[0].servers[1].share_percent, 52, 5);
  world.run(16 * kSecond);
  EXPECT_EQ(world.balancer.state().groups[0].servers[1].share_percent, 100);
}

TEST(LoadBalancers, AreMadeOncePerNameAndRefusedWithOtherSettings) {
  SimulatedWorld world;
  LoadBalancerArn arn = world.load_balancer();
  EXPECT_EQ(arn.str().substr(0, 73), "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/fron");
  EXPECT_EQ(world.load_balancer(), arn);
  EXPECT_FALSE(world.elb->active(world.elb->load_balancer(arn)));
  world.run(kSecond);
  EXPECT_TRUE(world.elb->active(world.elb->load_balancer(arn)));
  auto make = [&](NewLoadBalancer wanted) { return code_of([&] { world.elb->create_load_balancer(wanted); }); };
  EXPECT_EQ(make({"front", {"subnet-a", "subnet-b"}, {"sg-1"}, "internal", {}}), "DuplicateLoadBalancerName");
  EXPECT_EQ(make({"x", {"subnet-a"}, {}, "internal", {}}), "ValidationError");
  EXPECT_EQ(make({"x", {"subnet-a", "subnet-a2"}, {}, "internal", {}}), "InvalidConfigurationRequest");
  EXPECT_EQ(make({"x", {"subnet-a", "subnet-other"}, {}, "internal", {}}), "InvalidConfigurationRequest");
  EXPECT_EQ(make({"x", {"subnet-a", "subnet-none"}, {}, "internal", {}}), "SubnetNotFound");
  EXPECT_EQ(make({"x", {"subnet-a", "subnet-b"}, {"sg-none"}, "internal", {}}), "InvalidSecurityGroup");
  EXPECT_EQ(make({"x", {"subnet-a", "subnet-b"}, {}, "public", {}}), "InvalidScheme");
  for (const char* name : {"", "-x", "x-", "a b", "internal-x", "a123456789012345678901234567890123"}) {
    EXPECT_EQ(make({name, {"subnet-a", "subnet-b"}, {}, "internal", {}}), "ValidationError") << name;
  }
  EXPECT_TRUE(world.elb->uses("sg-1"));
  EXPECT_FALSE(world.elb->uses("sg-2"));
  EXPECT_TRUE(world.elb->uses("vpc-1")) << "the VPC must be there for it";
  EXPECT_TRUE(world.elb->uses("subnet-a")) << "and the subnet cannot be deleted";
  EXPECT_FALSE(world.elb->uses("subnet-other"));
}

TEST(LoadBalancers, TakeTheLowestFreeAddress) {
  SimulatedWorld world;
  LoadBalancerArn one = world.load_balancer("one");
  LoadBalancerArn two = world.load_balancer("two");
  EXPECT_EQ(world.elb->load_balancer(two).address, "127.77.0.2");
  world.elb->delete_load_balancer(one);
  EXPECT_EQ(code_of([&] { world.elb->load_balancer(one); }), "LoadBalancerNotFound");
  EXPECT_EQ(world.elb->load_balancer(world.load_balancer("three")).address, "127.77.0.1");
  world.elb->delete_load_balancer(one);
}

TEST(LoadBalancers, ProtectedOnesAreNotDeleted) {
  SimulatedWorld world;
  LoadBalancerArn arn = world.load_balancer();
  world.elb->set_attributes(arn, {{"deletion_protection.enabled", "true"}});
  EXPECT_EQ(code_of([&] { world.elb->delete_load_balancer(arn); }), "OperationNotPermitted");
}

TEST(TargetGroups, AreMadeOncePerNameAndDeletedOnlyWhenUnused) {
  Serving world(1);
  EXPECT_EQ(world.group(), world.web);
  NewTargetGroup other{"web", "vpc-1", 8080, {}, {}};
  EXPECT_EQ(code_of([&] { world.elb->create_target_group(other); }), "DuplicateTargetGroupName");
  EXPECT_EQ(code_of([&] { world.elb->delete_target_group(world.web); }), "ResourceInUse");
  world.elb->delete_load_balancer(world.front);
  world.elb->delete_target_group(world.web);
  EXPECT_EQ(code_of([&] { world.elb->target_group(world.web); }), "TargetGroupNotFound");
  world.run(60 * kSecond);
}

TEST(TargetGroups, RefuseHealthChecksThatAwsRefuses) {
  SimulatedWorld world;
  auto make = [&](auto change) {
    NewTargetGroup wanted{"web", "vpc-1", 80, {}, {}};
    change(wanted);
    return code_of([&] { world.elb->create_target_group(wanted); });
  };
  EXPECT_EQ(make([](auto& g) { g.check.interval_seconds = 4; }), "ValidationError");
  EXPECT_EQ(make([](auto& g) { g.check.timeout_seconds = 30; }), "ValidationError");
  EXPECT_EQ(make([](auto& g) { g.check.healthy_threshold = 1; }), "ValidationError");
  EXPECT_EQ(make([](auto& g) { g.check.unhealthy_threshold = 11; }), "ValidationError");
  EXPECT_EQ(make([](auto& g) { g.check.path = "healthz"; }), "ValidationError");
  EXPECT_EQ(make([](auto& g) { g.check.path = "/a\r\nX: y"; }), "ValidationError");
  EXPECT_EQ(make([](auto& g) { g.check.port = "http"; }), "ValidationError");
  EXPECT_EQ(make([](auto& g) { g.check.matcher.text = "500"; }), "ValidationError");
  EXPECT_EQ(make([](auto& g) { g.vpc_id = "vpc-9"; }), "ValidationError");
  EXPECT_EQ(make([](auto&) {}), "");
}

TEST(TargetGroups, RefuseTargetsThatCannotBeRegistered) {
  Serving world(1);
  EXPECT_EQ(code_of([&] { world.elb->register_targets(world.web, {{"i-77", 0}}); }), "InvalidTarget");
  std::string id = world.instance(2);
  world.ec2.instances[id].phase = InstancePhase::pending;
  EXPECT_EQ(code_of([&] { world.elb->register_targets(world.web, {{id, 0}}); }), "InvalidTarget");
  EXPECT_EQ(code_of([&] { world.elb->register_targets(TargetGroupArn("arn:x"), {{id, 0}}); }), "TargetGroupNotFound");
}

TEST(TargetGroups, AttributesAreCheckedAllTogether) {
  SimulatedWorld world;
  TargetGroupArn web = world.group();
  auto set = [&](std::map<std::string, std::string> values) {
    return code_of([&] { world.elb->set_attributes(web, values); });
  };
  EXPECT_EQ(world.elb->attributes(web).at("deregistration_delay.timeout_seconds"), "300");
  EXPECT_EQ(set({{"deregistration_delay.timeout_seconds", "5"}, {"no.such", "1"}}), "InvalidConfigurationRequest");
  EXPECT_EQ(world.elb->attributes(web).at("deregistration_delay.timeout_seconds"), "300");
  EXPECT_EQ(set({{"slow_start.duration_seconds", "29"}}), "InvalidConfigurationRequest");
  EXPECT_EQ(
      set({{"slow_start.duration_seconds", "30"}, {"load_balancing.algorithm.type", "least_outstanding_requests"}}),
      "InvalidConfigurationRequest");
  EXPECT_EQ(set({{"stickiness.type", "app_cookie"}}), "InvalidConfigurationRequest");
  EXPECT_EQ(set({{"deregistration_delay.timeout_seconds", "0"}, {"stickiness.enabled", "true"}}), "");
  EXPECT_EQ(world.elb->attributes(web).at("stickiness.enabled"), "true");
}

TEST(Listeners, RefuseWhatAwsRefuses) {
  Serving world(1);
  LoadBalancerArn second = world.load_balancer("second");
  TargetGroupArn other = world.group("other");
  auto make = [&](const LoadBalancerArn& owner, int port, Forward forward) {
    return code_of([&] { world.elb->create_listener(owner, port, forward, {}); });
  };
  EXPECT_EQ(make(world.front, 80, {{{other, 1}}, false, 0}), "DuplicateListener");
  EXPECT_EQ(make(world.front, 80, {{{world.web, 1}}, false, 0}), "") << "the same again is the one that is there";
  EXPECT_EQ(world.elb->listeners(world.front).size(), 1U);
  EXPECT_EQ(make(second, 80, {{{world.web, 1}}, false, 0}), "TargetGroupAssociationLimit");
  EXPECT_EQ(make(second, 80, {{{TargetGroupArn("arn:none"), 1}}, false, 0}), "TargetGroupNotFound");
  EXPECT_EQ(make(second, 80, {{{other, 1000}}, false, 0}), "ValidationError");
  EXPECT_EQ(make(second, 0, {{{other, 1}}, false, 0}), "ValidationError");
  EXPECT_EQ(make(second, 80, {{{other, 1}, {other, 2}}, false, 0}), "ValidationError");
  EXPECT_EQ(make(LoadBalancerArn("arn:none"), 80, {{{other, 1}}, false, 0}), "LoadBalancerNotFound");
  EXPECT_EQ(code_of([&] { world.elb->delete_listener(ListenerArn("arn:none")); }), "ListenerNotFound");
  TargetGroupArn sticky = world.group("sticky");
  world.elb->set_attributes(sticky, {{"stickiness.enabled", "true"}});
  EXPECT_EQ(make(second, 80, {{{other, 1}, {sticky, 1}}, false, 0}), "InvalidConfigurationRequest");
  EXPECT_EQ(make(second, 80, {{{other, 1}, {sticky, 1}}, true, 0}), "ValidationError");
  EXPECT_EQ(make(second, 80, {{{other, 1}, {sticky, 1}}, true, 60}), "");
}

TEST(Listeners, NameThePortThatIsTaken) {
  Serving world(1);
  // Somebody else's, as far as Elb knows.
  world.balancer.apply({{{"stranger", "127.77.0.1", 8080, {}, false, 0, 60}}, {}}, [](std::exception_ptr) {});
  world.run(kSecond);
  const auto refusal = region::testing::refusal_of([&] { world.listener(world.front, {{world.web, 1}}, 8080); });
  ASSERT_TRUE(refusal) << "the port is taken";
  EXPECT_EQ(refusal->code(), "ResourceInUse");
  EXPECT_NE(refusal->message().find("127.77.0.1:8080"), std::string::npos);
}

TEST(Fleets, OfAThousandTargetsComeIntoServiceAndStay) {
  SimulatedWorld world;
  TargetGroupArn web = world.group();
  world.listener(world.load_balancer(), {{web, 1}});
  std::vector<TargetKey> targets;
  for (int i = 1; i <= 1000; ++i) {
    std::string id = "i-" + std::to_string(i);
    std::string address = "172.31." + std::to_string(i / 250) + "." + std::to_string(i % 250);
    world.ec2.instances[id] = {"vpc-1", "us-east-1a", address, InstancePhase::running};
    world.http[address] = 200;
    targets.push_back({id, 0});
  }
  world.elb->register_targets(web, targets);
  world.run(3 * kSecond);
  std::size_t healthy = 0;
  for (const TargetReport& report : world.elb->target_reports(web))
    healthy += report.health.state == TargetState::healthy;
  EXPECT_EQ(healthy, 1000U);
  EXPECT_LT(world.balancer.applied(), 50U) << "one state tells of many targets";
  EXPECT_EQ(code_of([&] { world.elb->register_targets(web, {{world.instance(77), 8080}}); }), "TooManyTargets");
}

}  // namespace
}  // namespace kiln::region::elb
