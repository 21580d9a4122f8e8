// SimulatedLoop: virtual time in one thread; what is due at the same moment runs in the order in which it was asked
// for.
#include <deque>
#include <map>

#include "base/error.h"
#include "host/loop.h"

namespace kiln::host {

struct SimulatedLoop::State {
  explicit State(Time start) : clock(start) {}
  SimulatedClock clock;
  std::deque<std::function<void()>> tasks;
  std::map<std::pair<Duration, TimerId>, std::function<void()>> timers;
  std::map<TimerId, Duration> due;
  TimerId next_timer = 1;
  std::function<void()> turn_end;

  // Runs one task or due timer; false when nothing is due now.
  bool step() {
    std::function<void()> task;
    if (!tasks.empty()) {
      task = std::move(tasks.front());
      tasks.pop_front();
    } else if (!timers.empty() && timers.begin()->first.first <= clock.uptime()) {
      auto node = timers.extract(timers.begin());
      due.erase(node.key().second);
      task = std::move(node.mapped());
    } else {
      return false;
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
    if (s.timers.empty() || s.timers.begin()->first.first > end) {
      if (end > s.clock.uptime()) s.clock.advance(end - s.clock.uptime());
      return done();
    }
    s.clock.advance(s.timers.begin()->first.first - s.clock.uptime());
  }
}

SimulatedClock& SimulatedLoop::simulated_clock() { return state_->clock; }
Clock& SimulatedLoop::clock() { return state_->clock; }
void SimulatedLoop::post(std::function<void()> task) { state_->tasks.push_back(std::move(task)); }

TimerId SimulatedLoop::after(Duration delay, std::function<void()> task) {
  Duration due = state_->clock.uptime() + std::max(delay, Duration(0));
  TimerId id = state_->next_timer++;
  state_->timers.emplace(std::pair(due, id), std::move(task));
  state_->due.emplace(id, due);
  return id;
}

void SimulatedLoop::cancel(TimerId timer) {
  auto it = state_->due.find(timer);
  if (it == state_->due.end()) return;
  state_->timers.erase({it->second, timer});
  state_->due.erase(it);
}

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
