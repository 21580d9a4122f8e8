// Catalog: what is written about images, and references to them. view.cc reads what was written.
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

json to_body(const Image& image) {
  return {{"version", image.version}, {"digest", image.digest.str()},   {"built", format_iso8601(image.built)},
          {"commit", image.commit},   {"recipe", image.recipe.str()},   {"base", image.base},
          {"kiln", image.kiln},       {"size_bytes", image.size_bytes}, {"metadata", image.metadata}};
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

[[noreturn]] void refuse_gone(const Image& image) {
  throw Error(ErrorCode::not_found,
              fmt::format("{} was removed on {} by {} ({})", image.name(), format_iso8601(image.stood.when),
                          image.stood.by, image.stood.why),
              image.copies.empty()
                  ? "Bake it again: the same recipe gives the same digest."
                  : fmt::format("Fetch it again: kiln pull {}@{}", image.copies.back().reference, image.digest.str()));
}

}  // namespace

const Placement* Image::placed_in(std::string_view account, std::string_view region) const {
  for (auto placement = placements.rbegin(); placement != placements.rend(); ++placement) {
    if (placement->account == account && placement->region == region) return &*placement;
  }
  return nullptr;
}

std::vector<Image> Catalog::images(std::string_view app) const {
  std::vector<Image> images = view(app).images;
  std::erase_if(images, [](const Image& image) { return image.standing == Standing::gone; });
  return images;
}

Image Catalog::record(std::string_view kind, const Image& image, const std::pair<std::string, std::string>& from) {
  const View all = view(image.app);
  const Image* known = all.image(image.app, image.version);
  const bool same = known != nullptr && known->digest == image.digest;
  if (same && known->standing == Standing::aside) {
    throw Error(ErrorCode::conflict,
                fmt::format("{} is there already, and was put aside by kiln gc on {}", image.name(),
                            format_iso8601(known->stood.when)),
                fmt::format("Take it back: kiln gc --undo {}", image.name()));
  }
  if (same && known->standing != Standing::gone) return *known;
  if (known != nullptr && !same) {
    throw Error(ErrorCode::already_exists,
                fmt::format("{} is {} and cannot become {}: a version never moves to another image", image.name(),
                            known->digest.short_str(), image.digest.short_str()),
                fmt::format("Give the new image a version of its own; {} was baked on {}.", image.name(),
                            format_iso8601(known->built)));
  }
  Image recorded = image;
  json body = to_body(image);
  if (!from.first.empty()) body[from.first] = from.second;
  recorded.sequence = ledger_.append(kind, image.app, body).sequence;
  recorded.placements.clear();
  return recorded;
}

Image Catalog::record_baked(const Image& image) { return record(kImageBaked, image, {}); }

Image Catalog::record_imported(const Image& image, const std::string& ami) {
  return record(kImageImported, image, {"ami", ami});
}

Image Catalog::record_pulled(const Image& image, const std::string& reference) {
  return record(kImageImported, image, {"reference", reference});
}

void Catalog::record_signed(const Image& image, const Digest& key) {
  const auto known = find_version(image.app, image.version);
  if (known && std::ranges::find(known->signed_by, key.str()) != known->signed_by.end()) return;
  ledger_.append(kImageSigned, image.app,
                 {{"version", image.version}, {"digest", image.digest.str()}, {"key", key.str()}, {"checked", true}});
}

void Catalog::record_pushed(const Image& image, const std::string& reference) {
  const auto known = find_version(image.app, image.version);
  if (known && std::ranges::find(known->copies, reference, &Copy::reference) != known->copies.end()) return;
  ledger_.append(kImagePushed, image.app,
                 {{"version", image.version}, {"digest", image.digest.str()}, {"reference", reference}});
}

Promotion Catalog::record_promoted(const Image& image, const std::string& channel, const std::string& why,
                                   bool forced) {
  const View all = view(image.app);
  Promotion promotion{image.app, channel, image.version, image.digest, "", forced, {}};
  if (const Promotion* before = all.channel(image.app, channel)) {
    if (before->version == image.version) return *before;
    promotion.from = before->version;
  }
  json body = {{"version", image.version},
               {"digest", image.digest.str()},
               {"channel", channel},
               {"from", promotion.from},
               {"why", why},
               {"forced", forced}};
  const ledger::Entry entry = ledger_.append(kImagePromoted, image.app, body);
  promotion.act = {entry.actor, entry.time, why};
  return promotion;
}

void Catalog::record_approved(const Image& image, const std::string& channel, const std::string& why) {
  ledger_.append(kImageApproved, image.app,
                 {{"version", image.version}, {"digest", image.digest.str()}, {"channel", channel}, {"why", why}});
}

namespace {

std::string_view kind_of(Standing standing) {
  switch (standing) {
    case Standing::deprecated:
      return kImageDeprecated;
    case Standing::disabled:
      return kImageDisabled;
    case Standing::revoked:
      return kImageRevoked;
    case Standing::aside:
    case Standing::gone:
      return kImageRemoved;
    case Standing::usable:
      break;
  }
  return kImageRestored;
}

}  // namespace

void Catalog::record_standing(const Image& image, Standing standing, const std::string& why) {
  for (const Image& same : view().images) {
    if (same.digest != image.digest) continue;
    if (same.standing == standing && (same.stood.why == why || standing == Standing::usable)) continue;
    if (same.standing == Standing::gone) {
      if (same.name() != image.name()) continue;
      throw Error(ErrorCode::conflict,
                  fmt::format("{} was removed on {}", same.name(), format_iso8601(same.stood.when)),
                  "Bake it again: the same recipe gives the same digest.");
    }
    json body = {{"version", same.version}, {"digest", same.digest.str()}, {"why", why}};
    if (standing == Standing::aside || standing == Standing::gone) body["step"] = to_string(standing);
    ledger_.append(kind_of(standing), same.app, body);
  }
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
  const View seen = view(wanted.app);
  std::vector<Image> all;
  for (const Image& image : seen.images) {
    if (image.standing != Standing::gone)
      all.push_back(image);
    else if (image.version == wanted.rest)
      refuse_gone(image);
  }
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
  if (const Promotion* channel = seen.channel(wanted.app, wanted.rest)) {
    return with_context(fmt::format("looking for the channel {}@{}", wanted.app, wanted.rest),
                        [&] { return find(fmt::format("{}@{}", wanted.app, channel->version)); });
  }
  for (const Promotion& promotion : seen.promotions) versions.push_back(promotion.channel);
  std::string next = "`kiln images` lists what there is.";
  if (auto near = nearest(wanted.rest, versions)) next = fmt::format("Did you mean {}@{}? {}", wanted.app, *near, next);
  throw Error(ErrorCode::not_found, fmt::format("there is no image {}@{}", wanted.app, wanted.rest), next);
}

}  // namespace kiln::catalog
