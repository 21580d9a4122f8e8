// Files: the calls, each with its path in its error.
#include "bake/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"
#include "host/pieces.h"

namespace kiln::bake {
namespace {

Error failed(const char* attempted, const host::Path& path, int code) {
  const ErrorCode kind = code == ENOSPC || code == EDQUOT  ? ErrorCode::disk_full
                         : code == EACCES || code == EPERM ? ErrorCode::denied
                         : code == ENOENT                  ? ErrorCode::not_found
                                                           : ErrorCode::io;
  return {kind, fmt::format("{} {}: {}", attempted, path.string(), std::strerror(code))};
}

host::FileDescriptor open_file(const host::Path& path, int flags, unsigned mode = 0) {
  host::FileDescriptor fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) throw failed("opening", path, errno);
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
      if (put < 0 && errno != EINTR) throw failed("writing", to, errno);
      if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  });
  return sha.finish();
}

void set_owner_and_mode(const host::Path& path, std::uint32_t uid, std::uint32_t gid, unsigned mode) {
  if (::lchown(path.c_str(), uid, gid) != 0) throw failed("setting the owner of", path, errno);
  if (std::filesystem::is_symlink(path)) return;
  // After the owner: changing that clears set-user-id.
  if (::chmod(path.c_str(), mode) != 0) throw failed("setting the mode of", path, errno);
}

void set_time(const host::Path& path, std::int64_t seconds, std::int64_t nanoseconds) {
  const std::array<timespec, 2> times = {timespec{seconds, nanoseconds}, timespec{seconds, nanoseconds}};
  if (::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0)
    throw failed("setting the time of", path, errno);
}

}  // namespace kiln::bake
