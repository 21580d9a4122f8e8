// Capture: what a machine has written, as one more layer on its image.
#pragma once

#include <cstdint>

#include "host/file.h"
#include "machine/machine.h"
#include "store/store.h"

namespace kiln::machine {

// Reads `<folder>/disk/upper`, which must be mounted, and puts it into the store: the image's layers with a new one on
// top. Returns the new image's digest; the image's own when nothing was written. `running`: the machine's writers wait
// while it is read, so that it is the disk of one moment. Blocks; off the loop. Throws Error(unsupported) for an image
// of kLayersMost layers, Error(disk_full), Error(io).
Digest capture_disk(store::Store& store, const host::Path& folder, const Spec& spec, bool running);

// Mounts of a running system; what is below them on a disk is what it was before they were mounted.
inline constexpr const char* kNoDisk[] = {"dev", "proc", "run", "sys", "tmp"};
// A tree of files as a layer; sockets and overlayfs's notes are removed from it before. `work`: a folder of the store.
// Throws Error(unsupported) when its files are larger than that.
store::Blob put_layer(store::Store& store, const host::Path& work, const host::Path& tree, std::uint64_t bytes_most);

}  // namespace kiln::machine
