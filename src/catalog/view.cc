// View: the ledger's image.* entries, read once, oldest first.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "catalog/catalog.h"
#include "ledger/body.h"

namespace kiln::catalog {
namespace {

using nlohmann::json;

void add_image(View& view, const ledger::Entry& entry, const json& body) {
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
  if (entry.kind == kImageImported) image.imported_from = body.value("ami", body.value("reference", ""));
  // Here again after it was removed: what was found out about its content holds on, and registries kept their copies.
  auto before = std::ranges::find_if(view.images, [&](const Image& known) {
    return known.app == image.app && known.version == image.version && known.digest == image.digest;
  });
  if (before != view.images.end()) {
    image.tests = before->tests;
    image.signed_by = before->signed_by;
    image.copies = before->copies;
    view.images.erase(before);
  }
  view.images.push_back(std::move(image));
}

Act act_of(const ledger::Entry& entry, const json& body) { return {entry.actor, entry.time, body.value("why", "")}; }

TestRun test_of(const ledger::Entry& entry, const json& body) {
  TestRun run;
  run.passed = body.at("passed");
  run.when = entry.time;
  for (const json& check : body.value("checks", json::array())) {
    ++run.checks;
    if (!check.value("passed", false)) run.failed.push_back(check.value("name", ""));
  }
  return run;
}

std::optional<Standing> standing_of(const ledger::Entry& entry, const json& body) {
  if (entry.kind == kImageDeprecated) return Standing::deprecated;
  if (entry.kind == kImageDisabled) return Standing::disabled;
  if (entry.kind == kImageRevoked) return Standing::revoked;
  if (entry.kind == kImageRestored) return Standing::usable;
  if (entry.kind == kImageRemoved) return body.value("step", "gone") == "aside" ? Standing::aside : Standing::gone;
  return std::nullopt;
}

void learn(Image& image, const ledger::Entry& entry, const json& body) {
  if (entry.kind == kImagePlaced) {
    image.placements.push_back({body.at("account"), body.at("region"), body.at("ami"), entry.time});
  } else if (entry.kind == kImagePushed) {
    image.copies.push_back({body.at("reference"), entry.actor, entry.time});
  } else if (entry.kind == kImageTested) {
    image.tests.push_back(test_of(entry, body));
  } else if (entry.kind == kImageSigned) {
    image.signed_by.push_back(body.value("key", ""));
  } else if (entry.kind == kImageApproved) {
    image.approved[fmt::format("{} {}", body.at("channel").get<std::string>(), entry.actor)] = act_of(entry, body);
  } else if (const auto standing = standing_of(entry, body)) {
    image.standing = *standing;
    image.stood = act_of(entry, body);
    if (*standing == Standing::gone) image.placements.clear();
  }
}

// Names one image at a time: what was pushed to it before is not there any more.
void free_reference(View& view, const std::string& reference) {
  for (Image& image : view.images) {
    std::erase_if(image.copies, [&](const Copy& copy) { return copy.reference == reference; });
  }
}

void take(View& view, const ledger::Entry& entry, const json& body) {
  if (entry.kind == kImageBaked || entry.kind == kImageImported) return add_image(view, entry, body);
  if (!body.contains("version") || !body.contains("digest")) return;  // of a kind that is not ours
  const std::string version = body.at("version");
  const Digest digest = Digest::parse(body.at("digest").get<std::string>());
  if (entry.kind == kImagePromoted) {
    view.promotions.push_back({entry.subject, body.at("channel"), version, digest, body.value("from", ""),
                               body.value("forced", false), act_of(entry, body)});
  }
  if (entry.kind == kImagePushed) free_reference(view, body.at("reference"));
  for (Image& image : view.images) {
    if (image.app == entry.subject && image.version == version && image.digest == digest) learn(image, entry, body);
  }
}

void point_channels(View& view) {
  std::map<std::pair<std::string, std::string>, const Promotion*> now;
  for (const Promotion& promotion : view.promotions) now[{promotion.app, promotion.channel}] = &promotion;
  for (const auto& [key, promotion] : now) {
    for (Image& image : view.images) {
      if (image.app == key.first && image.version == promotion->version) image.channels.push_back(key.second);
    }
  }
}

}  // namespace

std::string_view to_string(Standing standing) {
  switch (standing) {
    case Standing::usable:
      return "usable";
    case Standing::deprecated:
      return "deprecated";
    case Standing::disabled:
      return "disabled";
    case Standing::revoked:
      return "revoked";
    case Standing::aside:
      return "aside";
    case Standing::gone:
      return "gone";
  }
  return "unknown";
}

const Promotion* View::channel(std::string_view app, std::string_view name) const {
  for (auto promotion = promotions.rbegin(); promotion != promotions.rend(); ++promotion) {
    if (promotion->app == app && promotion->channel == name) return &*promotion;
  }
  return nullptr;
}

const Image* View::image_of(const Digest& digest) const {
  const auto found = std::ranges::find(images, digest, &Image::digest);
  return found == images.end() ? nullptr : &*found;
}

const Image* View::image(std::string_view app, std::string_view version) const {
  for (const Image& image : images) {
    if (image.app == app && image.version == version) return &image;
  }
  return nullptr;
}

View Catalog::view(std::string_view app) const {
  ledger::Query query;
  query.kind = "image.";
  query.subject = app;
  query.limit = 0;
  View view;
  for (const ledger::Entry& entry : ledger_.read(query)) {
    ledger::read_body(entry, [&](const json& body) { take(view, entry, body); });
  }
  std::ranges::reverse(view.images);
  point_channels(view);
  return view;
}

}  // namespace kiln::catalog
