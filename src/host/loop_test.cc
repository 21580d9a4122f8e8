// Loops: order, timers, offloaded work; in real and in virtual time.
#include "host/loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error.h"

namespace kiln::host {
namespace {

// Runs a ThreadLoop on a thread of its own for the length of a test.
class RunningLoop {
 public:
  RunningLoop() : loop_(clock_, 2), thread_([this] { loop_.run(); }) {}
  ~RunningLoop() {
    loop_.stop();
    thread_.join();
  }
  ThreadLoop& operator*() { return loop_; }
  ThreadLoop* operator->() { return &loop_; }

 private:
  SystemClock clock_;
  ThreadLoop loop_;
  std::thread thread_;
};

}  // namespace

TEST(ThreadLoop, RunsTasksInOrderOnItsThread) {
  RunningLoop loop;
  std::vector<int> seen;
  for (int i = 0; i < 100; ++i) loop->post([&seen, i] { seen.push_back(i); });
  call_on(*loop, [&] { EXPECT_TRUE(loop->on_loop()); });
  EXPECT_FALSE(loop->on_loop());
  ASSERT_EQ(seen.size(), 100u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST(ThreadLoop, HandsTheResultAndTheFailureOfOffloadedWorkToTheLoop) {
  RunningLoop loop;
  std::atomic<int> done{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::condition_variable wake;
  for (int i = 0; i < 10; ++i) {
    loop->offload(
        [i] {
          if (i == 3) throw Error(ErrorCode::io, "three");
        },
        [&](std::exception_ptr failure) {
          EXPECT_TRUE(loop->on_loop());
          if (failure) failed = true;
          std::lock_guard lock(mutex);
          ++done;
          wake.notify_one();
        });
  }
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return done == 10; });
  EXPECT_TRUE(failed);
}

TEST(ThreadLoop, CallsBackWithWhatWasThrown) {
  RunningLoop loop;
  EXPECT_THROW(call_on(*loop, [] { throw Error(ErrorCode::io, "x"); }), Error);
}

TEST(SimulatedLoop, RunsADayOfTimersAtOnceInOrder) {
  SimulatedLoop loop(parse_iso8601("2026-01-01T00:00:00Z"));
  std::vector<int> seen;
  loop.after(std::chrono::hours(2), [&] { seen.push_back(2); });
  loop.after(std::chrono::hours(1), [&] {
    seen.push_back(1);
    loop.post([&] { seen.push_back(10); });
  });
  TimerId never = loop.after(std::chrono::hours(3), [&] { seen.push_back(3); });
  loop.cancel(never);
  loop.run_for(std::chrono::hours(24));
  EXPECT_EQ(seen, (std::vector<int>{1, 10, 2}));
  EXPECT_EQ(format_iso8601(loop.now()), "2026-01-02T00:00:00.000Z");
}

TEST(SimulatedLoop, StopsAsSoonAsItsConditionHolds) {
  SimulatedLoop loop(Time{});
  int count = 0;
  std::function<void()> tick = [&] {
    ++count;
    loop.after(Duration(1000), tick);
  };
  tick();
  EXPECT_TRUE(loop.run_while_not([&] { return count == 5; }, std::chrono::hours(1)));
  EXPECT_EQ(loop.now(), Time{} + Duration(4000));
  EXPECT_FALSE(loop.run_while_not([] { return false; }, Duration(500)));
}

TEST(Loop, EndsEachTurnWithItsHook) {
  SimulatedLoop loop(Time{});
  int turns = 0;
  loop.set_turn_end([&] { ++turns; });
  loop.post([] {});
  loop.post([] {});
  loop.run_for(Duration(1));
  EXPECT_EQ(turns, 2);
}

}  // namespace kiln::host
