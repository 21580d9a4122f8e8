// LayerMemory: a JSON object a layer.
#include "oci/layer_memory.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "store/erofs.h"

namespace kiln::oci {
namespace {

using Json = nlohmann::json;

// Of how layers are made; another number makes all of them anew.
constexpr const char* kKind = "layer 1";

Json to_json(const KnownLayer& layer) {
  Json folders = Json::object();
  for (const auto& [name, is] : layer.unpacked.folders)
    folders[name] = {is.mode, is.uid, is.gid, is.mtime_seconds, is.mtime_nanoseconds};
  return {{"digest", layer.blob.digest.str()},
          {"size", layer.blob.size_bytes},
          {"content", layer.unpacked.content.str()},
          {"entries", layer.unpacked.entries},
          {"bytes", layer.unpacked.bytes},
          {"has_init", layer.has_init},
          {"folders", folders}};
}

KnownLayer from_json(const Json& json) {
  KnownLayer layer;
  layer.blob = {Digest::parse(json.at("digest").get<std::string>()), json.at("size").get<std::uint64_t>(),
                std::string(store::kErofsLayerType)};
  layer.unpacked.content = Digest::parse(json.at("content").get<std::string>());
  layer.unpacked.entries = json.at("entries").get<std::uint64_t>();
  layer.unpacked.bytes = json.at("bytes").get<std::uint64_t>();
  layer.has_init = json.at("has_init").get<bool>();
  for (const auto& [name, is] : json.at("folders").items()) {
    layer.unpacked.folders[name] = {.mode = is.at(0).get<unsigned>(),
                                    .uid = is.at(1).get<std::uint32_t>(),
                                    .gid = is.at(2).get<std::uint32_t>(),
                                    .mtime_seconds = is.at(3).get<std::int64_t>(),
                                    .mtime_nanoseconds = is.at(4).get<long>()};
  }
  return layer;
}

}  // namespace

Digest LayerMemory::key(const Digest& below, const Digest& layer) {
  return sha256(fmt::format("{} {} {}", kKind, below.str(), layer.str()));
}

std::optional<KnownLayer> LayerMemory::find(const Digest& key) const {
  const host::Path file = folder_ / (key.hex() + ".json");
  if (folder_.empty() || !std::filesystem::exists(file)) return std::nullopt;
  try {
    KnownLayer layer = from_json(Json::parse(host::read_file(file)));
    if (store_.has(layer.blob.digest)) return layer;
  } catch (const Json::exception&) {
    return std::nullopt;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid) throw;
  }
  return std::nullopt;
}

void LayerMemory::put(const Digest& key, const KnownLayer& layer) const {
  if (folder_.empty()) return;
  std::string text;
  try {
    text = to_json(layer).dump();
  } catch (const Json::exception&) {
    return;  // a folder's name is not UTF-8: JSON cannot hold it
  }
  host::make_folders(folder_);
  host::write_file(folder_ / (key.hex() + ".json"), text);
}

}  // namespace kiln::oci
