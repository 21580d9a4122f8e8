// Progress: what a deployment knows of its own past. Plain data, made again from the ledger after a crash, and from
// looks at the fleet after that: what only looks teach (which instances failed, since when one is unhealthy) is learned
// anew.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "deploy/wanted.h"
#include "fleet/fleet.h"
#include "ledger/entry.h"

namespace kiln::deploy {

// What has been seen of one instance of the wanted version.
struct Witness {
  Time first_seen{};
  std::optional<Time> unhealthy_since;
  std::optional<Time> healthy_since;
  bool was_healthy = false;
  bool left_well = false;  // its group ends it, and not for its health
  bool failed = false;
  std::string why;  // "answered 500 on /healthz"
};

struct Progress {
  std::string id;  // the deployment's
  Time started{};

  // The template's version that the group ran when it began; 0 when there was no group.
  std::int64_t from_template_version = 0;
  std::string from_version;  // "1.0.0"; empty when it is not known
  // True when the version before it is known to have served with success, so that going back is worth something.
  bool from_proven = false;

  std::set<std::string> done;         // steps whose outcome is in the ledger
  std::map<std::string, Time> tried;  // steps whose intent is in the ledger, and when last
  std::map<std::string, int> tries;   // how often

  // A step that AWS refused for good, in one sentence.
  std::optional<std::string> rejected;

  // The newest refresh that was there before ours was asked for; ours is a newer one to the wanted version.
  std::optional<std::string> refresh_before;
  std::optional<std::string> return_before;  // likewise for the refresh that goes back

  std::optional<Time> failing_since;  // the decision to go back is in the ledger
  bool asked_to_go_back = false;      // by a person, so that `rollback: manual` does not hold it up
  std::string failing_why;            // "its instances answered 500 on /healthz (i-0ab.., 3 of 3)"

  // Learned from looks.
  std::map<std::string, Witness> witnesses;  // by instance, of the wanted version
  std::set<std::string> failed_launches;     // activities that failed since the deployment began
  std::optional<Time> held_since;            // recorded: the bake of a first deployment counts from it
  bool any_healthy = false;
  std::optional<std::int64_t> desired;  // instances that the group was to have at the last look

  std::vector<std::string> failed_instances() const;
};

// The entries of one deployment, in order, make its progress; entries of other kinds are passed over.
Progress recall(const std::vector<ledger::Entry>& entries);
// What one look teaches. `wanted_template_version` is 0 while it is not known.
void learn(Progress& progress, const fleet::Fleet& fleet, const Wanted& wanted, Time now);

}  // namespace kiln::deploy
