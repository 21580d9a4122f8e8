// Manifest: an OCI image manifest and its config, as bytes and as values. Private to this room.
//
// OCI image specification 1.1 (manifest with artifactType),
// https://github.com/opencontainers/image-spec/blob/main/manifest.md. Writing is deterministic: keys sorted, no white
// space. Reading refuses what Kiln does not write: Error(corrupt).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/image.h"

namespace kiln::store {

inline constexpr std::string_view kManifestType = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kIndexType = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kMachineArtifactType = "application/vnd.kiln.machine.v1";
inline constexpr std::size_t kManifestBytesMax = std::size_t{4} << 20;  // what OCI registries accept
inline constexpr std::size_t kLayersMax = 500;                          // overlayfs takes at most 500 lower folders

struct Manifest {
  Blob config;
  std::vector<Blob> layers;
  bool operator==(const Manifest&) const = default;
};

std::string write_manifest(const Manifest& manifest);
Manifest read_manifest(std::string_view bytes);

std::string write_config(const ImageConfig& config);
ImageConfig read_config(std::string_view bytes);

// index.json: the images of a layout, sorted by digest.
std::string write_index(const std::vector<Blob>& manifests);
std::vector<Blob> read_index(std::string_view bytes);

}  // namespace kiln::store
