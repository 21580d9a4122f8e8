// Export: an image of the store as an OCI image that other tools read and run: one tar layer for each layer.
//
// Deterministic: the same image gives the same bytes, and so the same digest, on every machine. Nothing is at the
// destination before all of it is: a folder or file is made beside it and renamed. Memory does not grow with sizes.
#pragma once

#include <string>

#include "store/store.h"

namespace kiln::oci {

enum class Packing { none, gzip, zstd };

struct ExportOptions {
  std::string name;  // org.opencontainers.image.ref.name: "web-1.2.0"
  Packing packing = Packing::gzip;
  // Of an image made of a root: the OCI config's "config" as JSON: command, environment, user. Empty: a machine's init.
  std::string process{};
};

struct Exported {
  Digest digest;  // of the OCI manifest
  std::uint64_t bytes = 0;
};

// `image` is a machine's or a container's. A destination that ends in ".tar" is one file (skopeo's oci-archive), else a
// folder (oci). Throws Error(already_exists) when it is there. A machine's needs root: its layers are mounted.
Exported export_image(const store::Store& store, const Digest& image, const host::Path& destination,
                      const ExportOptions& options);

// A folder as a tar archive: entries by name, times as they are, owners as numbers; overlayfs's "removed" and "opaque"
// become ".wh." entries. Returns the digest of the tar before it was packed.
Digest pack(const host::Path& folder, const host::Path& archive, Packing packing);

}  // namespace kiln::oci
