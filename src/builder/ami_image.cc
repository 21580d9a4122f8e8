// AmiImage: see ami_image.h.
#include "builder/ami_image.h"

#include "base/error.h"

namespace kiln::builder {

Digest keep_ami(store::Store& store, const AmiImage& image, std::string_view disk) {
  const store::Blob blob{store.put(disk), disk.size(), std::string(kDiskType)};
  return store.add_artifact({}, std::string(kAmiImageType), {blob},
                            {{"io.kiln.account", image.account},
                             {"io.kiln.region", image.region},
                             {"io.kiln.ami", image.ami},
                             {"io.kiln.snapshot", image.snapshot},
                             {"io.kiln.base", image.base}});
}

std::optional<AmiImage> find_ami(const store::Store& store, const Digest& image) {
  const auto artifact = store.artifact(image);
  if (!artifact || artifact->artifact_type != kAmiImageType) return std::nullopt;
  const auto noted = [&](const char* name) {
    const auto found = artifact->annotations.find(name);
    return found == artifact->annotations.end() ? std::string() : found->second;
  };
  return AmiImage{noted("io.kiln.account"), noted("io.kiln.region"), noted("io.kiln.ami"), noted("io.kiln.snapshot"),
                  noted("io.kiln.base")};
}

std::string disk_of(const store::Store& store, const Digest& image) {
  const auto artifact = store.artifact(image);
  if (!artifact || artifact->artifact_type != kAmiImageType)
    throw Error(ErrorCode::not_found, "the store does not know what is on the disk of " + image.str());
  return store.read(artifact->blobs.front().digest);
}

}  // namespace kiln::builder
