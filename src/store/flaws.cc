// Flaws: see flaws.h.
#include "store/flaws.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "store/manifest.h"

namespace kiln::store {
namespace {

using Json = nlohmann::json;

class Search {
 public:
  explicit Search(host::Path folder) : folder_(std::move(folder)) {}

  std::vector<Flaw> run() {
    for (const IndexEntry& entry : read_index(host::read_file(folder_ / "index.json"))) {
      root_ = entry.blob.digest;
      seen_.clear();
      if (whole("its manifest", root_, entry.blob.size_bytes)) look_into(root_);
    }
    return std::move(flaws_);
  }

 private:
  host::Path path_of(const Digest& digest) const { return folder_ / "blobs" / "sha256" / digest.hex(); }

  void found(const Digest& digest, std::string what) { flaws_.push_back({root_, path_of(digest), std::move(what)}); }

  bool whole(const std::string& name, const Digest& digest, std::uint64_t size_bytes) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path_of(digest), error);
    if (error) {
      found(digest, fmt::format("{} of {} bytes is missing", name, size_bytes));
    } else if (size != size_bytes) {
      found(digest, fmt::format("{} has {} bytes and not {}", name, size, size_bytes));
    }
    return !error && size == size_bytes;
  }

  void look_into(const Digest& digest) {
    if (!seen_.insert(digest).second) return;
    try {
      const std::string text = host::read_file(path_of(digest));
      if (text.size() > kManifestBytesMax) throw Error(ErrorCode::corrupt, "it is too large");
      const Json manifest = Json::parse(text);
      if (manifest.contains("config")) check_blob("its config", manifest["config"]);
      for (const Json& layer : manifest.value("layers", Json::array())) check_blob("a layer", layer);
      for (const Json& one : manifest.value("manifests", Json::array())) {
        const Digest other = Digest::parse(one.at("digest").get<std::string>());
        if (std::filesystem::exists(path_of(other))) look_into(other);
      }
    } catch (const Json::exception& error) {
      found(digest, fmt::format("its manifest cannot be read: {}", error.what()));
    } catch (const Error& error) {
      found(digest, fmt::format("its manifest cannot be read: {}", error.message()));
    }
  }

  // One that others keep (the urls of a "foreign" layer) need not be here.
  void check_blob(const std::string& name, const Json& descriptor) {
    if (descriptor.contains("urls")) return;
    whole(name, Digest::parse(descriptor.at("digest").get<std::string>()), descriptor.at("size").get<std::uint64_t>());
  }

  host::Path folder_;
  Digest root_;
  std::set<Digest> seen_;
  std::vector<Flaw> flaws_;
};

}  // namespace

std::vector<Flaw> find_flaws(const host::Path& folder) {
  if (!std::filesystem::exists(folder / "index.json")) return {};
  return with_context(fmt::format("looking at the store {}", folder.string()), [&] { return Search(folder).run(); });
}

}  // namespace kiln::store
