// The arithmetic of healthy percentages, and refreshes from end to end.
#include "region/autoscaling/refresh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "region/autoscaling/testing/fakes.h"
#include "region/testing/refusals.h"

namespace kiln::region::autoscaling {
namespace {

using region::testing::code_of;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

RefreshPreferences percentages(int min, std::optional<int> max) {
  RefreshPreferences preferences;
  preferences.min_healthy = min;
  preferences.max_healthy = max;
  return preferences;
}

struct Row {
  int min;
  std::optional<int> max;
  std::vector<Bounds> for_desired;  // 1 to 10
};

TEST(RefreshArithmetic, RoundsMinHealthyUpAndMaxHealthyDownForDesiredOneToTen) {
  const std::vector<Row> rows{
      // Defaults: ends before it launches; where 90 % rounds up to all, exactly one may go.
      {90, {}, {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 8}, {8, 9}, {9, 10}}},
      // Launch first, one at a time.
      {100, {}, {{1, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 8}, {8, 9}, {9, 10}, {10, 11}}},
      {100, 110, {{1, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 8}, {8, 9}, {9, 10}, {10, 11}}},
      {100, 150, {{1, 2}, {2, 3}, {3, 4}, {4, 6}, {5, 7}, {6, 9}, {7, 10}, {8, 12}, {9, 13}, {10, 15}}},
      {100, 200, {{1, 2}, {2, 4}, {3, 6}, {4, 8}, {5, 10}, {6, 12}, {7, 14}, {8, 16}, {9, 18}, {10, 20}}},
      {90, 120, {{1, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 8}, {8, 9}, {9, 10}, {9, 12}}},
      {50, 100, {{0, 1}, {1, 2}, {2, 3}, {2, 4}, {3, 5}, {3, 6}, {4, 7}, {4, 8}, {5, 9}, {5, 10}}},
      {0, 100, {{0, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 5}, {0, 6}, {0, 7}, {0, 8}, {0, 9}, {0, 10}}},
  };
  for (const Row& row : rows) {
    for (int desired = 1; desired <= 10; ++desired) {
      Bounds bounds = refresh_bounds(desired, percentages(row.min, row.max));
      const Bounds& expected = row.for_desired[static_cast<std::size_t>(desired - 1)];
      EXPECT_EQ(bounds.min_ready, expected.min_ready) << row.min << "/" << row.max.value_or(0) << " of " << desired;
      EXPECT_EQ(bounds.max_total, expected.max_total) << row.min << "/" << row.max.value_or(0) << " of " << desired;
    }
  }
}

TEST(RefreshArithmetic, LeavesEveryGroupRoomToMoveWhateverThePercentages) {
  for (int desired = 1; desired <= 40; ++desired) {
    for (int min = 0; min <= 100; ++min) {
      for (int max = 100; max <= std::min(200, min + 100); ++max) {
        Bounds bounds = refresh_bounds(desired, percentages(min, max));
        EXPECT_TRUE(bounds.min_ready < desired || bounds.max_total > desired) << desired << " " << min << "/" << max;
        EXPECT_GE(bounds.max_total, desired);
        if (max > 100 || min == 100) {
          EXPECT_EQ(bounds.min_ready, (desired * min + 99) / 100);
        }
      }
    }
  }
}

class RefreshRun : public ::testing::Test {
 protected:
  void SetUp() override { world.instances.kinds = {Kind{}, Kind{}, Kind{}}; }
  std::string start(const RefreshPreferences& preferences, const std::string& version = "2") {
    return world.api->start_refresh("web", world.version(version), preferences);
  }
  // After every turn: how many serve never falls below `min`, and there are never more than `max` that are not leaving.
  void hold(int min, int max) {
    world.check = [this, min, max] {
      if (world.api->groups().empty()) return;
      EXPECT_GE(world.targets.healthy("tg-1"), min);
      int staying = 0;
      for (const Member& member : world.group().members) staying += member.state != Lifecycle::terminating;
      EXPECT_LE(staying, max);
    };
  }
  World world;
};

TEST_F(RefreshRun, ReplacesFourBehindALoadBalancerInUnderFifteenSecondsAndNeverServesWithLess) {
  world.make_group(4);
  Time begin = world.loop.now();
  hold(4, 8);
  start(percentages(100, 200));
  EXPECT_EQ(world.refresh().status, RefreshStatus::pending);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::successful);
  EXPECT_EQ(world.refresh().percent_complete, 100);
  EXPECT_EQ(world.refresh().instances_to_update, 0);
  ASSERT_TRUE(world.run_until([&] { return world.steady(4); }, minutes(1)));
  EXPECT_LT(world.loop.now() - begin, seconds(5));  // boot 0.8, first success 0.3, drain 2, end 0.3
  EXPECT_EQ(world.of_version("2"), 4);
}

TEST_F(RefreshRun, EndsBeforeItLaunchesByDefaultAndOneAtATimeForFour) {
  world.make_group(4);
  hold(3, 4);
  start(RefreshPreferences{});
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(2)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::successful);
  EXPECT_EQ(world.of_version("2"), 4);
}

TEST_F(RefreshRun, LaunchesFirstOneAtATimeWhenMinimumHealthyIsAHundred) {
  world.make_group(3);
  hold(3, 4);
  start(percentages(100, {}));
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(2)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::successful);
}

TEST_F(RefreshRun, ReplacesAllAtOnceWhenMinimumHealthyIsZero) {
  world.make_group(5);
  start(percentages(0, {}));
  world.loop.run_for(Duration(100));
  EXPECT_EQ(world.targets.healthy("tg-1"), 0);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  EXPECT_EQ(world.of_version("2"), 5);
}

TEST_F(RefreshRun, WritesTheDesiredConfigurationToTheGroupOnlyOnSuccess) {
  world.make_group(2);
  start(percentages(100, 200));
  while (!world.refresh_over()) {
    EXPECT_EQ(world.group().launch_template.version, "1");
    ASSERT_LT(world.loop.now(), Time(hours(500'001)));
    world.loop.run_for(Duration(100));
  }
  EXPECT_EQ(world.group().launch_template.version, "2");
}

TEST_F(RefreshRun, CountsTheWarmUpFromTheMomentInServiceBeforeTheNextInstance) {
  world.make_group(2);
  RefreshPreferences preferences = percentages(100, {});
  preferences.warmup_seconds = 60;
  Time begin = world.loop.now();
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh().percent_complete == 50; }, minutes(5)));
  EXPECT_GE(world.loop.now() - begin, seconds(60));
  EXPECT_LT(world.loop.now() - begin, seconds(62));
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(5)));
  EXPECT_GE(world.loop.now() - begin, seconds(120));
}

TEST_F(RefreshRun, TakesTheWarmUpFromTheDefaultInstanceWarmupAndElseFromTheGracePeriod) {
  Group group;
  Refresh refresh;
  group.grace_seconds = 300;
  EXPECT_EQ(refresh.warmup_seconds(group), 300);
  group.default_warmup_seconds = 0;
  EXPECT_EQ(refresh.warmup_seconds(group), 0);
  refresh.preferences.warmup_seconds = 7;
  EXPECT_EQ(refresh.warmup_seconds(group), 7);
}

TEST_F(RefreshRun, WaitsAtACheckpointAndSkipsThoseThatWerePassed) {
  world.make_group(2);
  RefreshPreferences preferences = percentages(100, {});
  preferences.checkpoints = {10, 40, 100};
  Time begin = world.loop.now();
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh().hold_until.has_value(); }, minutes(5)));
  EXPECT_EQ(world.refresh().checkpoint_passed, 40);
  world.loop.run_for(minutes(50));
  EXPECT_EQ(world.of_version("2"), 1);
  EXPECT_EQ(world.of_version("1"), 1);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, hours(2)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::successful);
  EXPECT_GE(world.loop.now() - begin, hours(1));
  EXPECT_LT(world.loop.now() - begin, minutes(61));
}

TEST_F(RefreshRun, ReplacesOnlyAsMuchAsTheLastCheckpointSays) {
  world.make_group(4);
  RefreshPreferences preferences = percentages(100, 200);
  preferences.checkpoints = {50};
  preferences.checkpoint_delay_seconds = 0;
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(5)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::successful);
  ASSERT_TRUE(world.run_until([&] { return world.steady(4); }, minutes(1)));
  EXPECT_EQ(world.of_version("2"), 2);
  EXPECT_EQ(world.of_version("1"), 2);
}

TEST_F(RefreshRun, SkipsMatchingInstancesAndEndsAtOnceWhenAllMatch) {
  world.make_group(3);
  RefreshPreferences preferences = percentages(100, {});
  preferences.skip_matching = true;
  start(preferences, "1");
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, seconds(1)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::successful);
  EXPECT_EQ(world.instances.machines.size(), 3u);
}

TEST_F(RefreshRun, ReplacesMatchingInstancesTooWithoutSkipMatching) {
  world.make_group(3);
  start(percentages(100, 200), "1");
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  EXPECT_EQ(world.instances.machines.size(), 6u);
}

TEST_F(RefreshRun, BakesBeforeItIsSuccessfulEvenForFortyEightHours) {
  world.make_group(2);
  RefreshPreferences preferences = percentages(100, 200);
  preferences.bake_seconds = 172'800;
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh().status == RefreshStatus::baking; }, minutes(1)));
  EXPECT_EQ(world.group().launch_template.version, "1");
  Time baking = world.loop.now();
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, hours(50)));
  EXPECT_EQ(world.loop.now() - baking, hours(48));
  EXPECT_EQ(world.group().launch_template.version, "2");
}

TEST_F(RefreshRun, CanBeRolledBackWhileItBakes) {
  world.make_group(3);
  RefreshPreferences preferences = percentages(100, 200);
  preferences.bake_seconds = 600;
  hold(3, 6);
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh().status == RefreshStatus::baking; }, minutes(1)));
  world.api->roll_back_refresh("web");
  EXPECT_EQ(world.refresh().rollback->percent_complete, 100);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::rollback_successful);
  EXPECT_EQ(world.refresh().percent_complete, 0);
  EXPECT_EQ(world.of_version("1"), 3);
}

TEST_F(RefreshRun, RollsBackABadVersionWithoutTouchingTheHealthyFleet) {
  world.instances.kinds[1].healthy = false;
  world.make_group(4);
  std::vector<std::string> before = world.instances.live();
  hold(4, 8);
  start(percentages(100, 200));
  world.loop.run_for(seconds(10));
  EXPECT_EQ(world.refresh().percent_complete, 0);
  EXPECT_EQ(world.group().members.size(), 8u);
  world.api->roll_back_refresh("web");
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over() && world.steady(4); }, minutes(1)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::rollback_successful);
  EXPECT_EQ(world.instances.live(), before);
  EXPECT_EQ(world.refresh().rollback->instances_to_update, 4);
}

TEST_F(RefreshRun, RollsBackHalfwayByTheSameRulesInReverse) {
  world.make_group(4);
  hold(4, 5);
  start(percentages(100, {}));
  ASSERT_TRUE(world.run_until([&] { return world.refresh().percent_complete == 50; }, minutes(1)));
  world.api->roll_back_refresh("web");
  EXPECT_EQ(world.refresh().status, RefreshStatus::rollback_in_progress);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::rollback_successful);
  EXPECT_EQ(world.of_version("1"), 4);
  EXPECT_EQ(world.group().launch_template.version, "1");
}

TEST_F(RefreshRun, TriesForAnHourAndThenFailsWithoutAutoRollback) {
  world.instances.kinds[1].healthy = false;
  world.make_group(2);
  hold(2, 4);
  Time begin = world.loop.now();
  start(percentages(100, 200));
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, hours(2)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::failed);
  EXPECT_GE(world.loop.now() - begin, hours(1));
  ASSERT_TRUE(world.run_until([&] { return world.steady(2); }, minutes(1)));
  EXPECT_EQ(world.of_version("1"), 2) << "the instances that never served are those that go";
}

TEST_F(RefreshRun, TriesForAnHourAndThenRollsBackWithAutoRollback) {
  world.instances.kinds[1].image_missing = true;
  world.make_group(4);
  RefreshPreferences preferences = percentages(90, 100);
  preferences.auto_rollback = true;
  hold(3, 4);
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, hours(2)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::rollback_successful);
  EXPECT_TRUE(world.steady(4));
  EXPECT_EQ(world.of_version("1"), 4);
  EXPECT_LT(world.instances.launch_calls, 200u) << "failing launches back off";
}

TEST_F(RefreshRun, WaitsForProtectedInstancesAndFailsAfterAnHour) {
  world.make_group(2, [](GroupSettings& settings) { settings.protect_new = true; });
  start(percentages(100, 200));
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, hours(2)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::failed);
  EXPECT_THAT(world.refresh().reason, ::testing::HasSubstr("protected from scale in"));
  EXPECT_EQ(world.instances.machines.size(), 2u);
}

TEST_F(RefreshRun, ReplacesOrIgnoresProtectedInstancesWhenAskedTo) {
  world.make_group(2, [](GroupSettings& settings) { settings.protect_new = true; });
  RefreshPreferences preferences = percentages(100, 200);
  preferences.scale_in_protected = "Ignore";
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  EXPECT_EQ(world.of_version("1"), 2);
  preferences.scale_in_protected = "Refresh";
  start(preferences, "3");
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  EXPECT_EQ(world.of_version("3"), 2);
}

TEST_F(RefreshRun, WaitsForInstancesInStandbyUnlessToldToIgnoreOrTerminateThem) {
  world.make_group(3);
  std::string id = world.group().members[0].instance_id;
  world.api->enter_standby("web", {id}, true);
  ASSERT_TRUE(world.run_until([&] { return world.group().members[0].state == Lifecycle::standby; }, minutes(1)));
  start(percentages(100, 200));
  world.loop.run_for(minutes(30));
  EXPECT_FALSE(world.refresh_over());
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, hours(1)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::failed);
  EXPECT_THAT(world.refresh().reason, ::testing::HasSubstr("Standby"));

  RefreshPreferences preferences = percentages(100, 200);
  preferences.standby = "Ignore";
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::successful);
  EXPECT_EQ(world.instances.machines.at(id).status.phase, Phase::running);

  preferences.standby = "Terminate";
  start(preferences, "3");
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));
  world.loop.run_for(seconds(5));
  EXPECT_EQ(world.instances.machines.at(id).status.phase, Phase::terminated);
}

TEST_F(RefreshRun, LaunchesTheDesiredConfigurationWhenTheGroupScalesOutMeanwhile) {
  world.make_group(2);
  RefreshPreferences preferences = percentages(100, {});
  preferences.checkpoints = {50, 100};
  start(preferences);
  ASSERT_TRUE(world.run_until([&] { return world.refresh().hold_until.has_value(); }, minutes(1)));
  world.api->set_desired("web", 4, false);
  world.loop.run_for(seconds(5));
  EXPECT_EQ(world.of_version("2"), 3);
  EXPECT_EQ(world.of_version("1"), 1);
}

TEST_F(RefreshRun, SurvivesAScaleInMeanwhile) {
  world.make_group(6);
  start(percentages(100, 200));
  world.loop.run_for(Duration(900));
  world.api->set_desired("web", 2, false);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over() && world.steady(2); }, minutes(1)));
  EXPECT_EQ(world.of_version("2"), 2);
}

TEST_F(RefreshRun, IsCancelledWithoutUndoingWhatWasReplaced) {
  world.make_group(4);
  hold(4, 5);
  start(percentages(100, {}));
  ASSERT_TRUE(world.run_until([&] { return world.refresh().percent_complete == 50; }, minutes(1)));
  world.api->cancel_refresh("web", true);
  EXPECT_EQ(world.refresh().status, RefreshStatus::cancelling);
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over() && world.steady(4); }, minutes(1)));
  EXPECT_EQ(world.refresh().status, RefreshStatus::cancelled);
  EXPECT_GE(world.of_version("2"), 2);
  EXPECT_EQ(world.group().launch_template.version, "1");
}

TEST_F(RefreshRun, IsRefusedWhileAnotherOneIsActive) {
  world.make_group(2);
  start(percentages(100, 200));
  EXPECT_EQ(code_of([&] { start(percentages(100, 200)); }), "InstanceRefreshInProgress");
}

TEST_F(RefreshRun, CannotBeCancelledOrRolledBackWhenNoneIsActive) {
  world.make_group(1);
  EXPECT_EQ(code_of([&] { world.api->cancel_refresh("web", true); }), "ActiveInstanceRefreshNotFound");
  EXPECT_EQ(code_of([&] { world.api->roll_back_refresh("web"); }), "ActiveInstanceRefreshNotFound");
}

TEST_F(RefreshRun, CannotBeRolledBackWithoutDesiredConfigurationOrFromLatestOrFromAParameter) {
  world.make_group(2);
  RefreshPreferences preferences = percentages(100, 200);
  world.api->start_refresh("web", std::nullopt, preferences);
  EXPECT_EQ(code_of([&] { world.api->roll_back_refresh("web"); }), "IrreversibleInstanceRefresh");
  ASSERT_TRUE(world.run_until([&] { return world.refresh_over(); }, minutes(1)));

  preferences.auto_rollback = true;
  EXPECT_EQ(code_of([&] { world.api->start_refresh("web", std::nullopt, preferences); }), "ValidationError");
  GroupSettings latest;
  latest.launch_template = world.version("$Latest");
  world.api->update("web", latest);
  EXPECT_EQ(code_of([&] { start(preferences); }), "ValidationError");
  latest.launch_template = world.version("1");
  world.api->update("web", latest);
  world.instances.from_parameter = true;
  EXPECT_EQ(code_of([&] { start(preferences); }), "ValidationError");
  world.instances.from_parameter = false;
  EXPECT_EQ(code_of([&] { start(preferences); }), "");
}

TEST_F(RefreshRun, RefusesPreferencesThatAwsRefuses) {
  world.make_group(1);
  auto refuses = [&](const std::function<void(RefreshPreferences&)>& change) {
    RefreshPreferences preferences;
    change(preferences);
    return code_of([&] { start(preferences); }) == "ValidationError";
  };
  EXPECT_TRUE(refuses([](auto& p) { p.min_healthy = 101; }));
  EXPECT_TRUE(refuses([](auto& p) { p.min_healthy = 50, p.max_healthy = 151; }));
  EXPECT_TRUE(refuses([](auto& p) { p.max_healthy = 99; }));
  EXPECT_TRUE(refuses([](auto& p) { p.max_healthy = 201; }));
  EXPECT_TRUE(refuses([](auto& p) { p.checkpoint_delay_seconds = 10; }));
  EXPECT_TRUE(refuses([](auto& p) { p.checkpoints = {50, 50}; }));
  EXPECT_TRUE(refuses([](auto& p) { p.checkpoints = {50, 20}; }));
  EXPECT_TRUE(refuses([](auto& p) { p.checkpoints = {101}; }));
  EXPECT_TRUE(refuses([](auto& p) { p.checkpoints = {100}, p.checkpoint_delay_seconds = 172'801; }));
  EXPECT_TRUE(refuses([](auto& p) { p.bake_seconds = 172'801; }));
}

TEST_F(RefreshRun, KeepsTheLaunchTemplateOfTheGroupFromBeingChangedMeanwhile) {
  world.make_group(2);
  start(percentages(100, 200));
  GroupSettings settings;
  settings.launch_template = world.version("3");
  EXPECT_EQ(code_of([&] { world.api->update("web", settings); }), "ValidationError");
}

TEST_F(RefreshRun, DoesNotEndAFleetWhoseChecksFailAllAtOnce) {
  world.make_group(4);
  world.instances.kinds[1].serve = seconds(30);
  start(percentages(100, 200));
  world.loop.run_for(seconds(3));
  for (const Member& member : world.group().members) {
    if (member.launched_from.version == "1") {
      world.targets.set("tg-1", member.instance_id, TargetState::unhealthy);
    }
  }
  world.loop.run_for(seconds(5));
  EXPECT_EQ(world.of_version("1"), 4);
}

// ------------------------------------------------------------------------------------------------ killed anywhere

// A story with a refresh that is killed at its `kill`th commit. True when that commit came.
bool story(std::uint64_t seed, int kill, bool after_commit, bool bad) {
  World world(seed);
  world.instances.kinds = {Kind{}, Kind{.healthy = !bad}};
  world.make_group(3);
  world.check = [&] {
    EXPECT_GE(world.targets.healthy("tg-1"), 3);
    EXPECT_LE(world.instances.live().size(), 6u + 3u);  // three may be draining
  };
  RefreshPreferences preferences = percentages(100, 200);
  world.kill_at(kill, after_commit);
  std::string id = world.api->start_refresh("web", world.version("2"), preferences);
  world.loop.post([] {});
  bool asked = false;
  auto over = [&] {
    if (world.api->refreshes("web").empty()) {
      // Killed before the call was answered: the caller asks again.
      world.api->start_refresh("web", world.version("2"), preferences);
    }
    if (bad && !asked && world.group().members.size() == 6 && world.targets.healthy("tg-1") == 3) {
      asked = true;
      world.api->roll_back_refresh("web");
    }
    if (bad && asked && world.refresh().status == RefreshStatus::in_progress) world.api->roll_back_refresh("web");
    return world.refresh_over() && world.steady(3) && world.instances.live().size() == 3;
  };
  EXPECT_TRUE(world.run_until(over, minutes(2))) << "seed " << seed << ", killed at commit " << kill;
  EXPECT_EQ(world.refresh().status, bad ? RefreshStatus::rollback_successful : RefreshStatus::successful);
  EXPECT_EQ(world.of_version(bad ? "1" : "2"), 3) << kill;
  EXPECT_EQ(world.instances.machines.size(), 6u) << "an instance was launched twice, killed at commit " << kill;
  return world.killed();
}

TEST(KilledAtEveryCommit, ARefreshGoesOnToItsEndAndNoInstanceIsLostOrLaunchedTwice) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    for (bool after_commit : {false, true}) {
      int kill = 1;
      while (story(seed, kill, after_commit, false) && !::testing::Test::HasFailure()) ++kill;
      EXPECT_GT(kill, 10);
    }
  }
}

TEST(KilledAtEveryCommit, ARollbackGoesOnToItsEndAndTheOldFleetStays) {
  for (bool after_commit : {false, true}) {
    int kill = 1;
    while (story(7, kill, after_commit, true) && !::testing::Test::HasFailure()) ++kill;
    EXPECT_GT(kill, 8);
  }
}

}  // namespace
}  // namespace kiln::region::autoscaling
