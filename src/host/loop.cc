// ThreadLoop: tasks and timers on one thread, slow work on a few others.
#include "host/loop.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "host/internal/timers.h"

namespace kiln::host {

struct ThreadLoop::State {
  State(Clock& the_clock, std::size_t worker_count) : clock(the_clock), workers_max(worker_count) {}

  Clock& clock;
  const std::size_t workers_max;

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> tasks;
  bool stopping = false;

  // Touched on the loop's thread only.
  Timers timers;
  std::function<void()> turn_end;
  std::thread::id thread;

  std::mutex work_mutex;
  std::condition_variable work_wake;
  std::deque<std::function<void()>> work;
  std::vector<std::thread> workers;
  std::size_t idle = 0;
  bool work_over = false;
};

ThreadLoop::ThreadLoop(Clock& clock, std::size_t workers) : state_(std::make_unique<State>(clock, workers)) {
  KILN_ASSERT(workers > 0, "a pool has at least one worker");
}

ThreadLoop::~ThreadLoop() {
  {
    std::lock_guard lock(state_->work_mutex);
    state_->work_over = true;
    state_->work.clear();
  }
  state_->work_wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

void ThreadLoop::run() {
  State& s = *state_;
  {
    std::lock_guard lock(s.mutex);
    s.thread = std::this_thread::get_id();
  }
  while (true) {
    std::deque<std::function<void()>> batch;
    {
      std::unique_lock lock(s.mutex);
      auto ready = [&] { return s.stopping || !s.tasks.empty(); };
      const std::optional<Duration> first = s.timers.first();
      if (!first) {
        s.wake.wait(lock, ready);
      } else if (const Duration wait = *first - s.clock.uptime(); wait.count() > 0) {
        s.wake.wait_for(lock, wait, ready);
      }
      if (s.stopping) break;
      batch.swap(s.tasks);
    }
    for (std::function<void()>& task : batch) task();
    // Timers that were set while this turn's ran wait for the next turn, so that posted tasks get their share.
    const Duration now = s.clock.uptime();
    while (const std::function<void()> task = s.timers.take(now)) task();
    if (s.turn_end) s.turn_end();
  }
}

void ThreadLoop::stop() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
}

Clock& ThreadLoop::clock() { return state_->clock; }

void ThreadLoop::post(std::function<void()> task) {
  {
    std::lock_guard lock(state_->mutex);
    state_->tasks.push_back(std::move(task));
  }
  state_->wake.notify_one();
}

TimerId ThreadLoop::after(Duration delay, std::function<void()> task) {
  return state_->timers.add(state_->clock.uptime() + std::max(delay, Duration(0)), std::move(task));
}

void ThreadLoop::cancel(TimerId timer) { state_->timers.cancel(timer); }

void ThreadLoop::offload(std::function<void()> work, std::function<void(std::exception_ptr)> done) {
  State& s = *state_;
  auto job = [this, work = std::move(work), done = std::move(done)]() mutable {
    std::exception_ptr failure;
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    post([done = std::move(done), failure] { done(failure); });
  };
  std::lock_guard lock(s.work_mutex);
  s.work.push_back(std::move(job));
  if (s.idle < s.work.size() && s.workers.size() < s.workers_max) {
    s.workers.emplace_back([&s] {
      std::unique_lock hold(s.work_mutex);
      while (true) {
        ++s.idle;
        s.work_wake.wait(hold, [&] { return s.work_over || !s.work.empty(); });
        --s.idle;
        if (s.work_over) return;
        std::function<void()> next = std::move(s.work.front());
        s.work.pop_front();
        hold.unlock();
        next();
        hold.lock();
      }
    });
  }
  s.work_wake.notify_one();
}

bool ThreadLoop::on_loop() const {
  std::lock_guard lock(state_->mutex);
  return state_->thread == std::this_thread::get_id();
}

void ThreadLoop::set_turn_end(std::function<void()> hook) { state_->turn_end = std::move(hook); }

void call_on(Loop& loop, const std::function<void()>& body) {
  KILN_ASSERT(!loop.on_loop(), "a loop that waits for itself never ends");
  std::mutex mutex;
  std::condition_variable wake;
  bool done = false;
  std::exception_ptr failure;
  loop.post([&] {
    std::exception_ptr caught;
    try {
      body();
    } catch (...) {
      caught = std::current_exception();
    }
    // Under the lock to its end: the caller's stack holds the condition, and goes as soon as it may.
    std::lock_guard lock(mutex);
    failure = caught;
    done = true;
    wake.notify_one();
  });
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return done; });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace kiln::host
