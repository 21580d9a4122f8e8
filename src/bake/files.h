// Files: what a layer's tree needs beyond reading and writing: owners, modes, times, extended attributes. Private to
// this room.
#pragma once

#include <cstdint>

#include "base/digest.h"
#include "base/time.h"
#include "host/file.h"

namespace kiln::bake {

// Every file that a bake makes has this time, so that no clock shows in an image: 2024-01-01T00:00:00Z.
inline constexpr std::int64_t kLayerEpochSeconds = 1'704'067'200;

Digest digest_of_file(const host::Path& path);
// Copies the content and returns its digest.
Digest copy_content(const host::Path& from, const host::Path& to);
// Without following a link. A link keeps its mode.
void set_owner_and_mode(const host::Path& path, std::uint32_t uid, std::uint32_t gid, unsigned mode);
void set_time(const host::Path& path, std::int64_t seconds, std::int64_t nanoseconds = 0);
// Removes what overlayfs notes for itself (origin, impure, ...) and keeps what it says about the layer: opaque.
void remove_overlay_notes(const host::Path& path);

}  // namespace kiln::bake
