// Contents: what is in images of the catalog, for the commands that look inside.
#pragma once

#include "catalog/catalog.h"
#include "cli/context.h"
#include "proof/contents.h"
#include "store/store.h"

namespace kiln::cli {

// Where what was read of layers is kept.
host::Path contents_folder(const Context& context);
// The first look into a layer needs root.
proof::ContentsReader contents_reader(const Context& context, const store::Store& store);

// Throws Error(not_found) when the bytes are not on this machine: an AMI that was imported.
proof::Contents contents_of(proof::ContentsReader& reader, const store::Store& store, const catalog::Image& image);

}  // namespace kiln::cli
