// Loop device: a file as a block device, for as long as something is mounted from it.
#pragma once

#include <string>

#include "host/file.h"

namespace kiln::machine {

// `device` becomes its path. The device is its mount's: it goes with it (autoclear), and when the descriptor is closed
// before anything is mounted.
host::FileDescriptor loop_device(const host::Path& file, bool read_only, std::string& device);

}  // namespace kiln::machine
