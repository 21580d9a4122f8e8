// Wait: looks again and again until something holds.
#include "aws/wait.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"

namespace kiln::aws {

namespace {

// How long the user's wish to stop may go unheard.
constexpr Duration cancel_interval(1000);

void sleep_unless_cancelled(host::Clock& clock, Duration time, const Wait& wait) {
  while (time > Duration::zero()) {
    Duration slice = wait.cancelled ? std::min(time, cancel_interval) : time;
    clock.sleep(slice);
    time -= slice;
    if (time > Duration::zero() && wait.cancelled && wait.cancelled()) {
      return;  // the caller asks once more, and throws
    }
  }
}

}  // namespace

Duration wait_until(host::Clock& clock, const Wait& wait, const std::function<Seen()>& probe) {
  const Duration start = clock.uptime();
  const Time since = clock.now();
  for (;;) {
    if (wait.cancelled && wait.cancelled()) {
      throw Error(ErrorCode::cancelled,
                  fmt::format("waiting for {}: cancelled after {}", wait.what, format_seconds(clock.uptime() - start)));
    }
    const bool last_look = clock.uptime() - start >= wait.budget;
    Seen seen = probe();
    const Duration waited = clock.uptime() - start;
    if (seen.done) {
      return waited;
    }
    if (last_look) {
      throw Error(ErrorCode::timeout,
                  fmt::format("waited {} for {}, since {}; last seen: {}", format_seconds(waited), wait.what,
                              format_iso8601(since), seen.state.empty() ? "nothing" : seen.state));
    }
    const Duration interval = std::clamp(waited / 4, wait.interval_min, wait.interval_max);
    const Duration left = std::max(wait.budget - waited, Duration(1));
    sleep_unless_cancelled(clock, std::min(interval, left), wait);
  }
}

}  // namespace kiln::aws
