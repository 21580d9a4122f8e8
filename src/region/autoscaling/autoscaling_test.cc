// Auto Scaling's rules, each shown by a small story in virtual time.
#include "region/autoscaling/autoscaling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "region/autoscaling/testing/fakes.h"
#include "region/testing/refusals.h"

namespace kiln::region::autoscaling {
namespace {

using region::testing::code_of;
using region::testing::message_of;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;

class AutoScaling : public ::testing::Test {
 protected:
  void SetUp() override { world.instances.kinds = {Kind{}, Kind{}}; }
  const Member& first() { return world.group().members.front(); }
  std::vector<const Activity*> activities() { return world.api->activities("web", false); }
  bool any_activity(ActivityStatus status, const std::string& text) {
    for (const Activity* activity : activities()) {
      if (activity->status == status &&
          (activity->cause.find(text) != std::string::npos || activity->description.find(text) != std::string::npos)) {
        return true;
      }
    }
    return false;
  }
  World world;
};

GroupSettings sizes(int min, int max, std::optional<int> desired) {
  GroupSettings settings;
  settings.launch_template = TemplateRef{"", "web", "1"};
  settings.min_size = min;
  settings.max_size = max;
  settings.desired = desired;
  settings.subnets = {"subnet-a"};
  return settings;
}

// ---------------------------------------------------------------------------------------------------------- groups

TEST_F(AutoScaling, SpreadsAGroupEvenlyOverItsZones) {
  world.make_group(7);
  std::map<std::string, int> zones;
  for (const Member& member : world.group().members) ++zones[member.zone];
  EXPECT_EQ(zones["us-east-1a"], 3);
  EXPECT_EQ(zones["us-east-1b"], 2);
  EXPECT_EQ(zones["us-east-1c"], 2);
}

TEST_F(AutoScaling, SaysInTheActivityWhyAnInstanceWasLaunched) {
  world.make_group(1);
  ASSERT_EQ(activities().size(), 1u);
  const Activity& activity = *activities().front();
  EXPECT_EQ(activity.status, ActivityStatus::successful);
  EXPECT_EQ(activity.description, "Launching a new EC2 instance: " + first().instance_id);
  EXPECT_THAT(activity.cause, ::testing::MatchesRegex(
                                  "At [0-9T:-]+Z a user request created an AutoScalingGroup changing the desired "
                                  "capacity from 0 to 1\\.  At [0-9T:-]+Z an instance was started in response to a "
                                  "difference between desired and actual capacity, increasing the capacity from 0 to "
                                  "1\\."));
  EXPECT_EQ(activity.details, R"({"Subnet ID":"subnet-a","Availability Zone":"us-east-1a"})");
}

TEST_F(AutoScaling, IsPendingUntilEc2RunsItAndIsRegisteredWhenItComesIntoService) {
  world.api->create("web", sizes(1, 1, {}), {"tg-1"}, {});
  world.loop.run_for(Duration(700));
  EXPECT_EQ(first().state, Lifecycle::pending);
  EXPECT_EQ(world.targets.state("tg-1", first().instance_id), TargetState::absent);
  world.loop.run_for(Duration(150));
  EXPECT_EQ(first().state, Lifecycle::in_service);
  EXPECT_EQ(world.targets.state("tg-1", first().instance_id), TargetState::initial);
}

TEST_F(AutoScaling, TagsInstancesWithThePropagatedTagsAndTheNameOfTheGroup) {
  world.api->create("web", sizes(1, 1, {}), {}, {{"team", "blue", true}, {"secret", "x", false}});
  world.loop.run_for(seconds(2));
  const auto& tags = world.instances.machines.at(first().instance_id).tags;
  EXPECT_EQ(tags.at("aws:autoscaling:groupName"), "web");
  EXPECT_EQ(tags.at("team"), "blue");
  EXPECT_FALSE(tags.contains("secret"));
}

TEST_F(AutoScaling, ReportsTheVersionOfTheTemplateThatEachInstanceWasLaunchedFrom) {
  world.make_group(1, [](GroupSettings& settings) { settings.launch_template->version = "$Default"; });
  world.instances.default_version = 2;
  world.api->set_desired("web", 2, false);
  ASSERT_TRUE(world.run_until([&] { return world.steady(2); }, minutes(1)));
  EXPECT_EQ(world.group().members[0].launched_from.version, "1");
  EXPECT_EQ(world.group().members[1].launched_from.version, "2");
  EXPECT_EQ(world.group().launch_template.version, "$Default");
}

TEST_F(AutoScaling, RefusesWhatAwsRefusesOfANewGroup) {
  auto create = [&](GroupSettings settings, std::vector<std::string> target_groups = {}) {
    return code_of([&] { world.api->create("web", settings, target_groups, {}); });
  };
  EXPECT_EQ(create(sizes(2, 1, {})), "ValidationError");
  EXPECT_EQ(create(sizes(1, 4, 5)), "ValidationError");
  GroupSettings settings = sizes(1, 4, 2);
  settings.launch_template = TemplateRef{"", "web", "9"};
  EXPECT_EQ(create(settings), "ValidationError");
  settings = sizes(1, 4, 2);
  settings.launch_template = TemplateRef{"lt-1", "web", "1"};
  EXPECT_EQ(create(settings), "ValidationError");
  settings = sizes(1, 4, 2);
  settings.subnets = {"subnet-zz"};
  EXPECT_EQ(create(settings), "ValidationError");
  settings.subnets.clear();
  EXPECT_EQ(create(settings), "ValidationError");
  settings = sizes(1, 4, 2);
  settings.zones = {"us-east-1b"};
  EXPECT_EQ(create(settings), "ValidationError");
  settings = sizes(1, 4, 2);
  settings.health_check_type = "VPC_LATTICE";
  EXPECT_EQ(create(settings), "ValidationError");
  settings = sizes(1, 4, 2);
  settings.termination_policies = {"AllocationStrategy"};
  EXPECT_EQ(create(settings), "ValidationError");
  EXPECT_EQ(create(sizes(1, 4, 2), {"tg-9"}), "ValidationError");
  EXPECT_EQ(create(sizes(1, 4, 2)), "");
  EXPECT_EQ(create(sizes(1, 4, 2)), "AlreadyExists");
}

TEST_F(AutoScaling, MovesTheDesiredCapacityIntoNewBounds) {
  world.make_group(3);
  GroupSettings settings;
  settings.min_size = 5;
  settings.max_size = 6;
  world.api->update("web", settings);
  EXPECT_EQ(world.group().desired, 5);
  settings.min_size = 0;
  settings.max_size = 2;
  world.api->update("web", settings);
  EXPECT_EQ(world.group().desired, 2);
  settings.max_size = 4;
  settings.desired = 9;
  EXPECT_THAT(message_of([&] { world.api->update("web", settings); }),
              HasSubstr("Desired capacity:9 must be between the specified min size:0 and max size:4"));
  EXPECT_EQ(world.group().max_size, 2) << "a refused update changes nothing";
}

TEST_F(AutoScaling, RefusesADesiredCapacityOutsideItsBounds) {
  world.make_group(1, [](GroupSettings& settings) { settings.min_size = 1; });
  EXPECT_THAT(message_of([&] { world.api->set_desired("web", 5, false); }), HasSubstr("is above max value 4"));
  EXPECT_THAT(message_of([&] { world.api->set_desired("web", 0, false); }), HasSubstr("is below min value 1"));
  EXPECT_EQ(code_of([&] { world.api->set_desired("other", 1, false); }), "ValidationError");
}

TEST_F(AutoScaling, HonoursTheCooldownOnlyWhenAskedTo) {
  world.make_group(1);
  EXPECT_EQ(code_of([&] { world.api->set_desired("web", 2, true); }), "ScalingActivityInProgress");
  EXPECT_EQ(code_of([&] { world.api->set_desired("web", 2, false); }), "");
  ASSERT_TRUE(world.run_until([&] { return world.steady(2); }, minutes(1)));
  world.loop.run_for(seconds(301));
  EXPECT_EQ(code_of([&] { world.api->set_desired("web", 3, true); }), "");
}

TEST_F(AutoScaling, ScalesInByDrainingBeforeItTerminates) {
  world.make_group(3);
  world.api->set_desired("web", 2, false);
  world.loop.run_for(seconds(1));
  const Member* leaving = nullptr;
  for (const Member& member : world.group().members) {
    if (member.state == Lifecycle::terminating) leaving = &member;
  }
  ASSERT_NE(leaving, nullptr);
  EXPECT_EQ(world.targets.state("tg-1", leaving->instance_id), TargetState::draining);
  EXPECT_EQ(world.instances.machines.at(leaving->instance_id).status.phase, Phase::running);
  EXPECT_EQ(activities().front()->status, ActivityStatus::waiting_for_draining);
  EXPECT_THAT(activities().front()->cause, HasSubstr("shrinking the capacity from 3 to 2.  At"));
  ASSERT_TRUE(world.run_until([&] { return world.steady(2); }, minutes(1)));
  EXPECT_TRUE(any_activity(ActivityStatus::successful, "Terminating EC2 instance"));
}

TEST_F(AutoScaling, KeepsProtectedInstancesWhenItScalesIn) {
  world.make_group(3, [](GroupSettings& settings) { settings.protect_new = true; });
  world.api->set_desired("web", 1, false);
  world.loop.run_for(minutes(1));
  EXPECT_EQ(world.group().desired, 1);
  EXPECT_EQ(world.group().members.size(), 3u);
}

TEST_F(AutoScaling, IsDeletedOnlyWithoutInstancesUnlessForced) {
  world.make_group(2);
  EXPECT_EQ(code_of([&] { world.api->remove("web", false); }), "ResourceInUse");
  world.api->set_desired("web", 0, false);
  world.loop.run_for(Duration(100));
  EXPECT_EQ(code_of([&] { world.api->remove("web", false); }), "ScalingActivityInProgress");
  world.loop.run_for(seconds(5));
  EXPECT_EQ(code_of([&] { world.api->remove("web", false); }), "");
  EXPECT_TRUE(world.api->groups().empty());
}

TEST_F(AutoScaling, EndsItsInstancesBeforeItIsGoneWhenDeletionIsForced) {
  world.make_group(3, [](GroupSettings& settings) { settings.protect_new = true; });
  world.targets.drain = minutes(5);
  world.api->enter_standby("web", {first().instance_id}, true);
  world.api->remove("web", true);
  EXPECT_TRUE(world.group().deleting);
  EXPECT_EQ(code_of([&] { world.api->set_desired("web", 0, false); }), "ScalingActivityInProgress");
  ASSERT_TRUE(world.run_until([&] { return world.api->groups().empty(); }, seconds(10)));
  EXPECT_TRUE(world.instances.live().empty());
  EXPECT_FALSE(world.api->activities("web", true).empty());
  EXPECT_EQ(code_of([&] { world.api->activities("web", false); }), "ValidationError");
}

// ---------------------------------------------------------------------------------------------------------- health

TEST_F(AutoScaling, ReplacesAnInstanceThatDoesNotRunAtOnceEvenInTheGracePeriod) {
  world.make_group(2, [](GroupSettings& settings) { settings.grace_seconds = 600; });
  std::string id = first().instance_id;
  world.instances.set_phase(id, Phase::stopped);
  world.loop.run_for(Duration(100));
  EXPECT_EQ(first().state, Lifecycle::terminating);
  EXPECT_EQ(world.group().members.size(), 3u) << "the replacement comes at the same time";
  EXPECT_TRUE(any_activity(ActivityStatus::pre_in_service,
                           "an instance was launched in response to an unhealthy instance needing to be replaced."));
  ASSERT_TRUE(world.run_until([&] { return world.steady(2); }, minutes(1)));
  EXPECT_TRUE(
      any_activity(ActivityStatus::successful, "EC2 health check indicating it has been terminated or stopped"));
}

TEST_F(AutoScaling, ReplacesAnImpairedInstanceOnlyAfterAFewMinutes) {
  world.make_group(1);
  std::string id = first().instance_id;
  world.instances.machines.at(id).status.impaired_since = world.loop.now();
  world.instances.tell(id);
  world.loop.run_for(minutes(2));
  EXPECT_EQ(first().state, Lifecycle::in_service);
  world.loop.run_for(minutes(2));
  ASSERT_TRUE(world.run_until([&] { return world.steady(1); }, minutes(1)));
  EXPECT_NE(first().instance_id, id);
}

TEST_F(AutoScaling, IgnoresTheLoadBalancersHealthUnlessItWasChosen) {
  world.make_group(1);
  world.targets.set("tg-1", first().instance_id, TargetState::unhealthy);
  world.loop.run_for(minutes(10));
  EXPECT_EQ(world.instances.machines.size(), 1u);
}

TEST_F(AutoScaling, ReplacesWhatTheLoadBalancerFindsUnhealthyAfterTheGracePeriod) {
  world.make_group(2, [](GroupSettings& settings) {
    settings.health_check_type = "ELB";
    settings.grace_seconds = 60;
  });
  std::string id = first().instance_id;
  world.targets.set("tg-1", id, TargetState::unhealthy);
  world.loop.run_for(seconds(50));
  EXPECT_EQ(world.instances.machines.size(), 2u);
  world.loop.run_for(seconds(15));
  EXPECT_EQ(world.instances.machines.size(), 3u);
  EXPECT_TRUE(any_activity(ActivityStatus::successful, "an ELB system health check failure"));
}

TEST_F(AutoScaling, ReplacesWhatTheUserCallsUnhealthyAndRespectsTheGracePeriodIfAsked) {
  world.make_group(1, [](GroupSettings& settings) { settings.grace_seconds = 60; });
  std::string id = first().instance_id;
  world.api->set_instance_health(id, false, true);
  world.loop.run_for(seconds(5));
  EXPECT_EQ(first().state, Lifecycle::in_service);
  world.api->set_instance_health(id, false, false);
  world.loop.run_for(Duration(100));
  EXPECT_EQ(first().state, Lifecycle::terminating);
  EXPECT_TRUE(any_activity(ActivityStatus::waiting_for_draining, "in response to a user health-check"));
  EXPECT_EQ(code_of([&] { world.api->set_instance_health("i-none", false, false); }), "ValidationError");
}

// ------------------------------------------------------------------------------------------------- failing launches

TEST_F(AutoScaling, TellsInAFailedActivityThatTheImageIsMissingAndBacksOff) {
  world.instances.kinds[0].image_missing = true;
  world.api->create("web", sizes(0, 50, 50), {}, {});
  world.loop.run_for(seconds(2));
  const Activity* failed = nullptr;
  for (const Activity* activity : activities()) {
    if (activity->status == ActivityStatus::failed) failed = activity;
  }
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->status_message, "The image id '[ami-1]' does not exist. Launching EC2 instance failed.");
  EXPECT_THAT(failed->description, HasSubstr("Launching a new EC2 instance.  Status Reason: The image id"));
  world.loop.run_for(hours(1));
  EXPECT_LT(world.instances.launch_calls, 80u);
  world.instances.kinds[0].image_missing = false;
  ASSERT_TRUE(world.run_until([&] { return world.steady(50); }, minutes(3)));
}

TEST_F(AutoScaling, TakesAnInstanceThatEndsWhileItBootsForAFailedLaunch) {
  world.instances.kinds[0].dies_at_boot = true;
  world.api->create("web", sizes(1, 1, {}), {}, {});
  world.loop.run_for(seconds(3));
  EXPECT_TRUE(any_activity(ActivityStatus::failed, "Server.InternalError: it did not boot"));
  world.loop.run_for(minutes(30));
  EXPECT_LT(world.instances.machines.size(), 45u);
  world.instances.kinds[0].dies_at_boot = false;
  ASSERT_TRUE(world.run_until([&] { return world.steady(1); }, minutes(3)));
}

// --------------------------------------------------------------------------------------------- terminate and standby

TEST_F(AutoScaling, ReplacesAnInstanceThatTheUserTerminatesUnlessItDecrements) {
  world.make_group(3, [](GroupSettings& settings) { settings.min_size = 2; });
  Activity activity = world.api->terminate_instance(first().instance_id, false);
  EXPECT_THAT(activity.cause, HasSubstr("was taken out of service in response to a user request."));
  ASSERT_TRUE(world.run_until([&] { return world.steady(3); }, minutes(1)));
  activity = world.api->terminate_instance(first().instance_id, true);
  EXPECT_THAT(activity.cause, HasSubstr("shrinking the capacity from 3 to 2."));
  ASSERT_TRUE(world.run_until([&] { return world.steady(2); }, minutes(1)));
  EXPECT_EQ(world.group().desired, 2);
  EXPECT_THAT(message_of([&] { world.api->terminate_instance(first().instance_id, true); }),
              HasSubstr("Currently, desiredSize equals minSize (2)"));
  EXPECT_EQ(code_of([&] { world.api->terminate_instance("i-none", false); }), "ValidationError");
}

TEST_F(AutoScaling, DrainsAnInstanceIntoStandbyAndRunsNoHealthChecksThere) {
  world.make_group(2);
  std::string id = first().instance_id;
  Activity activity = world.api->enter_standby("web", {id}, true).front();
  EXPECT_EQ(activity.description, "Moving EC2 instance to Standby: " + id);
  EXPECT_THAT(activity.cause, HasSubstr("was moved to standby in response to a user request, shrinking the capacity "
                                        "from 2 to 1."));
  EXPECT_EQ(first().state, Lifecycle::entering_standby);
  world.loop.run_for(seconds(3));
  EXPECT_EQ(first().state, Lifecycle::standby);
  EXPECT_EQ(world.targets.state("tg-1", id), TargetState::absent);
  world.instances.set_phase(id, Phase::stopped);
  world.loop.run_for(minutes(5));
  EXPECT_EQ(first().state, Lifecycle::standby);
  EXPECT_EQ(world.instances.machines.size(), 2u) << "decremented, so nothing was launched in its place";
}

TEST_F(AutoScaling, LaunchesInPlaceOfAnInstanceInStandbyWithoutDecrement) {
  world.make_group(2);
  world.api->enter_standby("web", {first().instance_id}, false);
  world.loop.run_for(seconds(10));
  EXPECT_EQ(world.instances.live().size(), 3u);
}

TEST_F(AutoScaling, IncrementsTheDesiredCapacityWhenAnInstanceLeavesStandbyAndRegistersItAgain) {
  world.make_group(2, [](GroupSettings& settings) { settings.max_size = 2; });
  std::string id = first().instance_id;
  world.api->enter_standby("web", {id}, true);
  EXPECT_EQ(code_of([&] { world.api->exit_standby("web", {id}); }), "ValidationError") << "still entering";
  world.loop.run_for(seconds(3));
  Activity activity = world.api->exit_standby("web", {id}).front();
  EXPECT_THAT(activity.cause, HasSubstr("was moved out of standby in response to a user request, increasing the "
                                        "capacity from 1 to 2."));
  ASSERT_TRUE(world.run_until([&] { return world.steady(2); }, minutes(1)));
  EXPECT_EQ(world.instances.machines.size(), 2u);
  EXPECT_EQ(code_of([&] { world.api->enter_standby("web", {"i-none"}, true); }), "ValidationError");
}

TEST_F(AutoScaling, RefusesStandbyThatWouldFallBelowTheMinimum) {
  world.make_group(2, [](GroupSettings& settings) { settings.min_size = 2; });
  EXPECT_EQ(code_of([&] { world.api->enter_standby("web", {first().instance_id}, true); }), "ValidationError");
}

// ---------------------------------------------------------------------------------------------------- target groups

TEST_F(AutoScaling, RegistersWithTargetGroupsThatAreAttachedLaterAndDrainsThoseThatAreDetached) {
  world.targets.arns.insert("tg-2");
  world.make_group(2);
  world.api->attach("web", {"tg-2"});
  EXPECT_EQ(world.api->target_group_states("web")[1].state, "Adding");
  world.loop.run_for(seconds(1));
  EXPECT_EQ(world.api->target_group_states("web")[1].state, "InService");
  EXPECT_EQ(world.targets.healthy("tg-2"), 2);
  world.api->detach("web", {"tg-2"});
  world.loop.run_for(seconds(1));
  EXPECT_EQ(world.api->target_group_states("web")[1].state, "Removing");
  EXPECT_EQ(world.targets.healthy("tg-2"), 0);
  world.loop.run_for(seconds(5));
  EXPECT_EQ(world.api->target_group_states("web").size(), 1u);
  EXPECT_EQ(world.targets.healthy("tg-1"), 2);
  EXPECT_EQ(code_of([&] { world.api->detach("web", {"tg-2"}); }), "ValidationError");
  EXPECT_EQ(code_of([&] { world.api->attach("web", {"tg-3"}); }), "ValidationError");
}

TEST_F(AutoScaling, LeavesATargetAloneThatTheUserDeregistered) {
  world.make_group(2);
  world.targets.deregister_instance("tg-1", first().instance_id);
  world.loop.run_for(minutes(2));
  EXPECT_EQ(world.targets.state("tg-1", first().instance_id), TargetState::absent);
}

// ------------------------------------------------------------------------------------------------------------ tags

TEST_F(AutoScaling, KeepsTagsByKeyAndRefusesThoseOfAws) {
  world.make_group(1);
  world.api->put_tags({{"web", {"b", "1", false}}});
  world.api->put_tags({{"web", {"a", "1", false}}});
  world.api->put_tags({{"web", {"b", "2", true}}});
  EXPECT_EQ(world.group().tags, (std::vector<Tag>{{"a", "1", false}, {"b", "2", true}}));
  world.api->delete_tags({{"web", {"a", "", false}}});
  EXPECT_EQ(world.group().tags.size(), 1u);
  EXPECT_EQ(code_of([&] { world.api->put_tags({{"web", {"aws:x", "1", false}}}); }), "ValidationError");
}

TEST_F(AutoScaling, ChangesNoTagByACallThatIsRefused) {
  world.make_group(1);
  world.api->put_tags({{"web", {"a", "1", false}}});
  const std::vector<Tag> before = world.group().tags;
  EXPECT_EQ(code_of([&] {
              world.api->put_tags({{"web", {"b", "1", false}}, {"web", {"aws:x", "1", false}}});
            }),
            "ValidationError");
  EXPECT_EQ(code_of([&] {
              world.api->put_tags({{"web", {"b", "1", false}}, {"nobody", {"b", "1", false}}});
            }),
            "ValidationError");
  EXPECT_EQ(code_of([&] {
              world.api->delete_tags({{"web", {"a", "", false}}, {"nobody", {"a", "", false}}});
            }),
            "ValidationError");
  EXPECT_EQ(world.group().tags, before);
}

// --------------------------------------------------------------------------------------------- killed, and very large

// Many things happen to a group, and it is killed at its `kill`th commit. True when that commit came.
bool story(std::uint64_t seed, int kill, bool after_commit) {
  World world(seed);
  world.instances.kinds = {Kind{}, Kind{}};
  world.make_group(4);
  world.kill_at(kill, after_commit);
  world.instances.set_phase(world.group().members[0].instance_id, Phase::stopped);
  world.run_until([] { return false; }, Duration(300));
  world.api->set_desired("web", 6, false);
  world.run_until([] { return false; }, seconds(4));
  if (world.group().desired != 6) world.api->set_desired("web", 6, false);
  EXPECT_TRUE(world.run_until([&] { return world.steady(6); }, minutes(1))) << "seed " << seed << ", kill " << kill;
  world.api->set_desired("web", 3, false);
  world.run_until([] { return false; }, seconds(1));
  if (world.group().desired != 3) world.api->set_desired("web", 3, false);
  bool done = world.run_until([&] { return world.steady(3) && world.instances.live().size() == 3; }, minutes(1));
  EXPECT_TRUE(done) << "seed " << seed << ", killed at commit " << kill << ": " << world.instances.live().size();
  EXPECT_EQ(world.instances.machines.size(), 7u) << "seed " << seed << ", killed at commit " << kill;
  return world.killed();
}

TEST(KilledAtEveryCommit, AGroupLaunchesReplacesAndScalesInWithoutLosingOrDoublingAnInstance) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    for (bool after_commit : {false, true}) {
      int kill = 1;
      while (story(seed, kill, after_commit) && !::testing::Test::HasFailure()) ++kill;
      EXPECT_GT(kill, 15);
    }
  }
}

TEST_F(AutoScaling, FindsAndEndsAnInstanceWhoseLaunchWasNotWrittenDownWhenItIsNotWantedAnyMore) {
  world.make_group(1);
  world.api->set_desired("web", 2, false);
  world.instances.on_launch = [&] { world.kill_at(1, false); };  // the turn of the launch is lost
  ASSERT_TRUE(world.loop.run_while_not([&] { return world.killed(); }, seconds(1)));
  ASSERT_EQ(world.instances.machines.size(), 2u);
  world.instances.on_launch = {};
  world.restart();
  world.api->set_desired("web", 1, false);
  ASSERT_TRUE(world.run_until([&] { return world.steady(1) && world.instances.live().size() == 1; }, minutes(1)));
  EXPECT_EQ(world.instances.machines.size(), 2u);
}

TEST_F(AutoScaling, KeepsItsBooksOverARestart) {
  world.make_group(3);
  world.api->put_tags({{"web", {"a", "1", true}}});
  world.loop.run_for(seconds(1));
  std::size_t before = activities().size();
  Group kept = world.group();
  world.restart();
  EXPECT_EQ(encode(world.group()), encode(kept));
  ASSERT_EQ(world.group().members.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(encode(world.group().members[i]), encode(kept.members[i]));
  EXPECT_EQ(activities().size(), before);
  world.loop.run_for(minutes(5));
  EXPECT_EQ(world.instances.machines.size(), 3u);
}

TEST_F(AutoScaling, LaunchesAThousandInstancesInNearLinearTime) {
  for (Kind& kind : world.instances.kinds) kind.boot = seconds(2);
  GroupSettings settings = sizes(0, 1'000, 1'000);
  world.api->create("web", settings, {"tg-1"}, {});
  world.loop.run_for(seconds(10));
  EXPECT_EQ(world.targets.healthy("tg-1"), 1'000);
  // A look asks about each instance once, and one look takes what many events have marked.
  EXPECT_LT(world.instances.status_calls, 100u * 1'000u);
}

}  // namespace
}  // namespace kiln::region::autoscaling
