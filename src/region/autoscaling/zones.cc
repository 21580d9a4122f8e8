// Zones: where new instances go.
#include "region/autoscaling/zones.h"

#include "base/error.h"

namespace kiln::region::autoscaling {

std::vector<Place> spread(const std::map<std::string, std::string>& subnet_zones,
                          const std::map<std::string, int>& present_by_subnet, std::size_t count) {
  KILN_ASSERT(!subnet_zones.empty() || count == 0, "a group has at least one subnet");
  std::map<std::string, int> in_subnet;
  std::map<std::string, int> in_zone;
  for (const auto& [subnet, zone] : subnet_zones) {
    auto present = present_by_subnet.find(subnet);
    int number = present == present_by_subnet.end() ? 0 : present->second;
    in_subnet[subnet] = number;
    in_zone[zone] += number;
  }
  std::vector<Place> places;
  places.reserve(count);
  while (places.size() < count) {
    auto zone = in_zone.begin();
    for (auto it = in_zone.begin(); it != in_zone.end(); ++it) {
      if (it->second < zone->second) zone = it;
    }
    const std::string* best = nullptr;
    for (const auto& [subnet, of_zone] : subnet_zones) {
      if (of_zone == zone->first && (best == nullptr || in_subnet[subnet] < in_subnet[*best])) best = &subnet;
    }
    ++zone->second;
    ++in_subnet[*best];
    places.push_back({zone->first, *best});
  }
  return places;
}

}  // namespace kiln::region::autoscaling
