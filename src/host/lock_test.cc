// One holder at a time.
#include "host/lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/error.h"

namespace kiln::host {

TEST(FileLock, SecondTakerIsToldWhoHoldsItAndSinceWhen) {
  TemporaryFolder folder("kiln-test-");
  Path path = folder.path() / "lock";
  Time since = parse_iso8601("2026-01-02T03:04:05Z");
  FileLock held = FileLock::take(path, "kiln deploy web", since);
  try {
    FileLock::take(path, "kiln deploy web", since);
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::held);
    EXPECT_NE(error.message().find("kiln deploy web"), std::string::npos);
    EXPECT_NE(error.message().find("2026-01-02T03:04:05"), std::string::npos);
    EXPECT_NE(error.message().find(std::to_string(::getpid())), std::string::npos);
  }
  EXPECT_EQ(FileLock::holder(path)->what, "kiln deploy web");
}

TEST(FileLock, ThatIsRemovedHasOneHolderStill) {
  TemporaryFolder folder("kiln-test-");
  Path path = folder.path() / "lock";
  std::atomic<int> inside = 0;
  std::atomic<bool> together = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 200; ++turn) {
        FileLock held = FileLock::wait(path, "x", Time{});
        if (++inside != 1) together = true;
        --inside;
        held.remove();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(together);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(HeldLocks, AreThoseThatSomebodyHoldsNow) {
  TemporaryFolder folder("kiln-test-");
  EXPECT_TRUE(held_locks(folder.path() / "nothing").empty());
  const Time since = parse_iso8601("2026-01-02T03:04:05Z");
  { FileLock let_go = FileLock::take(folder.path() / "a", "kiln gc", since); }
  FileLock held = FileLock::take(folder.path() / "b", "kiln deploy web", since);
  const auto found = held_locks(folder.path());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].first, folder.path() / "b");
  EXPECT_EQ(found[0].second, (LockHolder{::getpid(), "kiln deploy web", since}));
}

TEST(FileLock, IsFreeWhenItsHolderIsGone) {
  TemporaryFolder folder("kiln-test-");
  Path path = folder.path() / "lock";
  { FileLock held = FileLock::take(path, "x", Time{}); }
  EXPECT_EQ(FileLock::holder(path), std::nullopt);
  EXPECT_TRUE(FileLock::try_take(path, "y", Time{}).has_value());
}

TEST(FileLock, WhoWaitsForItIsToldOnceForWhom) {
  const TemporaryFolder folder("kiln-lock-");
  const Path path = folder.path() / "lock";
  const FileLock held = FileLock::take(path, "a bake", Time{});
  int asked = 0;
  std::vector<LockHolder> told;
  EXPECT_THROW(FileLock::wait(
                   path, "another", Time{}, [&] { return ++asked == 3; },
                   [&](const LockHolder& holder) { told.push_back(holder); }),
               Error);
  EXPECT_EQ(told, (std::vector<LockHolder>{{::getpid(), "a bake", Time{}}}));
  FileLock::wait(folder.path() / "free", "another", Time{}, {},
                 [&](const LockHolder& holder) { told.push_back(holder); });
  EXPECT_EQ(told.size(), 1u);
}

TEST(FileLock, WhoWaitsForItCanBeCancelled) {
  const TemporaryFolder folder("kiln-lock-");
  const FileLock held = FileLock::take(folder.path() / "lock", "a bake", Time{});
  int asked = 0;
  try {
    FileLock::wait(folder.path() / "lock", "another", Time{}, [&] { return ++asked == 2; });
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  }
  EXPECT_EQ(FileLock::holder(folder.path() / "lock")->what, "a bake");
}

}  // namespace kiln::host
