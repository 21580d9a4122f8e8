// Document: a manifest or an index of any kind that registries hold, as far as moving it needs to be understood.
//
// OCI image specification 1.1 and Docker's schema 2. The bytes are never changed: their digest is their name. Reading
// throws Error(corrupt); Docker's schema 1, which has no digests of its layers' bytes, is Error(unsupported).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store/image.h"

namespace kiln::registry {

inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::size_t kDocumentBytesMax = std::size_t{4} << 20;  // what registries accept

struct Document {
  std::string media_type;
  std::string artifact_type;  // empty: none
  bool is_index = false;
  std::vector<store::Blob> blobs;      // config and layers; without those that only their owner may give out
  std::vector<store::Blob> manifests;  // of an index
  store::Blob subject;                 // empty digest: none
  std::map<std::string, std::string> annotations;
};

// `media_type` is what the answer's Content-Type said; empty: unknown. What the document says itself must agree.
Document read_document(std::string_view bytes, std::string_view media_type);

// What the list of referrers says of the document: its type, and its config's where it has none.
std::string referrer_type(const Document& document);

// The list of what was said about an image, as the referrers API answers and as the tag "sha256-<hex>" holds it for
// registries without that API.
struct Referrer {
  store::Blob manifest;
  std::string artifact_type;
  std::map<std::string, std::string> annotations;
};
std::vector<Referrer> read_referrers(std::string_view bytes);
std::string write_referrers(const std::vector<Referrer>& referrers);  // the same bytes for the same list

}  // namespace kiln::registry
