// Retry: backoff and the retry quota.
#include "aws/retry.h"

#include <algorithm>
#include <cmath>

namespace kiln::aws {

Duration backoff(const RetryPolicy& policy, int attempt, host::Random& random) {
  // Beyond 2^30 times the base every cap is reached.
  const double factor = std::ldexp(1.0, std::clamp(attempt - 1, 0, 30));
  const double full = std::min(static_cast<double>(policy.backoff_base.count()) * factor,
                               static_cast<double>(policy.backoff_max.count()));
  return Duration(static_cast<std::int64_t>(random.unit() * full));
}

bool RetryQuota::take(int cost) {
  std::lock_guard lock(mutex_);
  if (left_ < cost) {
    return false;
  }
  left_ -= cost;
  return true;
}

void RetryQuota::give_back(int amount) {
  std::lock_guard lock(mutex_);
  left_ = std::min(left_ + amount, capacity);
}

int RetryQuota::left() const {
  std::lock_guard lock(mutex_);
  return left_;
}

}  // namespace kiln::aws
