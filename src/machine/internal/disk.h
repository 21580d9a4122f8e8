// Disk: a machine's root file system: overlays on its image's layers.
//
// Below the machine's folder: `seed` (a layer of our own on top of the image's: hostname, machine id, resolver, mount
// points), `disk` (its mounted volume, see volume.h: what the machine has written), `root` (mounted), and of a
// read-only image `rw` (mounted): the same tree with `disk` on top, from which the writable folders are bound into the
// read-only root.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "host/file.h"
#include "machine/layers.h"
#include "machine/machine.h"

namespace kiln::machine {

struct Disk {
  host::Path root;
  bool read_only = false;
  std::vector<std::pair<host::Path, std::string>> binds;  // ours → the machine's
};

// The folders that a machine of this image may write and keep: the image's, /var/tmp and /var/lib/systemd
// (systemd-logind and timers keep state there and do not start without). Sorted, without those inside another.
std::vector<std::string> writable_folders(const store::ImageConfig& config);

// Makes what is missing and mounts what is not mounted. `layers` must hold the image for this machine.
Disk make_disk(const host::Path& folder, const Layers& layers, const Spec& spec);
// Unmounts; what was written stays.
void unmount_disk(const host::Path& folder);

}  // namespace kiln::machine
