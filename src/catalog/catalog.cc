// Catalog: images read out of the ledger's image.* entries.
#include "catalog/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace kiln::catalog {
namespace {

using nlohmann::json;

constexpr std::size_t kDigestPrefixMin = 6;

json body_of(const ledger::Entry& entry) {
  try {
    return json::parse(entry.body);
  } catch (const json::exception&) {
    throw Error(ErrorCode::corrupt, fmt::format("the ledger's entry {} cannot be read", entry.sequence),
                "Run `kiln ledger verify`.");
  }
}

json to_body(const Image& image) {
  return {{"version", image.version}, {"digest", image.digest.str()},   {"built", format_iso8601(image.built)},
          {"commit", image.commit},   {"recipe", image.recipe.str()},   {"base", image.base},
          {"kiln", image.kiln},       {"size_bytes", image.size_bytes}, {"metadata", image.metadata}};
}

Image image_of(const ledger::Entry& entry) {
  const json body = body_of(entry);
  Image image;
  image.app = entry.subject;
  image.sequence = entry.sequence;
  image.version = body.at("version");
  image.digest = Digest::parse(body.at("digest").get<std::string>());
  image.built = parse_iso8601(body.at("built").get<std::string>());
  image.commit = body.value("commit", "");
  image.recipe = Digest::parse(body.at("recipe").get<std::string>());
  image.base = body.value("base", "");
  image.kiln = body.value("kiln", "");
  image.size_bytes = body.value("size_bytes", std::uint64_t{0});
  if (body.contains("metadata")) image.metadata = body["metadata"].get<std::map<std::string, std::string>>();
  return image;
}

// Entries written by this room and checked by the ledger's digest: a field that is missing means damage.
template <typename Body>
auto reading(const ledger::Entry& entry, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const json::exception& error) {
    throw Error(ErrorCode::corrupt,
                fmt::format("the ledger's entry {} ({}) cannot be read: {}", entry.sequence, entry.kind, error.what()),
                "Run `kiln ledger verify`.");
  }
}

void add_placement(std::vector<Image>& images, const ledger::Entry& entry) {
  const json body = body_of(entry);
  const std::string version = body.at("version");
  for (Image& image : images) {
    if (image.app != entry.subject || image.version != version) continue;
    image.placements.push_back({body.at("account"), body.at("region"), body.at("ami"), entry.time});
  }
}

struct Reference {
  std::string app;
  std::string rest;  // a version, "latest" or "sha256:.."
};

Reference split_reference(std::string_view reference, std::string_view default_app) {
  const std::size_t at = reference.find('@');
  Reference parts;
  parts.app = at == std::string_view::npos ? default_app : reference.substr(0, at);
  parts.rest = at == std::string_view::npos ? reference : reference.substr(at + 1);
  if (parts.app.empty() || parts.rest.empty() || parts.rest.find('@') != std::string::npos) {
    throw Error(ErrorCode::usage, fmt::format("'{}' names no image", reference),
                "Write app@version, app@latest or app@sha256:<digest>, for example web@1.4.2.");
  }
  return parts;
}

}  // namespace

const Placement* Image::placed_in(std::string_view account, std::string_view region) const {
  for (auto placement = placements.rbegin(); placement != placements.rend(); ++placement) {
    if (placement->account == account && placement->region == region) return &*placement;
  }
  return nullptr;
}

std::vector<Image> Catalog::images(std::string_view app) const {
  ledger::Query query;
  query.kind = "image.";
  query.subject = app;
  query.limit = 0;
  std::vector<Image> images;
  for (const ledger::Entry& entry : ledger_.read(query)) {
    reading(entry, [&] {
      if (entry.kind == kImageBaked) images.push_back(image_of(entry));
      if (entry.kind == kImagePlaced) add_placement(images, entry);
    });
  }
  std::ranges::reverse(images);
  return images;
}

Image Catalog::record_baked(const Image& image) {
  auto known = find_version(image.app, image.version);
  if (known && known->digest == image.digest) return *known;
  if (known) {
    throw Error(ErrorCode::already_exists,
                fmt::format("{} is {} and cannot become {}: a version never moves to another image", image.name(),
                            known->digest.short_str(), image.digest.short_str()),
                fmt::format("Give the new image a version of its own; {} was baked on {}.", image.name(),
                            format_iso8601(known->built)));
  }
  Image recorded = image;
  recorded.sequence = ledger_.append(kImageBaked, image.app, to_body(image)).sequence;
  recorded.placements.clear();
  return recorded;
}

void Catalog::record_placed(const Image& image, const Placement& placement) {
  auto known = find_version(image.app, image.version);
  if (!known || known->digest != image.digest) {
    throw Error(ErrorCode::not_found,
                fmt::format("{} ({}) was not baked here", image.name(), image.digest.short_str()));
  }
  for (const Image& other : images()) {
    for (const Placement& place : other.placements) {
      if (place.ami != placement.ami || place.account != placement.account || place.region != placement.region)
        continue;
      if (other.digest == image.digest && other.app == image.app && other.version == image.version) return;
      if (other.digest != image.digest) {
        throw Error(ErrorCode::already_exists, fmt::format("{} holds {} ({}), not {}", placement.ami, other.name(),
                                                           other.digest.short_str(), image.digest.short_str()));
      }
    }
  }
  ledger_.append(kImagePlaced, image.app,
                 {{"version", image.version},
                  {"digest", image.digest.str()},
                  {"account", placement.account},
                  {"region", placement.region},
                  {"ami", placement.ami}});
}

std::optional<Image> Catalog::find_version(std::string_view app, std::string_view version) const {
  for (Image& image : images(app)) {
    if (image.version == version) return std::move(image);
  }
  return std::nullopt;
}

Image Catalog::find(std::string_view reference, std::string_view default_app) const {
  const Reference wanted = split_reference(reference, default_app);
  std::vector<Image> all = images(wanted.app);
  if (all.empty()) {
    throw Error(ErrorCode::not_found, fmt::format("no image of {} was baked yet", wanted.app),
                fmt::format("Bake one: run `kiln bake` in the folder of {}.", wanted.app));
  }
  if (wanted.rest == "latest") return all.front();
  const bool by_digest = wanted.rest.starts_with("sha256:");
  if (by_digest && wanted.rest.size() < 7 + kDigestPrefixMin) {
    throw Error(ErrorCode::usage, fmt::format("'{}' is too short", reference),
                fmt::format("Give at least {} digits of the digest.", kDigestPrefixMin));
  }
  std::vector<std::string> versions;
  const Image* found = nullptr;
  for (const Image& image : all) {
    versions.push_back(image.version);
    const bool matches = by_digest ? image.digest.str().starts_with(wanted.rest) : image.version == wanted.rest;
    if (!matches) continue;
    if (found != nullptr && found->digest != image.digest) {
      throw Error(ErrorCode::usage, fmt::format("'{}' means {} and {}", reference, found->name(), image.name()),
                  "Give more digits of the digest.");
    }
    if (found == nullptr) found = &image;
  }
  if (found != nullptr) return *found;
  std::string next = "`kiln images` lists what there is.";
  if (auto near = nearest(wanted.rest, versions)) next = fmt::format("Did you mean {}@{}? {}", wanted.app, *near, next);
  throw Error(ErrorCode::not_found, fmt::format("there is no image {}@{}", wanted.app, wanted.rest), next);
}

}  // namespace kiln::catalog
