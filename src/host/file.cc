// Files: whole files, durably.
#include "host/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "host/os_error.h"

namespace kiln::host {

Error os_error(std::string attempted, int number) {
  ErrorCode code = ErrorCode::io;
  std::string next;
  switch (number) {
    case ENOENT:
      code = ErrorCode::not_found;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = ErrorCode::denied;
      break;
    case ENOSPC:
    case EDQUOT:
      code = ErrorCode::disk_full;
      next = "Free some space on that file system, then run the same command again.";
      break;
    case EEXIST:
      code = ErrorCode::already_exists;
      break;
    default:
      break;
  }
  return Error(code, fmt::format("{}: {}", attempted, std::strerror(number)), next);
}

namespace {

void write_all(int fd, std::string_view content, const Path& path) {
  while (!content.empty()) {
    ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw os_error("writing " + path.string(), errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

std::string read_file(const Path& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw os_error("reading " + path.string(), errno);
  std::string content;
  struct stat info {};
  if (::fstat(fd.get(), &info) == 0 && info.st_size > 0) content.reserve(static_cast<std::size_t>(info.st_size));
  char buffer[65536];
  while (true) {
    ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw os_error("reading " + path.string(), errno);
    if (got == 0) return content;
    content.append(buffer, static_cast<std::size_t>(got));
  }
}

void write_file(const Path& path, std::string_view content, unsigned mode) {
  std::string temporary = path.string() + ".XXXXXX";
  FileDescriptor fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) throw os_error("writing " + path.string(), errno);
  try {
    write_all(fd.get(), content, path);
    if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0) throw os_error("writing " + path.string(), errno);
    fd.reset();
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw os_error("writing " + path.string(), errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fsync_folder(path.has_parent_path() ? path.parent_path() : Path("."));
}

std::vector<std::string> list_folder(const Path& path) {
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) throw os_error("listing " + path.string(), errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  ::closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

void make_folders(const Path& path, unsigned mode) {
  if (path.empty() || ::mkdir(path.c_str(), mode) == 0) return;
  if (errno == ENOENT && path.has_parent_path() && path.parent_path() != path) {
    make_folders(path.parent_path(), mode);
    if (::mkdir(path.c_str(), mode) == 0) return;
  }
  int number = errno;
  struct stat info {};
  if (number == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return;
  throw os_error("making the folder " + path.string(), number);
}

namespace {

void remove_below(int parent, const char* name, dev_t device, const Path& path) {
  struct stat info {};
  if (::fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return;
    throw os_error("removing " + path.string(), errno);
  }
  if (info.st_dev != device) {
    throw Error(ErrorCode::conflict, fmt::format("{} is a mount point; it was left alone", path.string()),
                "Unmount it first.");
  }
  if (!S_ISDIR(info.st_mode)) {
    if (::unlinkat(parent, name, 0) != 0 && errno != ENOENT) throw os_error("removing " + path.string(), errno);
    return;
  }
  int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) throw os_error("removing " + path.string(), errno);
  FileDescriptor own(fd);
  for (const std::string& entry : list_folder("/proc/self/fd/" + std::to_string(fd))) {
    remove_below(fd, entry.c_str(), device, path / entry);
  }
  if (::unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
    throw os_error("removing " + path.string(), errno);
  }
}

}  // namespace

void remove_tree(const Path& path) {
  Path parent = path.has_parent_path() ? path.parent_path() : Path(".");
  struct stat info {};
  if (::stat(parent.c_str(), &info) != 0) {
    if (errno == ENOENT) return;
    throw os_error("removing " + path.string(), errno);
  }
  FileDescriptor fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw os_error("removing " + path.string(), errno);
  remove_below(fd.get(), path.filename().c_str(), info.st_dev, path);
}

void fsync_folder(const Path& path) {
  FileDescriptor fd(::open(path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) throw os_error("syncing " + path.string(), errno);
}

std::uint64_t free_bytes(const Path& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) throw os_error("asking for the free space of " + path.string(), errno);
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

Path kiln_home() {
  auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (std::string home = variable("KILN_HOME"); !home.empty()) return std::filesystem::absolute(home);
  if (std::string data = variable("XDG_DATA_HOME"); !data.empty()) return Path(data) / "kiln";
  if (std::string home = variable("HOME"); !home.empty()) return Path(home) / ".local/share/kiln";
  throw Error(ErrorCode::usage, "there is no place for Kiln's state: KILN_HOME, XDG_DATA_HOME and HOME are not set",
              "Set KILN_HOME to a folder.");
}

TemporaryFolder::TemporaryFolder(std::string_view prefix, const Path& parent) {
  Path base = parent.empty() ? std::filesystem::temp_directory_path() : parent;
  std::string name = (base / (std::string(prefix) + "XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr) throw os_error("making a temporary folder in " + base.string(), errno);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  try {
    remove_tree(path_);
  } catch (const Error&) {
    // What cannot be removed now is left for the next opener of the parent folder.
  }
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int FileDescriptor::release() {
  int fd = fd_;
  fd_ = -1;
  return fd;
}

void FileDescriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace kiln::host
