// Erofs: a folder as an erofs file, the same bytes for the same tree: a layer; and a layer as a folder again.
#pragma once

#include <cstdint>
#include <functional>

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

// Mounts the erofs file `layer` read-only at `folder`, which is made. Only in a mount namespace of one's own
// (host/mounts.h): whatever happens, no mount stays.
void mount_layer(const host::Path& layer, const host::Path& folder);
// Mounts `layer` below `work`, an empty folder that outlives the call, and calls `look` with the folder in another
// thread while the caller waits. What the layer removes shows as overlayfs writes it: devices 0/0, attributes
// "trusted.overlay.opaque". Throws Error(denied) without root, Error(unsupported) without erofs in the kernel, and what
// `look` throws.
void look_into_layer(const host::Path& layer, const host::Path& work,
                     const std::function<void(const host::Path&)>& look);

}  // namespace kiln::store
