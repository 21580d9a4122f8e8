// Deaths: the deployer at each of its steps, the region at each of its commits. Whoever comes after goes on to the same
// end, and nobody who asks the load balancer notices.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "deploy/history.h"
#include "world.h"

namespace kiln::simulation {
namespace {

using deploy::Outcome;
using deploy::Result;

enum class Story { first, replacement, way_back, bad_version };

struct Tale {
  const char* name;
  Story story;
  Outcome outcome;
  const char* serves;  // at the end
};

constexpr Tale kTales[] = {
    {"first", Story::first, Outcome::done, "1.0.0"},
    {"replacement", Story::replacement, Outcome::done, "1.1.0"},
    {"way_back", Story::way_back, Outcome::done, "1.0.0"},
    {"bad_version", Story::bad_version, Outcome::rolled_back, "1.0.0"},
};

// What was there before the part of the story that is told with deaths in it.
void prepare(World& world, Story story) {
  world.publish("1.0.0");
  if (story == Story::first) return;
  EXPECT_EQ(world.deploy("1.0.0").outcome, Outcome::done);
  world.publish("1.1.0", story == Story::bad_version ? Mood::answers_500 : Mood::good);
  if (story == Story::way_back) {
    EXPECT_EQ(world.deploy("1.1.0").outcome, Outcome::done);
  }
}

Result tell(World& world, Story story) {
  switch (story) {
    case Story::first:
      return world.deploy_whatever_happens("1.0.0");
    case Story::replacement:
    case Story::bad_version:
      return world.deploy_whatever_happens("1.1.0");
    case Story::way_back:
      return world.roll_back_whatever_happens();
  }
  throw std::logic_error("no such story");
}

// How many steps of each kind the story has when nobody dies.
Deaths count_steps(Story story) {
  World world;
  prepare(world, story);
  world.plan_deaths({});
  tell(world, story);
  return {world.appends(), world.calls(), world.calls(), world.commits()};
}

class KilledAtEvery : public ::testing::TestWithParam<Tale> {
 protected:
  void dies_at_every(int Deaths::*kind) {
    const int steps = count_steps(GetParam().story).*kind;
    ASSERT_GE(steps, 1);
    for (int step = 1; step <= steps && !HasFailure(); ++step) {
      SCOPED_TRACE(fmt::format("step {} of {}", step, steps));
      Deaths deaths;
      deaths.*kind = step;
      dies_at(deaths);
    }
  }

 private:
  void dies_at(const Deaths& deaths) {
    World world;
    prepare(world, GetParam().story);
    world.plan_deaths(deaths);
    Result result = tell(world, GetParam().story);
    EXPECT_TRUE(world.died()) << "the planned death did not happen";
    EXPECT_EQ(result.outcome, GetParam().outcome) << result.why;
    world.expect_all_on(GetParam().serves);
    EXPECT_EQ(world.count_kind(std::string(deploy::kStarted)), world.count_kind(std::string(deploy::kFinished)))
        << "a deployment was left unfinished, or begun twice";
  }
};

TEST_P(KilledAtEvery, AppendOfTheLedgerItGoesOnToTheSameEnd) { dies_at_every(&Deaths::append); }

TEST_P(KilledAtEvery, CallBeforeItGoesOutItGoesOnToTheSameEnd) { dies_at_every(&Deaths::before_call); }

// The call took effect, and nobody knows.
TEST_P(KilledAtEvery, CallBeforeItsAnswerIsReadItGoesOnToTheSameEnd) { dies_at_every(&Deaths::after_call); }

TEST_P(KilledAtEvery, CommitOfTheRegionItGoesOnToTheSameEnd) { dies_at_every(&Deaths::commit); }

INSTANTIATE_TEST_SUITE_P(Tales, KilledAtEvery, ::testing::ValuesIn(kTales),
                         [](const auto& tale) { return std::string(tale.param.name); });

// Both die, again and again, at places that the seed chooses.
class KilledAtRandom : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(KilledAtRandom, BothGoOnToTheSameEnd) {
  World world({.seed = GetParam(), .size = static_cast<int>(1 + GetParam() % 4)});
  prepare(world, Story::replacement);
  host::SeededRandom chance(GetParam() * 7919);
  for (int round = 0; round < 3; ++round) {
    world.plan_deaths({.append = static_cast<int>(1 + chance.below(12)),
                       .after_call = static_cast<int>(1 + chance.below(6)),
                       .commit = static_cast<int>(1 + chance.below(80))});
    const std::string version = round % 2 == 0 ? "1.1.0" : "1.0.0";
    Result result = world.deploy_whatever_happens(version);
    EXPECT_EQ(result.outcome, Outcome::done) << result.why;
    world.expect_all_on(version);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, KilledAtRandom, ::testing::Range<std::uint64_t>(1, 13));

TEST(ARegionThatIsAway, ForTwoMinutesOnlyDelaysTheDeployment) {
  World world;
  prepare(world, Story::replacement);
  bool killed = false;
  world.on_tick = [&] {
    // In the middle: some of the new version serve, and some of the old one still do.
    if (killed || world.watch().serving().size() < 2) return;
    killed = true;
    throw RegionDied{};
  };
  world.away_after_death = std::chrono::minutes(2);
  Result result = world.deploy("1.1.0");
  EXPECT_TRUE(killed);
  EXPECT_EQ(result.outcome, Outcome::done) << result.why;
  world.expect_all_on("1.1.0");
}

}  // namespace
}  // namespace kiln::simulation
