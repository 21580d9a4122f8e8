// quick_file: files that must be whole after the death of a process, but not after a power cut: no fsync, so that they
// can be written on the loop. What they describe (processes, mounts) does not survive a power cut either.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "host/file.h"

namespace kiln::machine {

// By a temporary file and a rename. Throws Error(io), Error(disk_full).
void write_quick_file(const host::Path& path, std::string_view content);
// Nothing when it is not there.
std::optional<std::string> read_quick_file(const host::Path& path);

}  // namespace kiln::machine
