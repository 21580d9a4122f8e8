// Places: connecting to each environment once.
#include "cli/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

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

std::vector<Running> running(const Places& places, const catalog::Image& image) {
  std::vector<Running> all;
  for (const Place& place : places.reached) {
    std::map<std::pair<std::string, std::string>, Running> by_group;
    for (const fleet::OwnImage* own : place.amis_of(image)) {
      for (const fleet::UsingInstance& instance : place.usage.instances) {
        if (instance.ami != own->ami) continue;
        const std::string group = instance.group.empty() ? instance.id : instance.group;
        Running& one = by_group[{group, own->ami}];
        // By launch time: the first one is the oldest.
        if (one.instances++ == 0) one = {place.title(), group, own->ami, 1, instance.launched};
      }
    }
    for (const auto& [key, one] : by_group) all.push_back(one);
  }
  return all;
}

std::size_t instances_of(const std::vector<Running>& running) {
  std::size_t count = 0;
  for (const Running& one : running) count += one.instances;
  return count;
}

nlohmann::json to_json(const std::vector<Running>& running) {
  nlohmann::json list = nlohmann::json::array();
  for (const Running& one : running) {
    list.push_back({{"place", one.place},
                    {"group", one.group},
                    {"ami", one.ami},
                    {"instances", one.instances},
                    {"since", format_iso8601(one.since)}});
  }
  return list;
}

nlohmann::json to_json(const catalog::Copy& copy) {
  return {{"reference", copy.reference}, {"pushed", format_iso8601(copy.pushed)}, {"by", copy.by}};
}

std::string app_here(const Context& context) {
  return std::filesystem::exists(context.folder / "kiln.yaml") ? load_app(context).name : "";
}

}  // namespace kiln::cli
