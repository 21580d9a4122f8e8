// FileLock: flock(2) on a file that says who holds it.
#include "host/lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/text.h"
#include "host/os_error.h"

namespace kiln::host {
namespace {

constexpr std::chrono::milliseconds kAskEvery(50);

FileDescriptor open_lock(const Path& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) throw os_error("opening the lock " + path.string(), errno);
  return fd;
}

bool lock(const FileDescriptor& fd, int flags, const Path& path) {
  while (::flock(fd.get(), LOCK_EX | flags) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) throw os_error("locking " + path.string(), errno);
  }
  return true;
}

// The lock belongs to the inode: one that its holder has removed while we waited is nobody's, and we begin again with
// the file that is there now. Empty when it is held and `flags` do not wait.
FileDescriptor locked_file(const Path& path, int flags) {
  while (true) {
    FileDescriptor fd = open_lock(path);
    if (!lock(fd, flags, path)) return {};
    struct stat locked {};
    struct stat named {};
    if (::fstat(fd.get(), &locked) == 0 && ::stat(path.c_str(), &named) == 0 && locked.st_ino == named.st_ino &&
        locked.st_dev == named.st_dev) {
      return fd;
    }
  }
}

// Written in place: the lock belongs to the inode, so the file is never replaced.
void write_holder(const FileDescriptor& fd, std::string_view what, Time now, const Path& path) {
  std::string text = fmt::format("{}\n{}\n{}\n", ::getpid(), format_iso8601(now), what);
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    throw os_error("writing the lock " + path.string(), errno);
  }
}

std::optional<LockHolder> read_holder(const Path& path) {
  try {
    std::vector<std::string> lines = split(read_file(path), '\n');
    if (lines.size() < 3) return std::nullopt;
    return LockHolder{static_cast<pid_t>(parse_int(lines[0]).value_or(0)), lines[2], parse_iso8601(lines[1])};
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::optional<FileLock> FileLock::try_take(const Path& path, std::string_view what, Time now) {
  FileDescriptor fd = locked_file(path, LOCK_NB);
  if (!fd) return std::nullopt;
  write_holder(fd, what, now, path);
  return FileLock(std::move(fd), path);
}

FileLock FileLock::take(const Path& path, std::string_view what, Time now) {
  if (auto taken = try_take(path, what, now)) return std::move(*taken);
  auto holder = read_holder(path);
  if (!holder) throw Error(ErrorCode::held, fmt::format("{} is held by another process", path.string()));
  throw Error(ErrorCode::held, fmt::format("'{}' (process {}) holds it since {}", holder->what, holder->pid,
                                           format_iso8601(holder->since)));
}

FileLock FileLock::wait(const Path& path, std::string_view what, Time now, const std::function<bool()>& cancelled,
                        const std::function<void(const LockHolder&)>& on_wait) {
  FileDescriptor fd = locked_file(path, cancelled || on_wait ? LOCK_NB : 0);
  if (!fd && on_wait) on_wait(read_holder(path).value_or(LockHolder{}));
  for (; !fd; fd = locked_file(path, LOCK_NB)) {
    if (cancelled && cancelled())
      throw Error(ErrorCode::cancelled, fmt::format("interrupted while another process held {}", path.string()));
    std::this_thread::sleep_for(kAskEvery);
  }
  write_holder(fd, what, now, path);
  return FileLock(std::move(fd), path);
}

void FileLock::remove() {
  if (fd_) ::unlink(path_.c_str());
  fd_.reset();
}

std::optional<LockHolder> FileLock::holder(const Path& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || lock(fd, LOCK_NB, path)) return std::nullopt;
  return read_holder(path);
}

std::vector<std::pair<Path, LockHolder>> held_locks(const Path& folder) {
  std::vector<std::pair<Path, LockHolder>> held;
  if (!std::filesystem::exists(folder)) return held;
  for (const std::string& name : list_folder(folder)) {
    if (!std::filesystem::is_regular_file(folder / name)) continue;
    if (auto holder = FileLock::holder(folder / name)) held.emplace_back(folder / name, std::move(*holder));
  }
  return held;
}

}  // namespace kiln::host
