// Manifest: an OCI image manifest and its config, and the index of a layout, as bytes and as values. For whoever reads
// or writes a layout beside Store: the registry, and commands that ask what index.json names.
//
// OCI image specification 1.1 (manifest with artifactType),
// https://github.com/opencontainers/image-spec/blob/main/manifest.md. Writing is deterministic: keys sorted, no white
// space. Reading refuses what Kiln does not write: Error(corrupt). The index may name what Kiln did not write; that is
// kept as it stands.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store/image.h"

namespace kiln::store {

inline constexpr std::string_view kManifestType = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kIndexType = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kMachineArtifactType = "application/vnd.kiln.machine.v1";
// What an artifact has instead of a config: the blob "{}".
inline constexpr std::string_view kEmptyType = "application/vnd.oci.empty.v1+json";
inline constexpr std::string_view kEmptyBytes = "{}";
// Annotation of an artifact in index.json: the digest of its subject, so that nobody has to read all manifests.
inline constexpr std::string_view kSubjectAnnotation = "io.kiln.subject";
inline constexpr const char* kRefNameAnnotation = "org.opencontainers.image.ref.name";
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

struct ArtifactManifest {
  Blob subject;  // without a digest: it is about nothing else
  std::string artifact_type;
  std::map<std::string, std::string> annotations;
  std::vector<Blob> blobs;
  bool operator==(const ArtifactManifest&) const = default;
};

std::string write_artifact(const ArtifactManifest& artifact);
ArtifactManifest read_artifact(std::string_view bytes);

// What index.json has to know of any manifest, whoever wrote it.
struct ManifestHead {
  std::string media_type;
  std::string artifact_type;  // empty: none, as images of containers
  Digest subject;             // empty: none
};
ManifestHead read_head(std::string_view bytes);

// One manifest that index.json names; the blob's annotations are the entry's.
struct IndexEntry {
  Blob blob;
  std::string artifact_type;
  std::string others;  // what else the entry holds (platform, urls, ..), as a JSON object; empty: nothing
  bool operator==(const IndexEntry&) const = default;
};

// index.json: the manifests of a layout, sorted by digest.
std::string write_index(const std::vector<IndexEntry>& entries);
std::vector<IndexEntry> read_index(std::string_view bytes);

}  // namespace kiln::store
