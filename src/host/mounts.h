// Mounts of our own: a mount namespace that nothing spreads from, and that ends with whoever has it, however that ends.
#pragma once

#include <functional>
#include <string>

#include "host/file.h"

namespace kiln::host {

// Runs `body` in a thread that has one; an exception climbs to the caller. What the host unmounts meanwhile goes here
// too, so that nobody's disk is kept busy. Throws Error(denied) without root, Error(io).
void with_private_mounts(const std::function<void()>& body);

// Throws Error(unsupported) on a kernel that cannot mount it, also after modprobe. `known` is its list of those that it
// can.
void need_file_system(const std::string& file_system, const Path& known = "/proc/filesystems");

}  // namespace kiln::host
