// PackerContainer: what a template whose builder is `docker` makes of its image: names in the store, and in registries.
#pragma once

#include <string>

#include "cli/context.h"
#include "cli/packer_bake.h"
#include "store/store.h"

namespace kiln::cli {

// Error(usage) at a docker-push whose names are not a registry's; to be asked before the bake.
void check_container(const PackerBake& bake);

// docker-tag and docker-push, in the order of the template. `config` is the OCI config of the image that it started
// from, or empty: the container keeps its environment, user and command. Layers are converted once for an image.
void tag_and_push(Context& context, const PackerBake& bake, store::Store& store, const Digest& image,
                  const std::string& config, bool quiet);

}  // namespace kiln::cli
