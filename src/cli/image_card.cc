// ImageCard: a small JSON object, and annotations that other tools show.
#include "cli/image_card.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kiln::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kCardBytesMax = std::size_t{64} << 10;
constexpr std::size_t kNameBytesMax = 128;

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= kNameBytesMax && text.find('@') == std::string::npos &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 127; });
}

catalog::Image read_card(const std::string& bytes) {
  const json card = json::parse(bytes);
  catalog::Image image;
  image.app = card.at("app");
  image.version = card.at("version");
  image.digest = Digest::parse(card.at("digest").get<std::string>());
  image.built = parse_iso8601(card.at("built").get<std::string>());
  image.commit = card.value("commit", "");
  image.recipe = Digest::parse(card.at("recipe").get<std::string>());
  image.base = card.value("base", "");
  image.kiln = card.value("kiln", "");
  image.size_bytes = card.value("size_bytes", std::uint64_t{0});
  image.metadata = card.value("metadata", std::map<std::string, std::string>());
  return image;
}

}  // namespace

Digest add_card(store::Store& store, const catalog::Image& image) {
  const std::string card = json{
      {"app", image.app},
      {"version", image.version},
      {"digest", image.digest.str()},
      {"built", format_iso8601(image.built)},
      {"commit", image.commit},
      {"recipe", image.recipe.str()},
      {"base", image.base},
      {"kiln", image.kiln},
      {"size_bytes", image.size_bytes},
      {"metadata",
       image.metadata}}.dump();
  std::map<std::string, std::string> annotations{{"org.opencontainers.image.title", image.app},
                                                 {"org.opencontainers.image.version", image.version},
                                                 {"org.opencontainers.image.created", format_iso8601(image.built)}};
  if (!image.commit.empty()) annotations["org.opencontainers.image.revision"] = image.commit;
  if (!image.base.empty()) annotations["org.opencontainers.image.base.name"] = image.base;
  store::Blob blob;
  blob.digest = store.put(card);
  blob.size_bytes = card.size();
  blob.media_type = kCardType;
  return store.add_artifact(image.digest, kCardType, {blob}, annotations);
}

std::vector<catalog::Image> cards_of(const store::Store& store, const Digest& digest) {
  std::vector<catalog::Image> cards;
  for (const store::Artifact& artifact : store.artifacts_of(digest)) {
    if (artifact.artifact_type != kCardType || artifact.blobs.size() != 1) continue;
    if (artifact.blobs.front().size_bytes > kCardBytesMax) continue;
    try {
      catalog::Image image = read_card(store.read(artifact.blobs.front().digest));
      if (image.digest == digest && is_name(image.app) && is_name(image.version)) cards.push_back(std::move(image));
    } catch (const json::exception&) {
      continue;  // somebody else's idea of a card
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid) throw;
    }
  }
  return cards;
}

}  // namespace kiln::cli
