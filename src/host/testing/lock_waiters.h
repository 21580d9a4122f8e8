// Lock waiters: whether somebody waits for a lock, as the kernel tells it; so a test need not guess how long to sleep.
#pragma once

#include <fmt/format.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "base/text.h"
#include "host/file.h"

namespace kiln::host::testing {

// Whether some process or thread is blocked in taking the FileLock `path`. proc(5), /proc/locks: "3: -> FLOCK ADVISORY
// WRITE 4711 fe:00:815 0 EOF"; the arrow is a waiter's, the last number of the three is the inode.
inline bool somebody_waits_for(const Path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return false;
  const std::string inode = fmt::format(":{} ", info.st_ino);
  for (const std::string& line : split(read_file("/proc/locks"), '\n')) {
    if (line.find("-> FLOCK") != std::string::npos && line.find(inode) != std::string::npos) return true;
  }
  return false;
}

// Returns true when somebody waits for it, false once `over` says that nobody will.
inline bool until_somebody_waits_for(const Path& path, const std::atomic<bool>& over) {
  while (!over) {
    if (somebody_waits_for(path)) return true;
    std::this_thread::yield();
  }
  return false;
}

}  // namespace kiln::host::testing
