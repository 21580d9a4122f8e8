// SimulatedLoop: virtual time in one thread; what is due at the same moment runs in the order in which it was asked
// for.
#include <deque>

#include "base/error.h"
#include "host/internal/timers.h"
#include "host/loop.h"

namespace kiln::host {

struct SimulatedLoop::State {
  explicit State(Time start) : clock(start) {}
  SimulatedClock clock;
  std::deque<std::function<void()>> tasks;
  Timers timers;
  std::function<void()> turn_end;

  // Runs one task or due timer; false when nothing is due now.
  bool step() {
    std::function<void()> task;
    if (!tasks.empty()) {
      task = std::move(tasks.front());
      tasks.pop_front();
    } else {
      task = timers.take(clock.uptime());
      if (!task) return false;
    }
    task();
    if (turn_end) turn_end();
    return true;
  }
};

SimulatedLoop::SimulatedLoop(Time start) : state_(std::make_unique<State>(start)) {}
SimulatedLoop::~SimulatedLoop() = default;

void SimulatedLoop::run_until(Time until) {
  run_while_not([] { return false; }, until - state_->clock.now());
}

bool SimulatedLoop::run_while_not(const std::function<bool()>& done, Duration budget) {
  State& s = *state_;
  Duration end = s.clock.uptime() + std::max(budget, Duration(0));
  while (true) {
    if (done()) return true;
    if (s.step()) continue;
    const std::optional<Duration> first = s.timers.first();
    if (!first || *first > end) {
      if (end > s.clock.uptime()) s.clock.advance(end - s.clock.uptime());
      return done();
    }
    s.clock.advance(*first - s.clock.uptime());
  }
}

SimulatedClock& SimulatedLoop::simulated_clock() { return state_->clock; }
Clock& SimulatedLoop::clock() { return state_->clock; }
void SimulatedLoop::post(std::function<void()> task) { state_->tasks.push_back(std::move(task)); }

TimerId SimulatedLoop::after(Duration delay, std::function<void()> task) {
  return state_->timers.add(state_->clock.uptime() + std::max(delay, Duration(0)), std::move(task));
}

void SimulatedLoop::cancel(TimerId timer) { state_->timers.cancel(timer); }

void SimulatedLoop::offload(std::function<void()> work, std::function<void(std::exception_ptr)> done) {
  std::exception_ptr failure;
  try {
    work();
  } catch (...) {
    failure = std::current_exception();
  }
  post([done = std::move(done), failure] { done(failure); });
}

void SimulatedLoop::set_turn_end(std::function<void()> hook) { state_->turn_end = std::move(hook); }

}  // namespace kiln::host
