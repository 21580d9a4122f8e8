// Overlap: what two layers have in common, and how they differ. Private to this room.
#pragma once

#include <string>
#include <vector>

#include "bake/bake.h"
#include "host/file.h"

namespace kiln::bake {

// The first path, in the image's own words ("/etc/x"), that both layers write; empty when there is none. Folders that
// both have are no such path unless their owners or modes differ, or one of them replaces what was in it. `work` is an
// empty folder; the layers are mounted there for as long as it takes.
std::string common_path(const host::Path& lower, const host::Path& upper, const host::Path& work);

// File by file: what one has and the other has not, or has otherwise. Sorted by path.
std::vector<Difference> compare_layers(const host::Path& first, const host::Path& second, const host::Path& work);

}  // namespace kiln::bake
