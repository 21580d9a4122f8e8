// Fail: see internal/fail.h.
#include "machine/internal/fail.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace kiln::machine {

void fail(std::string_view what, const host::Path& path) {
  const int error = errno;
  throw Error(error == ENOSPC || error == EDQUOT  ? ErrorCode::disk_full
              : error == EPERM || error == EACCES ? ErrorCode::denied
                                                  : ErrorCode::io,
              fmt::format("{} {}: {}", what, path.string(), std::strerror(error)));
}

}  // namespace kiln::machine
