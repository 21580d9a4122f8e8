// Volume: what bounds a machine's disk: an ext4 file system of the disk's size in a sparse file of its own, mounted at
// the machine's folder `disk`. A guest that fills it gets ENOSPC; the host's disk holds what was written, not the size.
//
// The mount outlives the process and is found again; its loop device goes with it. No journal and no barriers: what it
// holds does not survive a power cut, as nothing of a region does.
#pragma once

#include <cstdint>

#include "host/file.h"

namespace kiln::machine {

// Makes the file `<folder>/disk.ext4` when there is none and mounts it at `<folder>/disk`, unless that is so already.
// `templates`: where an empty file system of each size is kept; made when missing. From any thread. Throws
// Error(disk_full), Error(unsupported), Error(io).
void attach_volume(const host::Path& folder, const host::Path& templates, std::uint64_t size_gib);
// Lets a volume go on that `FrozenVolume`'s process left frozen when it was killed. Any other is left as it is.
void thaw_volume(const host::Path& folder);

// While it lives, nothing is written to the machine's mounted volume: writers wait.
class FrozenVolume {
 public:
  explicit FrozenVolume(const host::Path& folder);
  ~FrozenVolume();
  FrozenVolume(const FrozenVolume&) = delete;
  FrozenVolume& operator=(const FrozenVolume&) = delete;

 private:
  host::FileDescriptor disk_;
};

}  // namespace kiln::machine
