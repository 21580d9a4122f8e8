// Erofs: a folder as an erofs file, the same bytes for the same tree: a layer.
#pragma once

#include <cstdint>

#include "host/file.h"

namespace kiln::store {

// Every file that Kiln itself makes in a layer has this time, so that no clock shows in an image: 2024-01-01T00:00:00Z.
inline constexpr std::int64_t kLayerEpochSeconds = 1'704'067'200;

// Owners, modes, times, extended attributes and device nodes (overlayfs's "removed") are kept. Throws Error(disk_full)
// when there is no room for `file`.
void make_erofs(const host::Path& folder, const host::Path& file);
// Removes what overlayfs notes at a file for itself (origin, impure, ...) and keeps what it says about the layer:
// opaque.
void remove_overlay_notes(const host::Path& path);

}  // namespace kiln::store
