// Places: connecting to each environment once.
#include "cli/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "fleet/names.h"

namespace kiln::cli {
namespace {

std::vector<spec::Environment> environments_here(const Context& context) {
  if (std::filesystem::exists(context.folder / "kiln.yaml")) return load_app(context).environments;
  return {spec::Environment{.name = "local"}};
}

}  // namespace

std::vector<const fleet::OwnImage*> Place::amis_of(const catalog::Image& image) const {
  std::vector<const fleet::OwnImage*> found;
  for (const fleet::OwnImage& own : usage.images) {
    const bool tagged = own.tag(fleet::kTagDigest) == image.digest.str();
    const bool placed = std::ranges::any_of(image.placements, [&](const catalog::Placement& placement) {
      return placement.ami == own.ami && placement.account == connection->account() &&
             placement.region == connection->region();
    });
    if (tagged || placed) found.push_back(&own);
  }
  return found;
}

std::string Place::title() const { return fmt::format("{} {}", connection->account(), connection->region()); }

const Place* Places::find(const std::string& account, const std::string& region) const {
  for (const Place& place : reached) {
    if (place.connection->account() == account && place.connection->region() == region) return &place;
  }
  return nullptr;
}

Places look_at_places(Context& context) {
  Places places;
  for (const spec::Environment& environment : environments_here(context)) {
    try {
      auto connection = std::make_unique<Connection>(context, environment);
      auto known = std::ranges::find_if(places.reached, [&](const Place& place) {
        return place.connection->account() == connection->account() &&
               place.connection->region() == connection->region() && place.connection->local() == connection->local();
      });
      if (known != places.reached.end()) {
        known->environments.push_back(environment.name);
        continue;
      }
      fleet::Usage usage = fleet::look_at_usage(connection->client());
      places.reached.push_back({std::move(connection), {environment.name}, std::move(usage)});
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) throw;
      places.not_reached.push_back(fmt::format("{}: {}", environment.name, error.message()));
    }
  }
  return places;
}

std::string app_here(const Context& context) {
  return std::filesystem::exists(context.folder / "kiln.yaml") ? load_app(context).name : "";
}

}  // namespace kiln::cli
