// Loop: one thread that owns some state; timers and posted closures run on it one after another, in order.
//
// Slow work (mounts, process starts, blocking calls) goes to `offload`: it runs on a bounded pool, and what it returns
// is handed to a closure on the loop. The simulated loop runs everything in one thread in virtual time, in an order
// that depends on nothing but what was asked of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/time.h"
#include "host/clock.h"

namespace kiln::host {

using TimerId = std::uint64_t;

class Loop {
 public:
  virtual ~Loop() = default;

  virtual Clock& clock() = 0;
  Time now() { return clock().now(); }

  // From any thread: runs `task` on the loop as soon as it may.
  virtual void post(std::function<void()> task) = 0;
  // On the loop's thread only: runs `task` on the loop once, not before `delay` from now. The id is never 0.
  virtual TimerId after(Duration delay, std::function<void()> task) = 0;
  // On the loop's thread only. A timer that has run, or was cancelled, is ignored.
  virtual void cancel(TimerId timer) = 0;
  // From any thread: runs `work` off the loop, then `done` on it. `work` must not touch the loop's state. An exception
  // that leaves `work` is given to `done`.
  virtual void offload(std::function<void()> work, std::function<void(std::exception_ptr)> done) = 0;
  // True on the thread that runs the loop's tasks.
  virtual bool on_loop() const = 0;
  // Runs after each turn of tasks, before the next wait: the place to commit what the turn has changed, and then to
  // answer.
  virtual void set_turn_end(std::function<void()> hook) = 0;
};

// The real one: `run` makes the calling thread the loop's until `stop`.
class ThreadLoop final : public Loop {
 public:
  // `workers` bounds the pool behind `offload`; its threads start when they are first needed.
  ThreadLoop(Clock& clock, std::size_t workers);
  ~ThreadLoop() override;  // `run` must have returned; waits for work that is under way and drops its results

  void run();
  void stop();  // from any thread and from signal-free code; `run` returns after the current turn

  Clock& clock() override;
  void post(std::function<void()> task) override;
  TimerId after(Duration delay, std::function<void()> task) override;
  void cancel(TimerId timer) override;
  void offload(std::function<void()> work, std::function<void(std::exception_ptr)> done) override;
  bool on_loop() const override;
  void set_turn_end(std::function<void()> hook) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Virtual time in the calling thread. `offload` runs its work at once and posts `done`.
class SimulatedLoop final : public Loop {
 public:
  explicit SimulatedLoop(Time start);
  ~SimulatedLoop() override;

  // Runs what is due now, then moves the clock to the next timer, until `until` has passed or nothing is left.
  void run_until(Time until);
  void run_for(Duration duration) { run_until(simulated_clock().now() + duration); }
  // Runs until `done()` holds, checked after each task; false when `budget` of virtual time ran out first.
  bool run_while_not(const std::function<bool()>& done, Duration budget);
  SimulatedClock& simulated_clock();

  Clock& clock() override;
  void post(std::function<void()> task) override;
  TimerId after(Duration delay, std::function<void()> task) override;
  void cancel(TimerId timer) override;
  void offload(std::function<void()> work, std::function<void(std::exception_ptr)> done) override;
  bool on_loop() const override { return true; }
  void set_turn_end(std::function<void()> hook) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Runs `body` on the loop and waits for what it returns; an exception climbs to the caller. Never call it on the loop.
void call_on(Loop& loop, const std::function<void()>& body);

}  // namespace kiln::host
