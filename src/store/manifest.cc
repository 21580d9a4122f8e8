// Manifest: JSON both ways.
#include "store/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kiln::store {
namespace {

using Json = nlohmann::json;  // its objects are sorted by key

// Ours are 3 deep; nlohmann's parser does not recurse, but destroying a value does.
constexpr int kDepthMax = 16;

Json parse_object(std::string_view bytes, const char* what) {
  if (bytes.size() > kManifestBytesMax) {
    throw Error(ErrorCode::corrupt,
                fmt::format("{}: {} bytes; at most {} are read", what, bytes.size(), kManifestBytesMax));
  }
  try {
    const auto bound_depth = [&](int depth, Json::parse_event_t, Json&) {
      if (depth > kDepthMax) throw Error(ErrorCode::corrupt, fmt::format("{}: nested deeper than {}", what, kDepthMax));
      return true;
    };
    Json json = Json::parse(bytes, bound_depth);
    if (!json.is_object()) throw Error(ErrorCode::corrupt, fmt::format("{}: not a JSON object", what));
    return json;
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("{}: not JSON: {}", what, error.what()));
  }
}

// Calls `read` and turns a missing key or a wrong type into Error(corrupt).
template <typename Read>
auto reading(const char* what, Read&& read) -> decltype(read()) {
  try {
    return read();
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("{}: {}", what, error.what()));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::corrupt) throw;
    throw Error(ErrorCode::corrupt, fmt::format("{}: {}", what, error.message()));
  }
}

void expect(bool holds, const char* what, const std::string& why) {
  if (!holds) throw Error(ErrorCode::corrupt, fmt::format("{}: {}", what, why));
}

Json descriptor(const Blob& blob) {
  Json json{{"digest", blob.digest.str()}, {"mediaType", blob.media_type}, {"size", blob.size_bytes}};
  if (!blob.annotations.empty()) json["annotations"] = blob.annotations;
  return json;
}

Blob read_descriptor(const Json& json) {
  const Json& size = json.at("size");
  expect(size.is_number_unsigned(), "descriptor", "size is not a whole number");
  Blob blob{Digest::parse(json.at("digest").get<std::string>()), size.get<std::uint64_t>(),
            json.at("mediaType").get<std::string>()};
  if (json.contains("annotations")) json["annotations"].get_to(blob.annotations);
  return blob;
}

}  // namespace

std::string write_manifest(const Manifest& manifest) {
  Json layers = Json::array();
  for (const Blob& layer : manifest.layers) layers.push_back(descriptor(layer));
  return Json{{"schemaVersion", 2},
              {"mediaType", kManifestType},
              {"artifactType", kMachineArtifactType},
              {"config", descriptor(manifest.config)},
              {"layers", std::move(layers)}}
      .dump();
}

Manifest read_manifest(std::string_view bytes) {
  const Json json = parse_object(bytes, "manifest");
  return reading("manifest", [&] {
    expect(json.at("schemaVersion") == 2, "manifest", "schemaVersion is not 2");
    expect(json.at("mediaType") == kManifestType, "manifest", "another media type");
    expect(json.at("artifactType") == kMachineArtifactType, "manifest", "not an image of a machine");
    Manifest manifest;
    manifest.config = read_descriptor(json.at("config"));
    expect(manifest.config.media_type == kMachineConfigType, "manifest", "config of another media type");
    const Json& layers = json.at("layers");
    expect(layers.is_array() && !layers.empty() && layers.size() <= kLayersMax, "manifest",
           fmt::format("layers must be a list of 1 to {}", kLayersMax));
    for (const Json& layer : layers) {
      manifest.layers.push_back(read_descriptor(layer));
      expect(manifest.layers.back().media_type == kErofsLayerType, "manifest", "layer of another media type");
    }
    return manifest;
  });
}

std::string write_config(const ImageConfig& config) {
  return Json{{"app", config.app},
              {"architecture", config.architecture},
              {"os", "linux"},
              {"readOnlyRoot", config.read_only_root},
              {"writable", config.writable},
              {"history", config.history}}
      .dump();
}

ImageConfig read_config(std::string_view bytes) {
  const Json json = parse_object(bytes, "image config");
  return reading("image config", [&] {
    ImageConfig config;
    json.at("app").get_to(config.app);
    json.at("architecture").get_to(config.architecture);
    json.at("readOnlyRoot").get_to(config.read_only_root);
    json.at("writable").get_to(config.writable);
    json.at("history").get_to(config.history);
    return config;
  });
}

std::string write_artifact(const ArtifactManifest& artifact) {
  Json blobs = Json::array();
  for (const Blob& blob : artifact.blobs) blobs.push_back(descriptor(blob));
  const Blob nothing{sha256(kEmptyBytes), kEmptyBytes.size(), std::string(kEmptyType)};
  Json json{{"schemaVersion", 2},
            {"mediaType", kManifestType},
            {"artifactType", artifact.artifact_type},
            {"config", descriptor(nothing)},
            {"layers", std::move(blobs)}};
  if (!artifact.subject.digest.empty()) json["subject"] = descriptor(artifact.subject);
  if (!artifact.annotations.empty()) json["annotations"] = artifact.annotations;
  return json.dump();
}

ArtifactManifest read_artifact(std::string_view bytes) {
  const Json json = parse_object(bytes, "artifact");
  return reading("artifact", [&] {
    expect(json.at("schemaVersion") == 2, "artifact", "schemaVersion is not 2");
    ArtifactManifest artifact;
    if (json.contains("subject")) artifact.subject = read_descriptor(json["subject"]);
    json.at("artifactType").get_to(artifact.artifact_type);
    expect(!artifact.artifact_type.empty(), "artifact", "artifactType is empty");
    if (json.contains("annotations")) json["annotations"].get_to(artifact.annotations);
    const Json& blobs = json.at("layers");
    expect(blobs.is_array() && !blobs.empty() && blobs.size() <= kLayersMax, "artifact",
           fmt::format("layers must be a list of 1 to {}", kLayersMax));
    for (const Json& blob : blobs) artifact.blobs.push_back(read_descriptor(blob));
    return artifact;
  });
}

ManifestHead read_head(std::string_view bytes) {
  const Json json = parse_object(bytes, "manifest");
  return reading("manifest", [&] {
    expect(json.at("schemaVersion") == 2, "manifest", "schemaVersion is not 2");
    ManifestHead head;
    head.media_type = json.value("mediaType", "");
    head.artifact_type = json.value("artifactType", "");
    if (json.contains("subject")) head.subject = read_descriptor(json["subject"]).digest;
    return head;
  });
}

std::string write_index(const std::vector<IndexEntry>& entries) {
  std::vector<IndexEntry> sorted = entries;
  std::ranges::stable_sort(sorted, {}, [](const IndexEntry& entry) { return entry.blob.digest; });
  Json list = Json::array();
  for (const IndexEntry& entry : sorted) {
    Json json = descriptor(entry.blob);
    if (!entry.artifact_type.empty()) json["artifactType"] = entry.artifact_type;
    if (!entry.others.empty()) json.update(parse_object(entry.others, "index.json"));
    list.push_back(std::move(json));
  }
  return Json{{"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", std::move(list)}}.dump();
}

std::vector<IndexEntry> read_index(std::string_view bytes) {
  const Json json = parse_object(bytes, "index.json");
  return reading("index.json", [&] {
    expect(json.at("schemaVersion") == 2, "index.json", "schemaVersion is not 2");
    std::vector<IndexEntry> entries;
    for (Json others : json.at("manifests")) {
      IndexEntry entry{read_descriptor(others), others.value("artifactType", ""), {}};
      for (const char* known : {"digest", "size", "mediaType", "annotations", "artifactType"}) others.erase(known);
      if (!others.empty()) entry.others = others.dump();
      entries.push_back(std::move(entry));
    }
    return entries;
  });
}

}  // namespace kiln::store
