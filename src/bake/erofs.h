// Erofs: a folder as an erofs file, the same bytes for the same tree. Private to this room.
#pragma once

#include "host/file.h"

namespace kiln::bake {

// Owners, modes, times, extended attributes and device nodes (overlayfs's "removed") are kept. Throws Error(disk_full)
// when there is no room for `file`.
void make_erofs(const host::Path& folder, const host::Path& file);

}  // namespace kiln::bake
