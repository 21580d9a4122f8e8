// Sparse file: copies of large files that are mostly holes.
#pragma once

#include "host/file.h"

namespace kiln::machine {

// A copy with the same holes; one that shares its blocks where the file system can. `to` is made or written over, and
// may be there in part when this throws or we die: copy beside the name and rename.
// Throws Error(disk_full), Error(denied), Error(io).
void copy_sparse(const host::Path& from, const host::Path& to);

}  // namespace kiln::machine
