// Files: the calls, each with its path in its error.
#include "bake/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "host/os_error.h"
#include "host/pieces.h"

namespace kiln::bake {
namespace {

host::FileDescriptor open_file(const host::Path& path, int flags, unsigned mode = 0) {
  host::FileDescriptor fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) throw host::os_error("opening " + path.string(), errno);
  return fd;
}

}  // namespace

Digest copy_content(const host::Path& from, const host::Path& to) {
  const host::FileDescriptor out = open_file(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
  Sha256 sha;
  host::read_pieces(from, host::Links::refuse, [&](std::string_view bytes) {
    sha.update(bytes);
    while (!bytes.empty()) {
      const ssize_t put = ::write(out.get(), bytes.data(), bytes.size());
      if (put < 0 && errno != EINTR) throw host::os_error("writing " + to.string(), errno);
      if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  });
  return sha.finish();
}

void set_owner_and_mode(const host::Path& path, std::uint32_t uid, std::uint32_t gid, unsigned mode) {
  if (::lchown(path.c_str(), uid, gid) != 0) throw host::os_error("setting the owner of " + path.string(), errno);
  if (std::filesystem::is_symlink(path)) return;
  // After the owner: changing that clears set-user-id.
  if (::chmod(path.c_str(), mode) != 0) throw host::os_error("setting the mode of " + path.string(), errno);
}

void set_time(const host::Path& path, std::int64_t seconds, std::int64_t nanoseconds) {
  const std::array<timespec, 2> times = {timespec{seconds, nanoseconds}, timespec{seconds, nanoseconds}};
  if (::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0)
    throw host::os_error("setting the time of " + path.string(), errno);
}

}  // namespace kiln::bake
