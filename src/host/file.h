// Files: read and write whole files durably, list, remove. Every failure is an Error that names the path:
// not_found, denied, disk_full (ENOSPC, EDQUOT) or io. Safe from several threads and beside other processes: nothing is
// kept between calls.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::host {

using Path = std::filesystem::path;

std::string read_file(const Path& path);
// Atomic and durable: a temporary file beside it, fsync, rename, fsync of the folder. After a crash the file has the
// old content or the new one, whole. Makes no folders.
void write_file(const Path& path, std::string_view content, unsigned mode = 0644);
// Names of a folder's entries, sorted by bytes; without "." and "..".
std::vector<std::string> list_folder(const Path& path);
void make_folders(const Path& path, unsigned mode = 0755);
// Removes it and everything below; does not cross into another file system (a forgotten mount is never emptied): that
// is an Error(conflict). Nothing there is fine.
void remove_tree(const Path& path);
void fsync_folder(const Path& path);
std::uint64_t free_bytes(const Path& path);

// $KILN_HOME, else $XDG_DATA_HOME/kiln, else ~/.local/share/kiln. Throws Error(usage) when none is set.
Path kiln_home();

// A folder that is removed with everything in it when this goes.
class TemporaryFolder {
 public:
  // Made below `parent` with a name that begins with `prefix`; below $TMPDIR or /tmp when `parent` is empty.
  explicit TemporaryFolder(std::string_view prefix, const Path& parent = {});
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const Path& path() const { return path_; }

 private:
  Path path_;
};

// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release();
  void reset();

 private:
  int fd_ = -1;
};

}  // namespace kiln::host
