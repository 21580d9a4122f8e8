// Loop devices: files as block devices, for as long as something is mounted from them, or until they are given back.
#pragma once

#include <map>
#include <string>

#include "base/time.h"
#include "host/file.h"
#include "machine/internal/partitions.h"

namespace kiln::machine {

// Of all of the file, or of a part. `device` becomes its path. The device is its mount's: it goes with it (autoclear),
// and when the descriptor is closed before anything is mounted.
host::FileDescriptor loop_device(const host::Path& file, bool read_only, std::string& device, const Extent& part = {});

// The device that a file has, and gets if it has none. It stays when its maker dies.
std::string keep_loop_device(const host::Path& file);
// The devices whose files are below a folder, or are that file: file -> device. The kernel's word; removed files too.
std::map<host::Path, std::string> loop_devices(const host::Path& below);
// Whether something is mounted from it.
bool is_claimed(const std::string& device);
// Gives it back. The kernel waits for the last one who has it open: false when that takes longer than `patience`, and
// then it goes later by itself.
bool drop_loop_device(const host::Path& file, Duration patience);
// The device's size becomes that of its file.
void resize_loop_device(const std::string& device);

}  // namespace kiln::machine
