// Retry: whether and when a failed call is tried again: the AWS SDKs' standard mode.
//
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
#pragma once

#include <mutex>

#include "base/time.h"
#include "host/random.h"

namespace kiln::aws {

struct RetryPolicy {
  int attempts_max = 3;         // the first one counts
  Duration backoff_base{1000};  // standard mode: rand(0, 1) * min(base * 2^i, cap)
  Duration backoff_max{20'000};
};

// Full jitter, for the wait before attempt `attempt` + 1 (attempts count from 1).
Duration backoff(const RetryPolicy& policy, int attempt, host::Random& random);

// The standard mode's token bucket: when most calls fail, retries stop, so that clients do not keep a sick service
// down. Safe to use from several threads.
class RetryQuota {
 public:
  static constexpr int capacity = 500;
  static constexpr int retry_cost = 5;
  static constexpr int timeout_cost = 10;

  // False when too many retries are spent; nothing is taken then.
  bool take(int cost);
  // After a success: what its last retry took, or 1 when there was none.
  void give_back(int amount);
  int left() const;

 private:
  mutable std::mutex mutex_;
  int left_ = capacity;
};

}  // namespace kiln::aws
