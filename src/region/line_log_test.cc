// LineLog: what stays of a log that grows, and of one that has no room for a while.
#include "region/line_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

namespace kiln::region {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class LineLogTest : public ::testing::Test {
 protected:
  std::string text() const { return host::read_file(path_); }
  std::string old() const { return host::read_file(path_.string() + ".old"); }

  host::TemporaryFolder folder_{"line-log-"};
  host::Path path_ = folder_.path() / "lines.log";
};

TEST_F(LineLogTest, GoesOnWhereAnotherProcessStopped) {
  LineLog(path_).add("one");
  LineLog log(path_);
  log.add("two");
  log.add("three");
  EXPECT_EQ(text(), "one\ntwo\nthree\n");
}

TEST_F(LineLogTest, TurnsOverAndKeepsOneOldFile) {
  LineLog log(path_);
  const std::string rest(10'000, '.');
  for (int i = 0; i < 250; ++i) log.add(std::to_string(i) + rest);
  EXPECT_LT(text().size(), std::size_t{1} << 20);
  EXPECT_LT(old().size(), (std::size_t{1} << 20) + 20'000);
  EXPECT_THAT(text(), EndsWith("249" + rest + "\n"));
  EXPECT_THAT(text(), Not(HasSubstr("\n105.")));
  EXPECT_THAT(old(), StartsWith("105."));
}

TEST_F(LineLogTest, WritesAgainOnceThereIsRoom) {
  LineLog log(path_);
  log.add("before");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit none{7, before.rlim_max};
  ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  log.add("meanwhile");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  log.add("after");
  EXPECT_EQ(text(), "before\nafter\n");
}

TEST_F(LineLogTest, WithoutAPathNothingIsWritten) {
  LineLog log;
  log.add("nowhere");
  EXPECT_TRUE(host::list_folder(folder_.path()).empty());
}

}  // namespace
}  // namespace kiln::region
