// Fail: see internal/fail.h.
#include "machine/internal/fail.h"

#include <fmt/format.h>

#include <cerrno>

#include "host/os_error.h"

namespace kiln::machine {

void fail(std::string_view what, const host::Path& path) {
  const Error error = host::os_error(fmt::format("{} {}", what, path.string()), errno);
  if (error.code() == ErrorCode::not_found) throw Error(ErrorCode::io, error.message());
  if (error.code() == ErrorCode::denied) throw Error(ErrorCode::denied, error.message(), "Run it as root (sudo).");
  throw error;
}

}  // namespace kiln::machine
