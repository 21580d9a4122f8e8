// Needs: what hurts people who run immutable fleets, a test each, named for the need.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aws/client.h"
#include "wire/autoscaling.h"
#include "wire/ec2.h"
#include "world.h"

namespace kiln::simulation {
namespace {

using deploy::Outcome;
using deploy::Result;
using ::testing::HasSubstr;
using ::testing::Not;

// If these do not fail, nothing in the simulation can.
TEST(TheWatch, NoticesARefreshThatEndsBeforeItLaunches) {
  World world({.size = 2});
  world.publish("1.0.0");
  world.deploy("1.0.0");
  world.publish("1.1.0");
  const auto replace = [](std::string& body, std::string_view from, std::string_view to) {
    const std::size_t at = body.find(from);
    if (at != std::string::npos) body.replace(at, from.size(), to);
  };
  world.tamper = [&](std::string& body) {
    replace(body, "MinHealthyPercentage=100", "MinHealthyPercentage=50");
    replace(body, "MaxHealthyPercentage=200", "MaxHealthyPercentage=100");
  };
  world.deploy("1.1.0");
  EXPECT_THAT(world.watch().violations(), ::testing::Contains(HasSubstr("fewer than 2")));
}

TEST(TheWatch, NoticesARefreshThatGrowsTooLarge) {
  World world({.size = 2});
  world.publish("1.0.0");
  world.deploy("1.0.0");
  world.watch().arm(2, 1);
  world.publish("1.1.0");
  world.deploy("1.1.0");
  EXPECT_THAT(world.watch().violations(), ::testing::Contains(HasSubstr("1 is the most")));
}

TEST(ARollback, GoesToTheVersionThatServedAndNeverToAnotherBadOne) {
  World world({.size = 3});
  world.publish("1.0.0");
  world.deploy("1.0.0");
  for (const char* bad : {"1.1.0", "1.2.0", "1.3.0"}) {
    world.publish(bad, Mood::answers_500);
    EXPECT_EQ(world.deploy(bad).outcome, Outcome::rolled_back);
    world.expect_all_on("1.0.0");
  }
  world.publish("1.4.0");
  EXPECT_EQ(world.deploy("1.4.0").outcome, Outcome::done);
  EXPECT_EQ(world.roll_back().outcome, Outcome::done);
  world.expect_all_on("1.0.0");
  EXPECT_EQ(world.watch().accidents(), 0u);
}

TEST(ARollback, OfAVersionThatTurnsBadWhileItIsHeldLeavesTheHealthyFleetUntilItsOwnServes) {
  World world({.size = 3, .bake = std::chrono::minutes(2)});
  world.publish("1.0.0");
  world.deploy("1.0.0");
  world.publish("1.1.0", Mood::turns_bad);
  Result result = world.deploy("1.1.0");
  EXPECT_EQ(result.outcome, Outcome::rolled_back) << result.why;
  EXPECT_EQ(result.exit(), 3);
  world.expect_all_on("1.0.0");
}

TEST(ARollback, GoesToAVersionThatIsDownJustWhenTheDeploymentBegins) {
  World world({.size = 1});
  world.publish("1.0.0");
  world.deploy("1.0.0");
  world.publish("1.1.0", Mood::answers_500);
  world.kill_machine(world.running().at(0));
  Result result = world.deploy("1.1.0");
  EXPECT_EQ(result.outcome, Outcome::rolled_back) << result.why;
  world.expect_all_on("1.0.0");
}

TEST(SurgeArithmetic, CannotTakeTheLastInstanceDown) {
  for (int size : {1, 2, 3}) {
    SCOPED_TRACE(size);
    World world({.size = size});
    world.publish("1.0.0");
    world.deploy("1.0.0");
    world.publish("1.1.0");
    EXPECT_EQ(world.deploy("1.1.0").outcome, Outcome::done);
    world.expect_all_on("1.1.0");
    EXPECT_EQ(world.watch().accidents(), 0u);
  }
}

TEST(Traffic, DoesNotMoveBeforeTargetsAreHealthy) {
  World world({.size = 2});
  world.publish("1.0.0");
  world.deploy("1.0.0");
  world.publish("1.1.0", Mood::slow);
  bool waited = false;
  world.on_look = [&](const deploy::Moment& moment) {
    // A new instance runs, and nothing is sent to it yet.
    for (const auto& instance : moment.fleet.group->instances) {
      waited |= instance.template_version == 2 && !world.watch().serving().contains("1.1.0");
    }
  };
  EXPECT_EQ(world.deploy("1.1.0").outcome, Outcome::done);
  EXPECT_TRUE(waited);
  world.expect_all_on("1.1.0");
}

TEST(AFailure, IsFoundInMinutesAndExplainedAndNotInAnHour) {
  for (Mood mood : {Mood::answers_500, Mood::never_serves, Mood::cannot_launch, Mood::crashes}) {
    SCOPED_TRACE(static_cast<int>(mood));
    World world({.size = 4});
    world.publish("1.0.0");
    world.deploy("1.0.0");
    world.publish("1.1.0", mood);
    Result result = world.deploy("1.1.0");
    EXPECT_EQ(result.outcome, Outcome::rolled_back);
    EXPECT_LT(result.took, std::chrono::minutes(5)) << result.why;
    EXPECT_THAT(result.why, Not(HasSubstr("an hour")));
  }
}

TEST(TheExitCode, OfAFirstVersionThatDoesNotWorkIsNotZeroAndItEnds) {
  World world({.size = 2});
  world.publish("1.0.0", Mood::never_serves);
  Result result = world.deploy("1.0.0");
  EXPECT_EQ(result.exit(), 4) << result.why;
  EXPECT_THAT(result.why, HasSubstr("no version before it"));
}

// The group is scaled by somebody else in the middle: their number is kept, and all of it is the new version.
TEST(Scaling, DuringADeploymentIsHarmless) {
  World world({.size = 2});
  world.publish("1.0.0");
  world.deploy("1.0.0");
  world.publish("1.1.0");
  int looks = 0;
  world.on_look = [&](const deploy::Moment&) {
    if (++looks != 4) return;
    wire::autoscaling::SetDesiredCapacityType request;
    request.auto_scaling_group_name = world.names.group;
    request.desired_capacity = 4;
    world.client().call<wire::autoscaling::SetDesiredCapacity>(request);
  };
  EXPECT_EQ(world.deploy("1.1.0").outcome, Outcome::done);
  EXPECT_GT(looks, 4);
  world.pass(std::chrono::minutes(2));
  EXPECT_THAT(world.watch().serving(), ::testing::ElementsAre(::testing::Pair("1.1.0", 4u)));
  world.expect_nothing_violated();
}

// Who ends a rollout must know that its own way back is whole: an image that was let go is found before anything
// changes.
TEST(ARollback, ToAnImageThatIsGoneIsRefusedBeforeAnythingChanges) {
  World world({.size = 2});
  world.publish("1.0.0");
  world.deploy("1.0.0");
  world.publish("1.1.0");
  world.deploy("1.1.0");
  wire::ec2::DeregisterImageRequest request;
  request.image_id = world.wanted("1.0.0").ami;
  world.client().call<wire::ec2::DeregisterImage>(request);
  EXPECT_THROW(world.roll_back(), Error);
  world.expect_all_on("1.1.0");
}

}  // namespace
}  // namespace kiln::simulation
