// FileLock: one holder at a time, across processes and threads. The kernel lets go when the holder dies, however it
// dies.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "host/file.h"
#include "host/process.h"

namespace kiln::host {

struct LockHolder {
  pid_t pid = 0;
  std::string what;  // what the holder said it does: "kiln deploy web"
  Time since{};
  bool operator==(const LockHolder&) const = default;
};

class FileLock {
 public:
  // Takes the lock at `path` (made if missing) and writes who we are into it.
  // Throws Error(held) that names the holder, what it does and since when.
  static FileLock take(const Path& path, std::string_view what, Time now);
  // As `take`, and nullopt when it is held.
  static std::optional<FileLock> try_take(const Path& path, std::string_view what, Time now);
  // Waits for it, until `cancelled` says otherwise: Error(cancelled). Without that, for short critical sections.
  // `on_wait` is told once who has it, when it cannot be had at once.
  static FileLock wait(const Path& path, std::string_view what, Time now, const std::function<bool()>& cancelled = {},
                       const std::function<void(const LockHolder&)>& on_wait = {});
  // Who holds it now, if anybody.
  static std::optional<LockHolder> holder(const Path& path);
  // Lets go and removes the file. Whoever waits for it meanwhile makes it again.
  void remove();

 private:
  FileLock(FileDescriptor fd, Path path) : fd_(std::move(fd)), path_(std::move(path)) {}
  FileDescriptor fd_;
  Path path_;
};

// The locks right below a folder that somebody holds now, by path. No folder: none.
std::vector<std::pair<Path, LockHolder>> held_locks(const Path& folder);

}  // namespace kiln::host
