// Volume root: the root file system that a data volume holds, whole or in a partition, as an image of the store.
#pragma once

#include "host/file.h"
#include "store/store.h"

namespace kiln::machine {

// Of the volume's file, which nobody writes: one layer. The file system is mounted read-only in mounts of our own,
// which end with us however we end, and its files are copied. Of several partitions the first that holds an init.
// Blocks; off the loop. Throws Error(invalid) for a volume that no machine can boot from, Error(unsupported) for a file
// system that this kernel does not have, Error(disk_full), Error(io).
Digest capture_volume(store::Store& store, const host::Path& file, const store::ImageConfig& config);

}  // namespace kiln::machine
