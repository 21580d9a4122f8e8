// Contents: see catalog/contents.h; what was read of a layer is kept beside the bake cache.
#include "cli/contents.h"

#include <fmt/format.h>

#include "base/error.h"
#include "builder/ami_image.h"
#include "builder/disk.h"
#include "store/listing.h"

namespace kiln::cli {

std::optional<store::Image> stored_image(const store::Store& store, const Digest& image) {
  if (!store.has(image) || builder::find_ami(store, image)) return std::nullopt;
  return store.image(image);
}

catalog::Contents contents_of(Context& context, const store::Store& store, const catalog::Image& image) {
  if (!store.has(image.digest)) {
    throw Error(ErrorCode::not_found, fmt::format("the bytes of {} are not on this machine", image.name()),
                image.imported_from.empty() ? "Bake it again: the same recipe gives the same bytes."
                                            : "It was imported: of such an AMI only its name and tags are known.");
  }
  return with_context("looking into " + image.name(), [&] {
    if (builder::find_ami(store, image.digest))
      return catalog::stack({builder::read_disk(builder::disk_of(store, image.digest)).listing});
    std::vector<store::Listing> layers;
    for (const store::Blob& layer : store.image(image.digest).layers) {
      layers.push_back(store::list_layer(store, layer.digest, context.home / "cache" / "listings"));
    }
    return catalog::stack(layers);
  });
}

}  // namespace kiln::cli
