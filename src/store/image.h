// Image: what a machine is made of: layers, lowest first, and how they want to be run.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"

namespace kiln::store {

inline constexpr std::string_view kErofsLayerType = "application/vnd.kiln.layer.v1.erofs";
inline constexpr std::string_view kMachineConfigType = "application/vnd.kiln.machine.config.v1+json";

struct Blob {
  Digest digest;
  std::uint64_t size_bytes = 0;
  std::string media_type;
  std::map<std::string, std::string> annotations{};  // of its descriptor in the manifest
  bool operator==(const Blob&) const = default;
};

// What the recipe says of the image as a whole; stored as the OCI manifest's config blob.
struct ImageConfig {
  std::string app;
  std::string architecture = "amd64";
  bool read_only_root = true;         // outside `writable`, /run, /tmp and /var/tmp nothing can be written at run time
  std::vector<std::string> writable;  // absolute folders, sorted
  std::vector<std::string> history;   // one line a layer: the step that made it
  bool operator==(const ImageConfig&) const = default;
};

// An OCI image manifest, read and verified. `digest` is the manifest's: the name of the whole.
struct Image {
  Digest digest;
  ImageConfig config;
  std::vector<Blob> layers;  // lowest first
  std::uint64_t size_bytes() const;
};

// What was said about an image after it was made, and is not part of it: an SBOM, a provenance, a signature. An OCI 1.1
// manifest whose `subject` is the image.
struct Artifact {
  Digest manifest;
  std::string artifact_type;
  std::map<std::string, std::string> annotations;
  std::vector<Blob> blobs;  // its layers
};

}  // namespace kiln::store
