// Wait: looks again and again until something holds, within a budget.
#pragma once

#include <functional>
#include <string>

#include "base/time.h"
#include "host/clock.h"

namespace kiln::aws {

struct Wait {
  std::string what;  // "instance i-0a1b to be running", after "waiting for"
  Duration budget{};
  // The first looks come quickly, later ones at up to `interval_max`: each wait is a quarter of the time waited so far.
  Duration interval_min{200};
  Duration interval_max{15'000};
  std::function<bool()> cancelled;  // asked before each look, and at least each second: then Error(cancelled)
};

struct Seen {
  bool done = false;
  std::string state;  // for people: "pending"
};

// Calls `probe` until it is done; at least once, and once more when the budget is over. What `probe` throws ends the
// wait. Throws Error(timeout) that says what it waited for, how long and since when, and what was last seen.
// Gives how long it took.
Duration wait_until(host::Clock& clock, const Wait& wait, const std::function<Seen()>& probe);

}  // namespace kiln::aws
