// Fail: what the kernel refused, as an Error that names the path. Private to this room.
#pragma once

#include <string_view>

#include "host/file.h"

namespace kiln::machine {

// Throws what `errno` says, as host::os_error, but never Error(not_found): that is what callers are told of a machine
// or a volume that is not there.
[[noreturn]] void fail(std::string_view what, const host::Path& path);

}  // namespace kiln::machine
