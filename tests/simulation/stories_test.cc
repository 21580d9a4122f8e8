// Stories: what a deployment comes to, for fleets of several sizes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "fleet/observe.h"
#include "world.h"

namespace kiln::simulation {
namespace {

using deploy::Outcome;
using deploy::Result;
using ::testing::HasSubstr;

class FleetOf : public ::testing::TestWithParam<int> {
 protected:
  World world{{.size = GetParam()}};
};

TEST_P(FleetOf, IsMadeReplacedAndTakenBackWithoutAnybodyNoticing) {
  world.publish("1.0.0");
  world.publish("1.1.0");
  Result first = world.deploy("1.0.0");
  EXPECT_EQ(first.outcome, Outcome::done) << first.why;
  world.expect_all_on("1.0.0");

  Result second = world.deploy("1.1.0");
  EXPECT_EQ(second.outcome, Outcome::done) << second.why;
  world.expect_all_on("1.1.0");

  Result back = world.roll_back();
  EXPECT_EQ(back.outcome, Outcome::done) << back.why;
  world.expect_all_on("1.0.0");
  EXPECT_EQ(world.watch().accidents(), 0u);

  world.destroy();
  EXPECT_TRUE(world.running().empty());
  EXPECT_TRUE(fleet::look(world.client(), world.names).empty());
}

TEST_P(FleetOf, GoesBackByItselfFromAVersionThatDoesNotWork) {
  world.publish("1.0.0");
  world.deploy("1.0.0");
  int number = 1;
  for (Mood mood : {Mood::answers_500, Mood::never_serves, Mood::cannot_launch, Mood::crashes}) {
    const std::string bad = "1." + std::to_string(number++) + ".0";
    SCOPED_TRACE(bad);
    world.publish(bad, mood);
    Result result = world.deploy(bad);
    EXPECT_EQ(result.outcome, Outcome::rolled_back) << result.why;
    EXPECT_EQ(result.exit(), 3);
    EXPECT_THAT(result.why, HasSubstr(bad + " was rolled back: "));
    EXPECT_THAT(result.why, HasSubstr("1.0.0 serves all traffic"));
    EXPECT_EQ(result.why.find('\n'), std::string::npos);
    world.expect_all_on("1.0.0");
  }
}

TEST_P(FleetOf, TakesAVersionThatIsSlowToStart) {
  world.publish("1.0.0");
  world.publish("1.1.0", Mood::slow);
  world.deploy("1.0.0");
  Result result = world.deploy("1.1.0");
  EXPECT_EQ(result.outcome, Outcome::done) << result.why;
  world.expect_all_on("1.1.0");
}

INSTANTIATE_TEST_SUITE_P(Sizes, FleetOf, ::testing::Values(1, 2, 3, 4, 7));

}  // namespace
}  // namespace kiln::simulation
