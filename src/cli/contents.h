// Contents: what is in images of the catalog, for the commands that look inside.
#pragma once

#include <optional>

#include "catalog/catalog.h"
#include "cli/context.h"
#include "proof/contents.h"
#include "store/store.h"

namespace kiln::cli {

// Where what was read of layers is kept.
host::Path contents_folder(const Context& context);
// The first look into a layer needs root.
proof::ContentsReader contents_reader(const Context& context, const store::Store& store);
// The bytes of an image; nullopt when they are not on this machine, as those of an AMI are not.
std::optional<store::Image> stored_image(const store::Store& store, const Digest& image);
// What is in an image; of an AMI that was baked in an instance, what was read of its disk. Throws Error(not_found).
proof::Contents contents_of(proof::ContentsReader& reader, const store::Store& store, const Digest& image);

// Throws Error(not_found) when the bytes are not on this machine: an AMI that was imported.
proof::Contents contents_of(proof::ContentsReader& reader, const store::Store& store, const catalog::Image& image);

}  // namespace kiln::cli
