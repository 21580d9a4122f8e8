// One holder at a time.
#include "host/lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "host/testing/lock_waiters.h"

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

// Who waited for the file that is removed gets a lock on a file without a name, while somebody else has made another.
TEST(FileLock, ThatIsRemovedHasOneHolderStill) {
  const TemporaryFolder folder("kiln-test-");
  const Path path = folder.path() / "lock";
  std::optional<FileLock> first = FileLock::take(path, "first", Time{});
  std::atomic<bool> over = false;
  std::thread waiter([&] {
    FileLock::wait(path, "second", Time{}).remove();
    over = true;
  });
  EXPECT_TRUE(testing::until_somebody_waits_for(path, over));
  // The two halves of remove(), and the third comes between them.
  std::filesystem::remove(path);
  std::optional<FileLock> third = FileLock::try_take(path, "third", Time{});
  EXPECT_TRUE(third.has_value());
  first.reset();
  EXPECT_TRUE(testing::until_somebody_waits_for(path, over)) << "the second and the third both hold it";
  third.reset();
  waiter.join();
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
