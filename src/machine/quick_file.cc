// quick_file: see internal/quick_file.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "machine/internal/quick_file.h"

namespace kiln::machine {

void write_quick_file(const host::Path& path, std::string_view content) {
  const std::string temporary = fmt::format("{}.{}.tmp", path.string(), ::gettid());
  const auto fail = [&] {
    const int error = errno;
    ::unlink(temporary.c_str());
    throw Error(error == ENOSPC || error == EDQUOT ? ErrorCode::disk_full : ErrorCode::io,
                fmt::format("cannot write {}: {}", path.string(), std::strerror(error)));
  };
  host::FileDescriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) fail();
  for (std::string_view rest = content; !rest.empty();) {
    const ssize_t written = ::write(fd.get(), rest.data(), rest.size());
    if (written < 0 && errno != EINTR) fail();
    if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
  }
  fd.reset();
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail();
}

std::optional<std::string> read_quick_file(const host::Path& path) {
  try {
    return host::read_file(path);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    return std::nullopt;
  }
}

}  // namespace kiln::machine
