// CosignTag: one manifest, a layer a signature.
#include "cli/cosign_tag.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "proof/attach.h"
#include "registry/document.h"

namespace kiln::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kConfigType = "application/vnd.oci.image.config.v1+json";

json layer_of(const store::Blob& blob) {
  return {{"mediaType", blob.media_type},
          {"size", blob.size_bytes},
          {"digest", blob.digest.str()},
          {"annotations", blob.annotations}};
}

bool is_same(const json& a, const json& b) {
  const std::string key(proof::kSignatureAnnotation);
  return a.value("digest", "") == b.value("digest", "") &&
         a.value("annotations", json::object()).value(key, "") == b.value("annotations", json::object()).value(key, "");
}

// What is in the tag now. Something else than a manifest of signatures is somebody's mistake, and not ours to replace.
json layers_there(registry::Client& client, const std::string& repository, const std::string& tag) {
  if (!client.has_manifest(repository, tag)) return json::array();
  const json manifest = json::parse(client.manifest(repository, tag).bytes, nullptr, false);
  if (!manifest.is_object() || !manifest.contains("layers") || !manifest["layers"].is_array()) {
    throw Error(ErrorCode::conflict, fmt::format("the tag {} of {} holds no signatures", tag, repository),
                "Look what it is, and remove the tag.");
  }
  return manifest["layers"];
}

store::Blob blob_of(const std::string& bytes, std::string_view media_type) {
  store::Blob blob;
  blob.digest = sha256(bytes);
  blob.size_bytes = bytes.size();
  blob.media_type = media_type;
  return blob;
}

}  // namespace

std::string cosign_tag(const Digest& image) { return "sha256-" + image.hex() + ".sig"; }

void write_cosign_tag(const store::Store& store, const Digest& image, registry::Client& client,
                      const registry::Reference& to) {
  std::vector<json> ours;
  for (const store::Artifact& artifact : store.artifacts_of(image)) {
    if (artifact.artifact_type != proof::kSignatureType) continue;
    for (const store::Blob& blob : artifact.blobs) ours.push_back(layer_of(blob));
  }
  if (ours.empty()) return;
  json layers = layers_there(client, to.repository, cosign_tag(image));
  const std::size_t before = layers.size();
  for (json& layer : ours) {
    if (std::ranges::none_of(layers, [&](const json& one) { return is_same(one, layer); })) layers.push_back(layer);
  }
  if (layers.size() == before) return;

  json diff_ids = json::array();
  for (const json& layer : layers) diff_ids.push_back(layer.at("digest"));
  const std::string config = json{{"architecture", ""},
                                  {"os", ""},
                                  {"config", json::object()},
                                  {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}}
                                 .dump();
  const store::Blob config_blob = blob_of(config, kConfigType);
  if (!client.has_blob(to.repository, config_blob.digest)) {
    const auto work = store.temporary();
    host::write_file(work->path() / "config", config);
    client.push_blob(to.repository, {config_blob, work->path() / "config", {}, {}}, {});
  }
  const json manifest = {
      {"schemaVersion", 2},
      {"mediaType", registry::kOciManifest},
      {"config", {{"mediaType", kConfigType}, {"size", config_blob.size_bytes}, {"digest", config_blob.digest.str()}}},
      {"layers", layers}};
  const std::string bytes = manifest.dump();
  client.put_manifest(to.repository, cosign_tag(image), {bytes, std::string(registry::kOciManifest), sha256(bytes)});
}

}  // namespace kiln::cli
