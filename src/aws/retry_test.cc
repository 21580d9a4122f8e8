// Retry: how long, and when no more.
#include "aws/retry.h"

#include <gtest/gtest.h>

namespace kiln::aws {
namespace {

class Fixed final : public host::Random {
 public:
  explicit Fixed(std::uint64_t value) : value_(value) {}
  std::uint64_t next() override { return value_; }

 private:
  std::uint64_t value_;
};

TEST(Backoff, DoublesUpToItsCapAndIsDrawnBelowIt) {
  Fixed highest(~std::uint64_t{0}), lowest(0);
  const int seconds[] = {1, 2, 4, 8, 16, 20, 20};
  for (int attempt = 1; attempt <= 7; ++attempt) {
    EXPECT_NEAR(static_cast<double>(backoff({}, attempt, highest).count()), seconds[attempt - 1] * 1000.0, 1.0);
    EXPECT_EQ(backoff({}, attempt, lowest), Duration::zero());
  }
  EXPECT_LE(backoff({}, 1'000'000, highest), Duration(20'000));
}

TEST(Backoff, IsSpreadOverTheWholeInterval) {
  host::SeededRandom random(7);
  int low = 0;
  for (int i = 0; i < 1000; ++i) {
    low += backoff({}, 3, random) < Duration(2000);
  }
  EXPECT_NEAR(low, 500, 80);
}

TEST(RetryQuota, EndsRetriesWhenTooManyFail) {
  RetryQuota quota;
  int retries = 0;
  while (quota.take(RetryQuota::retry_cost)) {
    ++retries;
  }
  EXPECT_EQ(retries, 100);
  EXPECT_FALSE(quota.take(RetryQuota::retry_cost));
  quota.give_back(RetryQuota::retry_cost);
  EXPECT_FALSE(quota.take(RetryQuota::timeout_cost));
  EXPECT_TRUE(quota.take(RetryQuota::retry_cost));
}

TEST(RetryQuota, NeverHoldsMoreThanItsCapacity) {
  RetryQuota quota;
  quota.give_back(1000);
  EXPECT_EQ(quota.left(), RetryQuota::capacity);
}

}  // namespace
}  // namespace kiln::aws
