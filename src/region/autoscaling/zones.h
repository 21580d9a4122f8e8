// Zones: where new instances go so that a group stays spread evenly over its zones and subnets. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace kiln::region::autoscaling {

struct Place {
  std::string zone;
  std::string subnet_id;
  bool operator==(const Place&) const = default;
};

// Places for `count` new instances: each goes to the zone that has the fewest (`present`, with those placed before it),
// in it to the subnet that has the fewest; the first in order when they are even.
std::vector<Place> spread(const std::map<std::string, std::string>& subnet_zones,
                          const std::map<std::string, int>& present_by_subnet, std::size_t count);

}  // namespace kiln::region::autoscaling
