// Wait, in virtual time.
#include "aws/wait.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"

namespace kiln::aws {
namespace {

using testing::failure;
using ::testing::HasSubstr;

class Waiting : public ::testing::Test {
 protected:
  Duration elapsed() const { return clock.uptime(); }
  host::SimulatedClock clock{parse_iso8601("2026-11-24T03:00:00Z")};
  Wait wait{"instance i-1 to be running", Duration(60'000), Duration(200), Duration(15'000), {}};
};

TEST_F(Waiting, LooksAtOnceAndGivesHowLongItTook) {
  EXPECT_EQ(wait_until(clock, wait, [] { return Seen{true, "running"}; }), Duration::zero());
  const Duration took = wait_until(clock, wait, [&] { return Seen{elapsed() >= Duration(1000), "pending"}; });
  EXPECT_EQ(took, elapsed());
  EXPECT_GE(took, Duration(1000));
}

TEST_F(Waiting, LooksQuicklyAtFirstAndSeldomLater) {
  wait.budget = Duration(600'000);
  std::vector<Duration> looks;
  wait_until(clock, wait, [&] {
    looks.push_back(elapsed());
    return Seen{elapsed() >= Duration(500'000), ""};
  });
  EXPECT_EQ(looks[1] - looks[0], Duration(200));
  for (std::size_t i = 1; i < looks.size(); ++i) {
    EXPECT_GE(looks[i] - looks[i - 1], Duration(200));
    EXPECT_LE(looks[i] - looks[i - 1], Duration(15'000));
  }
  EXPECT_EQ(looks[looks.size() - 2] - looks[looks.size() - 3], Duration(15'000));
  EXPECT_LT(looks.size(), 60u);
}

TEST_F(Waiting, SaysWhatItWaitedForSinceWhenAndWhatItSawLast) {
  int looks = 0;
  const Error error = failure([&] {
    wait_until(clock, wait, [&] {
      ++looks;
      return Seen{false, elapsed() < Duration(60'000) ? "pending" : "still pending"};
    });
  });
  EXPECT_EQ(error.code(), ErrorCode::timeout);
  EXPECT_THAT(error.message(), HasSubstr("for instance i-1 to be running, since 2026-11-24T03:00:00.000Z"));
  EXPECT_THAT(error.message(), HasSubstr("last seen: still pending"));
  EXPECT_EQ(elapsed(), Duration(60'000));
  EXPECT_GT(looks, 2);
}

TEST_F(Waiting, LooksOnceEvenWithoutABudget) {
  wait.budget = Duration::zero();
  int looks = 0;
  EXPECT_THROW(wait_until(clock, wait,
                          [&] {
                            ++looks;
                            return Seen{false, ""};
                          }),
               Error);
  EXPECT_EQ(looks, 1);
}

TEST_F(Waiting, HearsACancellationWithinASecond) {
  wait.interval_min = Duration(15'000);
  wait.cancelled = [&] { return elapsed() >= Duration(2500); };
  const Error error = failure([&] { wait_until(clock, wait, [] { return Seen{}; }); });
  EXPECT_EQ(error.code(), ErrorCode::cancelled);
  EXPECT_LE(elapsed(), Duration(3500));
}

TEST_F(Waiting, EndsWithWhatTheProbeThrows) {
  EXPECT_THROW(wait_until(clock, wait, []() -> Seen { throw Error(ErrorCode::not_found, "gone"); }), Error);
  EXPECT_EQ(elapsed(), Duration::zero());
}

}  // namespace
}  // namespace kiln::aws
