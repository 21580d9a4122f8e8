// kiln import: AMIs that are there already into the catalog, with their tags; all of them when the ledger was lost.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/contents.h"
#include "cli/parser.h"
#include "cli/places.h"
#include "fleet/names.h"
#include "store/store.h"
#include "wire/ec2.h"

namespace kiln::cli {
namespace {

namespace ec2 = wire::ec2;
using catalog::Standing;

constexpr std::string_view kStoreLocation = "kiln:";

struct Wish {
  std::string app;      // overrides the tag
  std::string version;  // likewise
};

std::optional<Digest> digest_in(const std::string& text) {
  try {
    return Digest::parse(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Of an AMI that Kiln did not make nobody knows the content. An AMI's content never changes, so its name stands for it.
Digest digest_of(const Place& place, const fleet::OwnImage& own) {
  if (const auto digest = digest_in(own.tag(fleet::kTagDigest))) return *digest;
  if (own.location.starts_with(kStoreLocation)) {
    if (const auto digest = digest_in(own.location.substr(kStoreLocation.size()))) return *digest;
  }
  return sha256(fmt::format("ami {} {} {}", place.connection->account(), place.connection->region(), own.ami));
}

catalog::Image image_of(const Place& place, const fleet::OwnImage& own, const Wish& wish) {
  catalog::Image image;
  image.app = wish.app.empty() ? own.tag(fleet::kTagApp) : wish.app;
  image.version = wish.version.empty() ? own.tag(fleet::kTagVersion) : wish.version;
  if (image.app.empty() || image.version.empty()) {
    throw Error(ErrorCode::usage,
                fmt::format("{} has no tag {}", own.ami, image.app.empty() ? fleet::kTagApp : fleet::kTagVersion),
                fmt::format("Say what it is: kiln import {} --app NAME --version VERSION", own.ami));
  }
  image.digest = digest_of(place, own);
  image.built = own.created;
  try {
    if (const std::string built = own.tag("kiln:built"); !built.empty()) image.built = parse_iso8601(built);
  } catch (const Error&) {
    // A tag that somebody else wrote: the AMI's own time is as good.
  }
  image.commit = own.tag("kiln:commit");
  image.recipe = digest_in(own.tag("kiln:recipe")).value_or(Digest());
  image.base = own.tag("kiln:base");
  image.kiln = own.tag("kiln:tool");
  image.metadata = own.tags;
  image.metadata.erase("kiln:protected");
  image.size_bytes = static_cast<std::uint64_t>(own.volume_gib) << 30;
  return image;
}

void check_names(const catalog::Image& image) {
  const auto plain = [](const std::string& name) {
    return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](unsigned char c) {
      return std::isalnum(c) != 0 || std::string_view("._+-~").find(static_cast<char>(c)) != std::string_view::npos;
    });
  };
  for (const std::string* name : {&image.app, &image.version}) {
    if (plain(*name)) continue;
    throw Error(ErrorCode::usage, fmt::format("'{}' cannot be an app or a version", *name),
                "Letters, digits and . _ + - ~ can.");
  }
}

// So that the AMI is found again by what it is now called.
void tag(aws::Client& client, const fleet::OwnImage& own, const catalog::Image& image) {
  ec2::CreateTagsRequest request;
  request.resources = {own.ami};
  for (const auto& [key, value] : std::map<std::string_view, std::string>{
           {fleet::kTagApp, image.app}, {fleet::kTagVersion, image.version}, {fleet::kTagDigest, image.digest.str()}}) {
    if (own.tag(key) == value) continue;
    ec2::Tag made;
    made.key = std::string(key);
    made.value = value;
    request.tags.push_back(made);
  }
  if (!request.tags.empty()) client.call<ec2::CreateTags>(request);
}

class Import {
 public:
  explicit Import(Context& context)
      : ledger_(context.ledger_folder(), context.clock, context.actor()),
        catalog_(ledger_),
        store_(context.store_folder()),
        places_(look_at_places(context)) {}

  void one(const std::string& ami, const Wish& wish) {
    std::vector<std::string> known;
    for (const Place& place : places_.reached) {
      for (const fleet::OwnImage& own : place.usage.images) {
        if (own.ami == ami) return take(place, own, wish);
        known.push_back(own.ami);
      }
    }
    const auto near = nearest(ami, known);
    std::string next = fmt::format("{} AMIs of this account were looked at.", known.size());
    if (near) next = fmt::format("Did you mean {}? {}", *near, next);
    for (const std::string& place : places_.not_reached) next += fmt::format(" Not reached: {}.", place);
    throw Error(ErrorCode::not_found, fmt::format("there is no AMI {}", ami), next);
  }

  // Oldest first, so that `latest` is the one that was baked last.
  void all() {
    for (const Place& place : places_.reached) {
      std::vector<const fleet::OwnImage*> tagged;
      for (const fleet::OwnImage& own : place.usage.images) {
        if (!own.tag(fleet::kTagApp).empty() && !own.tag(fleet::kTagVersion).empty()) tagged.push_back(&own);
      }
      std::ranges::stable_sort(tagged, {}, [&](const fleet::OwnImage* own) { return image_of(place, *own, {}).built; });
      for (const fleet::OwnImage* own : tagged) {
        try {
          take(place, *own, {});
        } catch (const Error& error) {
          refused_.push_back(fmt::format("{}: {}", own->ami, error.message()));
        }
      }
    }
  }

  int report(bool json) const {
    if (json) {
      nlohmann::json images = nlohmann::json::array();
      for (const auto& [ami, image] : taken_) {
        images.push_back({{"ami", ami}, {"image", image.name()}, {"digest", image.digest.str()}});
      }
      say_json({{"images", images}, {"refused", refused_}, {"not_reached", places_.not_reached}});
    } else {
      for (const auto& [ami, image] : taken_) {
        say(fmt::format("{} is {}  sha256:{}", ami, image.name(), image.digest.short_str()));
      }
      if (taken_.empty()) talk("no AMI was imported: none has the tags kiln:app and kiln:version");
      for (const std::string& line : refused_) talk("  refused: " + line);
      for (const std::string& line : places_.not_reached) talk("  not reached: " + line);
    }
    return refused_.empty() ? 0 : 1;
  }

 private:
  void take(const Place& place, const fleet::OwnImage& own, const Wish& wish) {
    catalog::Image image = image_of(place, own, wish);
    check_names(image);
    if (const auto stored = stored_image(store_, image.digest)) image.size_bytes = stored->size_bytes();
    image = catalog_.record_imported(image, own.ami);
    catalog_.record_placed(image, {place.connection->account(), place.connection->region(), own.ami, {}});
    if (own.state == "disabled" && image.deployable()) {
      catalog_.record_standing(image, Standing::disabled, "its AMI was disabled when it was imported");
    }
    tag(place.connection->client(), own, image);
    taken_.emplace_back(own.ami, image);
  }

  ledger::Ledger ledger_;
  catalog::Catalog catalog_;
  store::Store store_;
  Places places_;
  std::vector<std::pair<std::string, catalog::Image>> taken_;
  std::vector<std::string> refused_;
};

}  // namespace

int run_import(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false, all = false;
  std::string ami;
  Wish wish;
  parser.flag("--json", json);
  parser.flag("--all", all);
  parser.option("--app", wish.app);
  parser.option("--version", wish.version);
  parser.option("ami", ami);
  if (!parser.parse("import", words)) return 0;
  if (all == !ami.empty() || (all && (!wish.app.empty() || !wish.version.empty()))) {
    throw Error(ErrorCode::usage, "kiln import takes one AMI, or --all",
                "kiln import ami-0a1b2c3d --app web --version 1.0.0; kiln import --all");
  }
  Import import(context);
  if (all) {
    import.all();
  } else {
    import.one(ami, wish);
  }
  return import.report(json);
}

}  // namespace kiln::cli
