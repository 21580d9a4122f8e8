// Layout: index.json, image indexes, manifests.
#include "oci/layout.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "host/pieces.h"

namespace kiln::oci {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kJsonBytesMax = std::uint64_t{4} << 20;
constexpr std::size_t kLayersMax = 500;
constexpr int kDepthMax = 32;
constexpr int kNestingMax = 4;  // indexes in indexes
constexpr const char* kTag = "org.opencontainers.image.ref.name";

Error corrupt(const std::string& what, const std::string& why) {
  return {ErrorCode::corrupt, fmt::format("{}: {}", what, why), "nothing was imported; copy the image again"};
}

Json parse(const std::string& bytes, const std::string& what) {
  try {
    Json json = Json::parse(bytes, [&](int depth, Json::parse_event_t, Json&) {
      if (depth > kDepthMax) throw corrupt(what, "nested too deep");
      return true;
    });
    if (!json.is_object()) throw corrupt(what, "not a JSON object");
    return json;
  } catch (const Json::exception& error) {
    throw corrupt(what, error.what());
  }
}

template <typename Read>
auto reading(const std::string& what, Read&& read) -> decltype(read()) {
  try {
    return read();
  } catch (const Json::exception& error) {
    throw corrupt(what, error.what());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid || error.code() == ErrorCode::usage) throw corrupt(what, error.message());
    throw;
  }
}

store::Blob descriptor(const Json& json) {
  if (!json.at("size").is_number_unsigned()) throw corrupt("descriptor", "size is no whole number");
  return {Digest::parse(json.at("digest").get<std::string>()), json.at("size").get<std::uint64_t>(),
          json.at("mediaType").get<std::string>()};
}

bool is_index(const std::string& type) {
  return type == "application/vnd.oci.image.index.v1+json" ||
         type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

std::string text_at(const Json& json, const char* key, const char* inner) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_object()) return {};
  const auto text = found->find(inner);
  return text != found->end() && text->is_string() ? text->get<std::string>() : std::string();
}

bool for_this_machine(const Json& entry) {
  const std::string architecture = text_at(entry, "platform", "architecture");
  const std::string system = text_at(entry, "platform", "os");
  return (architecture.empty() || architecture == "amd64") && (system.empty() || system == "linux");
}

// Of a list of manifests the one that is wanted; `what` names the list.
store::Blob choose(const Json& list, const std::string& tag, const std::string& what) {
  std::vector<store::Blob> fitting;
  std::vector<std::string> names;
  for (const Json& entry : list) {
    const store::Blob blob = descriptor(entry);
    const std::string name = text_at(entry, "annotations", kTag);
    names.push_back(name.empty() ? blob.digest.str() : name);
    const bool asked = tag.empty() || name == tag || blob.digest.str() == tag;
    if (asked && for_this_machine(entry)) fitting.push_back(blob);
  }
  if (fitting.size() == 1) return fitting.front();
  throw Error(
      ErrorCode::not_found,
      fmt::format("{} has {} for linux/amd64{}; it names: {}", what, fitting.empty() ? "no image" : "several images",
                  tag.empty() ? "" : " named '" + tag + "'", names.empty() ? "nothing" : join(names, ", ")),
      "name one of them: oci:FOLDER:NAME");
}

}  // namespace

Layout::Layout(host::Path folder) : folder_(std::move(folder)) {
  if (!std::filesystem::exists(folder_ / "oci-layout") || !std::filesystem::exists(folder_ / "index.json")) {
    throw Error(ErrorCode::not_found,
                fmt::format("{} is no OCI image layout: it has no oci-layout and index.json", folder_.string()));
  }
  const Json layout = parse(host::read_file(folder_ / "oci-layout"), "oci-layout");
  const std::string version = reading("oci-layout", [&] { return layout.at("imageLayoutVersion").get<std::string>(); });
  if (!version.starts_with("1.")) throw corrupt("oci-layout", "version " + version + " is not known");
}

host::Path Layout::checked(const store::Blob& blob) const {
  const host::Path path = folder_ / "blobs" / "sha256" / blob.digest.hex();
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw corrupt(blob.digest.str(), "the blob is missing");
  if (size != blob.size_bytes)
    throw corrupt(blob.digest.str(), fmt::format("the blob has {} bytes, not {}", size, blob.size_bytes));
  if (const Digest found = host::digest_of_file(path, host::Links::follow); found != blob.digest)
    throw corrupt(blob.digest.str(), fmt::format("the blob has the content of {}", found.str()));
  return path;
}

std::string Layout::read(const store::Blob& blob) const {
  if (blob.size_bytes > kJsonBytesMax) throw corrupt(blob.digest.str(), "larger than a manifest may be");
  return host::read_file(checked(blob));
}

LayoutImage Layout::image(const std::string& tag) const {
  return with_context(fmt::format("reading the OCI image in {}", folder_.string()), [&] {
    return reading("index.json", [&] {
      if (std::filesystem::file_size(folder_ / "index.json") > kJsonBytesMax)
        throw corrupt("index.json", "larger than an index may be");
      const Json index = parse(host::read_file(folder_ / "index.json"), "index.json");
      store::Blob found = choose(index.at("manifests"), tag, "index.json");
      for (int nested = 0; is_index(found.media_type); ++nested) {
        if (nested == kNestingMax) throw corrupt("index.json", "indexes in indexes in indexes");
        const std::string what = found.digest.str();
        found = choose(parse(read(found), what).at("manifests"), "", what);
      }
      return read_image(std::move(found));
    });
  });
}

LayoutImage Layout::read_image(store::Blob found) const {
  LayoutImage image;
  image.digest = found.digest;
  image.media_type = found.media_type;
  image.manifest = read(found);
  const Json manifest = parse(image.manifest, "manifest");
  if (manifest.at("schemaVersion") != 2) throw corrupt("manifest", "schemaVersion is not 2");
  image.machine = manifest.value("artifactType", std::string()) == "application/vnd.kiln.machine.v1";
  image.config = descriptor(manifest.at("config"));
  for (const Json& layer : manifest.at("layers")) image.layers.push_back(descriptor(layer));
  if (image.layers.empty() || image.layers.size() > kLayersMax)
    throw corrupt("manifest", fmt::format("{} layers; 1 to {} are taken", image.layers.size(), kLayersMax));
  image.config_bytes = read(image.config);
  if (image.machine) return image;
  const Json config = parse(image.config_bytes, "image config");
  const std::string system = config.value("os", std::string("linux"));
  const std::string architecture = config.value("architecture", std::string("amd64"));
  if (system != "linux" || architecture != "amd64") {
    throw Error(ErrorCode::unsupported,
                fmt::format("the image is for {}/{}; Kiln runs linux/amd64", system, architecture),
                "take the image that was built for linux/amd64");
  }
  const Json rootfs = config.value("rootfs", Json::object());
  for (const Json& id : rootfs.value("diff_ids", Json::array()))
    image.diff_ids.push_back(Digest::parse(id.get<std::string>()));
  if (!image.diff_ids.empty() && image.diff_ids.size() != image.layers.size())
    throw corrupt("image config", fmt::format("{} diff_ids for {} layers", image.diff_ids.size(), image.layers.size()));
  return image;
}

}  // namespace kiln::oci
