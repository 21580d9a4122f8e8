// Contents: an image's layers read from the store, for the commands that look inside.
#pragma once

#include <optional>

#include "catalog/catalog.h"
#include "catalog/contents.h"
#include "cli/context.h"
#include "store/store.h"

namespace kiln::cli {

// The bytes of an image; nullopt when they are not on this machine, as those of an AMI are not.
std::optional<store::Image> stored_image(const store::Store& store, const Digest& image);

// Throws Error(not_found) when the bytes are not on this machine: an AMI that was imported.
catalog::Contents contents_of(Context& context, const store::Store& store, const catalog::Image& image);

}  // namespace kiln::cli
