// Act: one step of a plan as calls to AWS.
#pragma once

#include <string>

#include "deploy/plan.h"

namespace kiln::aws {
class Client;
}

namespace kiln::deploy {

// What an act came to.
struct Acted {
  bool there = false;  // done, now or before: "already exists" is looked at next
  std::string id;      // of what was made
  std::string error;   // why not, in one sentence
  bool final = false;  // AWS refuses it whenever it is asked
};

// `token` makes the call idempotent where AWS takes a client token. Throws Error(unavailable), Error(timeout), and
// Error(denied) for credentials that are not valid; whatever else AWS refuses is in the answer. Actions that are only
// recorded (DecideToGoBack, BeginHold) do nothing.
Acted act(aws::Client& client, const Action& action, const Wanted& wanted, const fleet::Fleet& fleet,
          const std::string& token);

}  // namespace kiln::deploy
