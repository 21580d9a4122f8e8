// Destroy: ends all that belongs to an app in an environment, in an order that AWS accepts. Images stay unless told
// otherwise.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fleet/fleet.h"
#include "fleet/names.h"
#include "host/clock.h"
#include "host/file.h"
#include "ledger/ledger.h"

namespace kiln::aws {
class Client;
}

namespace kiln::deploy {

enum class Ending { group, listener, load_balancer, target_group, launch_template, security_group, image };

struct End {
  Ending what;
  std::string name;  // for people: "Auto Scaling group kiln-web, with its 4 instances"
  std::string id;    // what AWS is told: ARN, id or name
};

// Pure: what would be ended now. Things that must wait for others are left out of `now` and are in `later`.
struct DestroyPlan {
  std::vector<End> now;
  std::vector<End> later;
  std::vector<std::string> refusals;  // things of that name which are not this app's
  bool done() const { return now.empty() && later.empty(); }
};
DestroyPlan plan_destroy(const fleet::Names& names, const fleet::Fleet& fleet, const std::vector<fleet::Image>& images);
// Every thing that would be ended, one a line, named.
std::string describe(const DestroyPlan& plan);

struct DestroyOptions {
  bool images = false;
  Duration poll = std::chrono::seconds(1);
  Duration timeout = std::chrono::minutes(20);
  std::function<void(const std::string&)>
      on_change;  // "ended load balancer kiln-web", "waiting for 2 instances to end"
  const std::atomic<bool>* cancelled = nullptr;
};

// Takes the fleet's lease; ends an unfinished deployment in the ledger as failed. May be run again after any
// interruption. Throws Error(held), Error(conflict) with refusals, Error(timeout) naming what is still there,
// Error(cancelled).
void destroy(aws::Client& client, ledger::Ledger& ledger, host::Clock& clock, const host::Path& locks,
             const fleet::Names& names, const DestroyOptions& options = {});

}  // namespace kiln::deploy
