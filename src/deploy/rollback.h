// Rollback: finds where a fleet can go back to, and proves that it can, before anything is changed.
#pragma once

#include <optional>
#include <string>

#include "catalog/catalog.h"
#include "deploy/history.h"
#include "deploy/wanted.h"
#include "fleet/fleet.h"

namespace kiln::deploy {

// The version of the launch template to go back to: that of the newest successful deployment of another image than the
// one that serves (or of `to`, "1.0.0"). A version that the ledger does not know but the template has is taken only
// when `to` names it.
struct WayBack {
  std::int64_t template_version = 0;
  std::string version;
  Digest digest;
  std::string ami;
};

// Throws Error(not_found) when there is nothing to go back to or `to` never ran here; Error(conflict) when the fleet
// serves it already. `fleet` must have been looked at with the AMIs of the template's versions.
WayBack find_way_back(const fleet::Names& names, const fleet::Fleet& fleet, const History& history,
                      const std::optional<std::string>& to);
// Throws Error(conflict) saying why it cannot be launched: template version gone, AMI deregistered, disabled or of
// another digest.
void prove(const WayBack& way, const fleet::Fleet& fleet);
// The wish that goes there.
Wanted wanted_of(const WayBack& way, const fleet::Names& names, const spec::FleetSpec& fleet,
                 const spec::DeploySpec& deploy);

}  // namespace kiln::deploy
