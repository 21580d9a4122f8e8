// Remains: what of a region is on this host outside its state folder, whether or not its control plane lives. The
// kernel is asked, not the folder: that may be damaged, or gone.
#pragma once

#include <string>
#include <vector>

#include "host/file.h"

namespace kiln::machine {

struct Remains {
  std::vector<std::string> machines;    // whose supervisor runs, by id
  std::vector<std::string> namespaces;  // network namespaces, of machines and of VPCs
  std::vector<host::Path> mounts;
  std::vector<std::string> devices;  // loop devices
  std::vector<host::Path> cgroups;   // as far as Kiln makes them itself, not as systemd's units
};

// `folder` is the region's, `slot` the one that it had; of an unknown folder (empty) only what the slot names is found.
// Changes nothing.
Remains remains_of(const host::Path& folder, int slot);
// "2 machines, 3 network namespaces, 5 mounts"; "nothing".
std::string describe(const Remains& remains);

}  // namespace kiln::machine
