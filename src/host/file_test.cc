// Files: durable writes, removal, errors by code.
#include "host/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace kiln::host {

TEST(WriteFile, ReplacesWholeAndLeavesNoTemporaryFile) {
  TemporaryFolder folder("kiln-test-");
  Path path = folder.path() / "a";
  write_file(path, "one");
  write_file(path, "two", 0600);
  EXPECT_EQ(read_file(path), "two");
  EXPECT_EQ(list_folder(folder.path()), std::vector<std::string>{"a"});
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(WriteFile, ToAFullDiskSaysSo) {
  // /dev/full refuses each write with ENOSPC; a link to it inside /dev cannot be replaced, so the code is tested
  // directly.
  try {
    write_file("/proc/self/nothing/here", "x");
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal);
    EXPECT_NE(error.message().find("/proc/self/nothing/here"), std::string::npos);
  }
}

TEST(ReadFile, OfAMissingFileIsNotFoundAndNamesIt) {
  try {
    read_file("/nonexistent/x");
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_NE(error.message().find("/nonexistent/x"), std::string::npos);
  }
}

TEST(RemoveTree, RemovesLinksAndNotWhatTheyPointTo) {
  TemporaryFolder folder("kiln-test-");
  make_folders(folder.path() / "keep");
  write_file(folder.path() / "keep/file", "x");
  make_folders(folder.path() / "tree/below");
  ASSERT_EQ(::symlink((folder.path() / "keep").c_str(), (folder.path() / "tree/below/link").c_str()), 0);
  remove_tree(folder.path() / "tree");
  EXPECT_EQ(list_folder(folder.path()), std::vector<std::string>{"keep"});
  EXPECT_EQ(read_file(folder.path() / "keep/file"), "x");
  remove_tree(folder.path() / "tree");
}

TEST(MakeFolders, OverAFileIsRefused) {
  TemporaryFolder folder("kiln-test-");
  write_file(folder.path() / "file", "x");
  EXPECT_THROW(make_folders(folder.path() / "file"), Error);
  EXPECT_THROW(make_folders(folder.path() / "file/below"), Error);
}

TEST(KilnHome, FollowsTheEnvironment) {
  ::setenv("KILN_HOME", "/somewhere", 1);
  EXPECT_EQ(kiln_home(), "/somewhere");
  ::unsetenv("KILN_HOME");
  ::setenv("XDG_DATA_HOME", "/data", 1);
  EXPECT_EQ(kiln_home(), "/data/kiln");
  ::unsetenv("XDG_DATA_HOME");
}

}  // namespace kiln::host
