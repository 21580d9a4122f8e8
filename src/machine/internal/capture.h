// Capture: what a machine has written, as one more layer on its image.
#pragma once

#include "host/file.h"
#include "machine/machine.h"
#include "store/store.h"

namespace kiln::machine {

// Reads `<folder>/disk/upper`, which must be mounted, and puts it into the store: the image's layers with a new one on
// top. Returns the new image's digest; the image's own when nothing was written. `running`: the machine's writers wait
// while it is read, so that it is the disk of one moment. Blocks; off the loop. Throws Error(unsupported) for an image
// of kLayersMost layers, Error(disk_full), Error(io).
Digest capture_disk(store::Store& store, const host::Path& folder, const Spec& spec, bool running);

}  // namespace kiln::machine
