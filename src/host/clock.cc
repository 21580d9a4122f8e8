// Clock: the machine's.
#include "host/clock.h"

#include <thread>

namespace kiln::host {

Time SystemClock::now() const { return std::chrono::floor<Duration>(std::chrono::system_clock::now()); }

Duration SystemClock::uptime() const {
  return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch());
}

void SystemClock::sleep(Duration duration) { std::this_thread::sleep_for(duration); }

}  // namespace kiln::host
