// Layout: an OCI image layout that others wrote: its index, manifests and configs, checked. Private to this room.
//
// OCI image specification 1.1. Docker's own media types (manifest v2 schema 2) are the same things under other names.
// What is read is Error(corrupt) unless it has the digest and the size that it was named with.
#pragma once

#include <string>
#include <vector>

#include "base/digest.h"
#include "host/file.h"
#include "store/image.h"

namespace kiln::oci {

struct LayoutImage {
  Digest digest;  // of the manifest
  std::string manifest;
  std::string media_type;
  bool machine = false;  // one of Kiln's own, with erofs layers
  store::Blob config;
  std::string config_bytes;
  std::vector<Digest> diff_ids;     // of the layers' tars without their packing; none when the config does not say
  std::vector<store::Blob> layers;  // lowest first
};

class Layout {
 public:
  // Throws Error(not_found) or Error(corrupt) when there is no layout.
  explicit Layout(host::Path folder);

  // `tag` is org.opencontainers.image.ref.name or a digest; empty: the only image. Of an image for several platforms,
  // linux/amd64. Throws Error(not_found) that names those that are there.
  LayoutImage image(const std::string& tag) const;
  // The blob's file, after its bytes were compared with digest and size.
  host::Path checked(const store::Blob& blob) const;

 private:
  std::string read(const store::Blob& blob) const;
  LayoutImage read_image(store::Blob found) const;

  host::Path folder_;
};

}  // namespace kiln::oci
