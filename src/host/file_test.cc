// Files: durable writes, removal, errors by code.
#include "host/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/error.h"

namespace {

// What is asked of the disk, in order, while one of these lives; each sync fails with `sync_error` when that is not 0.
struct Disk {
  Disk() { watched = this; }
  ~Disk() { watched = nullptr; }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  std::vector<std::string> calls;
  int sync_error = 0;
  static inline Disk* watched = nullptr;
};

}  // namespace

// In place of the C library's, for this program.
extern "C" int fsync(int fd) {
  if (Disk::watched != nullptr) {
    Disk::watched->calls.push_back("sync " +
                                   std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)).string());
    errno = Disk::watched->sync_error;
    if (errno != 0) return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

extern "C" int rename(const char* from, const char* to) noexcept {
  if (Disk::watched != nullptr) Disk::watched->calls.push_back(std::string("rename ") + from + " to " + to);
  return ::renameat(AT_FDCWD, from, AT_FDCWD, to);
}

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

TEST(WriteFile, IsOnTheDiskBeforeItHasItsNameAndTheNameBeforeItReturns) {
  const TemporaryFolder folder("kiln-test-");
  const std::string path = folder.path() / "a";
  Disk disk;
  write_file(path, "one");
  ASSERT_EQ(disk.calls.size(), 3U);
  const std::string temporary = disk.calls[0].substr(5);
  EXPECT_NE(temporary, path);
  EXPECT_EQ(disk.calls[0], "sync " + temporary);
  EXPECT_EQ(disk.calls[1], "rename " + temporary + " to " + path);
  EXPECT_EQ(disk.calls[2], "sync " + folder.path().string());
}

TEST(WriteFile, ToAFullDiskSaysSoAndKeepsWhatWasThere) {
  const TemporaryFolder folder("kiln-test-");
  const Path path = folder.path() / "a";
  write_file(path, "one");
  try {
    Disk disk;
    disk.sync_error = ENOSPC;
    write_file(path, "two");
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::disk_full);
    EXPECT_NE(error.message().find(path.string()), std::string::npos);
    EXPECT_NE(error.next().find("Free some space"), std::string::npos);
  }
  EXPECT_EQ(read_file(path), "one");
  EXPECT_EQ(list_folder(folder.path()), std::vector<std::string>{"a"}) << "the temporary file is left";
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
