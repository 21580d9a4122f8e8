// CatalogBases: `from: {image: NAME@VERSION}`: the layers of an image that was baked before.
#pragma once

#include "bake/base_images.h"
#include "cli/context.h"
#include "store/lease.h"
#include "store/store.h"

namespace kiln::cli {

class CatalogBases : public bake::BaseImages {
 public:
  CatalogBases(Context& context, const store::Store& store) : context_(context), store_(store) {}
  // Only an ImageBase; empty for the others.
  std::vector<store::Blob> layers_of(const spec::App& app, const std::string& app_folder) override;

 private:
  Context& context_;
  const store::Store& store_;
  std::vector<store::Lease> leases_;  // of the bases, until the bake has ended
};

}  // namespace kiln::cli
