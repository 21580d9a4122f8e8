// Waypoints: what is old goes, what somebody uses stays.
#include "registry/waypoints.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "host/clock.h"

namespace kiln::registry {
namespace {

class WaypointsTest : public testing::Test {
 protected:
  void write(const host::Path& file, Duration age) {
    host::write_file(file, "12345");
    const std::int64_t then = (now_ - age).time_since_epoch().count() / 1000;
    const timespec times[2] = {{then, 0}, {then, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  }
  Time now_ = host::SystemClock().now();
  host::TemporaryFolder folder_{"waypoints-test-"};
  store::Store store_{folder_.path() / "store"};
  Waypoints waypoints_{store_};
  Digest blob_ = sha256("blob");
};

TEST_F(WaypointsTest, WhatIsOldIsSweptAndWhatIsYoungStays) {
  const Digest young = sha256("young");
  write(waypoints_.incoming(blob_), Waypoints::kUnfinished + Duration(60'000));
  write(waypoints_.incoming(young), Waypoints::kUnfinished - Duration(60'000));
  write(waypoints_.outgoing("r", "a", blob_), Waypoints::kUnfinished + Duration(60'000));
  write(waypoints_.outgoing("r", "b", blob_), Duration(0));
  const Waypoints::Swept planned = waypoints_.sweep(now_, false);
  EXPECT_EQ(planned.files, 2u);
  EXPECT_TRUE(std::filesystem::exists(waypoints_.incoming(blob_)));
  const Waypoints::Swept swept = waypoints_.sweep(now_, true);
  EXPECT_EQ(swept.files, 2u);
  EXPECT_EQ(swept.bytes, 10u);
  EXPECT_FALSE(std::filesystem::exists(waypoints_.incoming(blob_)));
  EXPECT_FALSE(std::filesystem::exists(waypoints_.outgoing("r", "a", blob_)));
  EXPECT_TRUE(std::filesystem::exists(waypoints_.incoming(young)));
  EXPECT_TRUE(std::filesystem::exists(waypoints_.outgoing("r", "b", blob_)));
  EXPECT_EQ(host::list_folder(store_.folder() / "transfers/incoming"), std::vector<std::string>{young.hex()});
}

TEST_F(WaypointsTest, WhatSomebodyFetchesNowIsLetBe) {
  write(waypoints_.incoming(blob_), Waypoints::kUnfinished * 2);
  host::FileLock lock = waypoints_.lock(blob_);
  EXPECT_EQ(waypoints_.sweep(now_, false).files, 0u);
  EXPECT_EQ(waypoints_.sweep(now_, true).files, 0u);
  EXPECT_TRUE(std::filesystem::exists(waypoints_.incoming(blob_)));
  lock.remove();
  EXPECT_EQ(waypoints_.sweep(now_, true).files, 1u);
}

TEST_F(WaypointsTest, ALockThatADeadProcessLeftGoesToo) {
  const host::Path lock = waypoints_.incoming(blob_).string() + ".lock";
  write(lock, Waypoints::kUnfinished * 2);
  waypoints_.sweep(now_, true);
  EXPECT_FALSE(std::filesystem::exists(lock));
}

TEST_F(WaypointsTest, WhatIsAskedForIsKnownForLonger) {
  waypoints_.know("r", "team/web", blob_);
  const std::string name = host::list_folder(store_.folder() / "transfers/known").at(0);
  const host::Path file = store_.folder() / "transfers/known" / name;
  host::remove_tree(file);
  host::write_file(file, "team/web");
  const timespec old[2] = {{1'700'000'000, 0}, {1'700'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), old, 0), 0);
  EXPECT_EQ(waypoints_.known_in("r", blob_), "team/web");
  EXPECT_EQ(waypoints_.sweep(host::SystemClock().now(), true).files, 0u);
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), old, 0), 0);
  EXPECT_EQ(waypoints_.sweep(host::SystemClock().now(), true).files, 1u);
  EXPECT_EQ(waypoints_.known_in("r", blob_), "");
}

}  // namespace
}  // namespace kiln::registry
