// Import: what others made, as layers of a machine or as images of containers in the store.
//
// Nothing is in the store before all of it was read and found good, but blobs that nothing names. The same archive or
// image gives the same layers on every machine. Memory does not grow with sizes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "oci/unpack.h"
#include "store/store.h"

namespace kiln::oci {

struct Imported {
  Digest source;                    // of the archive's bytes, or of the OCI manifest: for keys and tags
  std::vector<store::Blob> layers;  // erofs, lowest first
  bool has_init = false;            // /sbin/init, or systemd: it can boot as a machine
  std::string config;               // an OCI image's config as JSON; empty for an archive
};

struct ImportOptions {
  Limits limits{};
  std::function<bool()> cancelled{};  // once true, what runs is ended, and Error(cancelled) climbs
  // A folder that keeps which layer of an OCI image became which layer here (oci/layer_memory.h), so that images which
  // share their lower layers unpack those once. Empty: nothing is kept.
  host::Path memory{};
};

// A root in a tar archive, plain or compressed by gzip, zstd or xz: one layer. Needs root.
Imported import_archive(const host::Path& archive, store::Store& store, const ImportOptions& options = {});

// `reference` as skopeo writes them: "oci:FOLDER[:TAG]", "oci-archive:FILE[:TAG]", "docker://HOST/NAME[:TAG]" and
// "docker-archive:FILE" (the last two through skopeo). Relative paths are from `folder`. One erofs layer for each layer
// of the image, whiteouts applied. A layer must have the digest that the manifest names and, unpacked, the one that the
// config names: Error(corrupt). Needs root.
Imported import_oci(const std::string& reference, const host::Path& folder, store::Store& store,
                    const ImportOptions& options = {});

// What names the content of an archive or an OCI reference, cheaply: for the key of a layer.
Digest source_of_archive(const host::Path& archive);
Digest source_of_oci(const std::string& reference, const host::Path& folder, const store::Store& store);

// Keeps an OCI image of a container as it is: its manifest, config and tar layers. Returns the manifest's digest.
Digest keep_container(const std::string& reference, const host::Path& folder, store::Store& store,
                      const std::string& name);

// Throws Error(usage) with the way round unless the image can boot.
void require_init(const Imported& image, const std::string& what);

}  // namespace kiln::oci
