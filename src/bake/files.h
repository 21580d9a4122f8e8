// Files: what a layer's tree needs beyond reading and writing: owners, modes, times, extended attributes. Private to
// this room.
#pragma once

#include <cstdint>

#include "base/digest.h"
#include "base/time.h"
#include "host/file.h"
#include "store/erofs.h"

namespace kiln::bake {

using store::kLayerEpochSeconds;

// Copies the content and returns its digest.
Digest copy_content(const host::Path& from, const host::Path& to);
// Without following a link. A link keeps its mode.
void set_owner_and_mode(const host::Path& path, std::uint32_t uid, std::uint32_t gid, unsigned mode);
void set_time(const host::Path& path, std::int64_t seconds, std::int64_t nanoseconds = 0);

}  // namespace kiln::bake
