// Observe: one look at a fleet through AWS's calls.
//
// `look` reads everything. `look_again` reads what changes while a deployment runs (group, refreshes, targets,
// activities, new instances) and takes the rest from the look before. Calls a look: about 12, and 5 + 1 for new
// instances. What is not there is absent; other failures climb as the client's Errors.
#pragma once

#include <string>
#include <vector>

#include "fleet/fleet.h"
#include "fleet/names.h"

namespace kiln::aws {
class Client;
}

namespace kiln::fleet {

// `more_images` are AMIs to look up besides those that the fleet uses.
Fleet look(aws::Client& client, const Names& names, const std::vector<std::string>& more_images = {});
Fleet look_again(aws::Client& client, const Names& names, const Fleet& before);

// The AMIs of an app, all versions, that carry its kiln tags; newest first.
std::vector<Image> look_at_images(aws::Client& client, const std::string& app);

}  // namespace kiln::fleet
