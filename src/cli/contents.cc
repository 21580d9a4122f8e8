// Contents: where it is kept, and why there may be none.
#include "cli/contents.h"

#include <fmt/format.h>

#include "base/error.h"
#include "builder/ami_image.h"
#include "builder/disk.h"

namespace kiln::cli {

host::Path contents_folder(const Context& context) { return context.home / "cache" / "contents"; }

proof::ContentsReader contents_reader(const Context& context, const store::Store& store) {
  return {store, contents_folder(context)};
}

std::optional<store::Image> stored_image(const store::Store& store, const Digest& image) {
  if (!store.has(image) || builder::find_ami(store, image)) return std::nullopt;
  return store.image(image);
}

proof::Contents contents_of(proof::ContentsReader& reader, const store::Store& store, const Digest& image) {
  if (!builder::find_ami(store, image)) return reader.of(image);
  proof::LayerContents disk = builder::read_disk(builder::disk_of(store, image)).contents;
  return proof::stack({std::make_shared<const proof::LayerContents>(std::move(disk))});
}

proof::Contents contents_of(proof::ContentsReader& reader, const store::Store& store, const catalog::Image& image) {
  if (!store.has(image.digest)) {
    throw Error(ErrorCode::not_found, fmt::format("the bytes of {} are not on this machine", image.name()),
                image.imported_from.empty() ? "Bake it again: the same recipe gives the same bytes."
                                            : "It was imported: of such an AMI only its name and tags are known.");
  }
  return with_context("looking into " + image.name(), [&] { return contents_of(reader, store, image.digest); });
}

}  // namespace kiln::cli
