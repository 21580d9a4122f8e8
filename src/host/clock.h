// Clock: what time it is, and waiting. Only `host` reads the machine's clock or sleeps.
#pragma once

#include <atomic>

#include "base/time.h"

namespace kiln::host {

// Safe to use from several threads.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;         // wall time; may jump
  virtual Duration uptime() const = 0;  // monotonic; for budgets and intervals
  virtual void sleep(Duration duration) = 0;
};

class SystemClock final : public Clock {
 public:
  Time now() const override;
  Duration uptime() const override;
  void sleep(Duration duration) override;
};

// Stands still until told: `advance`, or `sleep`, which advances it at once.
class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(Time start) : start_(start) {}
  Time now() const override { return start_ + Duration(elapsed_ms_.load()); }
  Duration uptime() const override { return Duration(elapsed_ms_.load()); }
  void sleep(Duration duration) override { advance(duration); }
  void advance(Duration duration) { elapsed_ms_ += duration.count(); }

 private:
  Time start_;
  std::atomic<std::int64_t> elapsed_ms_{0};
};

}  // namespace kiln::host
