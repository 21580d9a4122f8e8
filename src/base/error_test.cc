// What an error says.
#include "base/error.h"

#include <gtest/gtest.h>

namespace kiln {

TEST(Error, ReadsFromTheOutermostAttemptToTheCause) {
  Error error(ErrorCode::disk_full, "no space left on /var");
  error.add_context("launching i-1").add_context("deploying web");
  EXPECT_STREQ(error.what(), "deploying web: launching i-1: no space left on /var (disk full)");
}

TEST(Error, KeepsTheAdviceOfTheRoomThatKnowsBest) {
  Error error(ErrorCode::io, "x", "Free some space.");
  error.suggest("Try again.");
  EXPECT_EQ(error.next(), "Free some space.");
}

TEST(Error, GainsContextAsItClimbs) {
  try {
    with_context("outer", [] { return with_context("inner", []() -> int { throw Error(ErrorCode::io, "cause"); }); });
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.context(), (std::vector<std::string>{"inner", "outer"}));
  }
}

TEST(ErrorDeathTest, ABrokenInvariantAbortsAndSaysWhy) {
  EXPECT_DEATH(KILN_ASSERT(1 == 2, "numbers differ"), "numbers differ");
}

}  // namespace kiln
