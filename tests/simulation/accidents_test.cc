// Accidents: machines that die, boot slowly or cannot be launched, calls that are throttled or whose answers are lost,
// a control plane that dies, all at moments that a seed chooses. Whatever happens, the deployment ends, its outcome is
// the truth, and nothing that Kiln or the region decided takes capacity away.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "world.h"

namespace kiln::simulation {
namespace {

using deploy::Outcome;
using deploy::Result;

// One in `n`.
bool rarely(host::Random& chance, std::uint64_t n) { return chance.below(n) == 0; }

class Accidents : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  Accidents() : world({.seed = GetParam(), .size = static_cast<int>(1 + GetParam() % 5)}), chance(GetParam() * 104729) {
    world.publish("1.0.0");
    EXPECT_EQ(world.deploy("1.0.0").outcome, Outcome::done);
  }

  void lose_calls() {
    world.on_call = [this](const http::Request&) {
      switch (chance.below(60)) {
        case 0:
          return CallFault::throttled;
        case 1:
          return CallFault::fails;
        case 2:
          return CallFault::answer_lost;
        default:
          return CallFault::none;
      }
    };
  }
  void boot_slowly() {
    world.on_launch = [this](machine::Behaviour& behaviour) {
      if (rarely(chance, 3)) behaviour.start = Duration(1'000 + chance.below(9'000));
      if (rarely(chance, 3)) behaviour.serves = Duration(1'000 + chance.below(9'000));
      if (rarely(chance, 12)) behaviour.launch_failure = "no capacity just now";
    };
  }
  // `machines` and `regions` are how many of each die at most; a mean time between deaths in ticks of 100 ms.
  void kill(int machines, int regions, std::uint64_t mean_ticks) {
    world.on_tick = [this, machines, regions, mean_ticks]() mutable {
      if (machines > 0 && rarely(chance, mean_ticks)) {
        const auto running = world.running();
        if (!running.empty()) {
          --machines;
          world.kill_machine(running[chance.below(running.size())]);
        }
      }
      if (regions > 0 && rarely(chance, mean_ticks)) {
        --regions;
        throw RegionDied{};
      }
    };
  }
  void stop() {
    world.on_tick = nullptr;
    world.on_call = nullptr;
    world.on_launch = nullptr;
  }
  void expect_the_truth(const Result& result, const std::string& before, const std::string& wanted) {
    stop();
    SCOPED_TRACE(fmt::format("{}: {}", deploy::to_string(result.outcome), result.why));
    ASSERT_THAT(result.outcome, ::testing::AnyOf(Outcome::done, Outcome::rolled_back, Outcome::failed));
    EXPECT_EQ(result.exit(), deploy::exit_code(result.outcome));
    world.expect_all_on(result.outcome == Outcome::done ? wanted : before);
  }

  World world;
  host::SeededRandom chance;
};

TEST_P(Accidents, OfCallsLeaveADeploymentThatSucceeds) {
  world.publish("1.1.0");
  lose_calls();
  Result result = world.deploy_whatever_happens("1.1.0");
  EXPECT_EQ(result.outcome, Outcome::done) << result.why;
  expect_the_truth(result, "1.0.0", "1.1.0");
}

TEST_P(Accidents, OfMachinesAndTheControlPlaneEndInTheTruth) {
  world.publish("1.1.0");
  boot_slowly();
  kill(2, 2, 60);
  expect_the_truth(world.deploy_whatever_happens("1.1.0"), "1.0.0", "1.1.0");
}

TEST_P(Accidents, OfEveryKindAtOnceDuringABadVersionStillGoBack) {
  world.publish("1.1.0", GetParam() % 2 == 0 ? Mood::answers_500 : Mood::never_serves);
  lose_calls();
  kill(1, 1, 80);
  Result result = world.deploy_whatever_happens("1.1.0");
  EXPECT_NE(result.outcome, Outcome::done) << result.why;
  expect_the_truth(result, "1.0.0", "1.1.0");
}

INSTANTIATE_TEST_SUITE_P(Seeds, Accidents, ::testing::Range<std::uint64_t>(1, 13));

}  // namespace
}  // namespace kiln::simulation
