// Engine: carries a deployment to its end: observe → plan → act → record.
//
// Before each act its intent is appended to the ledger, after it what came back. It may die at any line: `deploy` with
// the same wish goes on with the same deployment, to the same end, because the planner looks at the world and not at a
// position. Calls that make things carry a client token of deployment and step where AWS takes one; elsewhere "already
// exists" is answered by looking again.
//
// One deployment of a fleet at a time: on this machine by a lock that a dead holder loses, and by the ledger: an
// unfinished deployment to another end is refused with Error(held) that says how to finish or leave it.
#pragma once

#include <atomic>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "deploy/history.h"
#include "deploy/plan.h"
#include "deploy/wanted.h"
#include "fleet/fleet.h"
#include "host/clock.h"
#include "host/file.h"
#include "host/lock.h"
#include "host/random.h"
#include "ledger/ledger.h"

namespace kiln::aws {
class Client;
}

namespace kiln::deploy {

// What the live screen is drawn from; called on the engine's thread after each look.
struct Moment {
  const Wanted& wanted;
  const fleet::Fleet& fleet;
  const Progress& progress;
  const Plan& plan;
  Time now;
};

struct EngineOptions {
  Duration poll = std::chrono::seconds(1);  // between two looks while it waits
  std::function<void(const Moment&)> on_look;
  // Set by Ctrl-C: the deployment is left as it is, going on by AWS. A client that throws Error(cancelled) in the
  // middle means the same.
  const std::atomic<bool>* cancelled = nullptr;
};

struct Result {
  std::string id;
  Outcome outcome = Outcome::done;
  std::string why;   // one sentence: "1.1.0 serves on 4 instances"
  std::string next;  // what to do now, or empty
  Duration took{};
  bool back = false;  // the version that served when it began serves again, on all instances and alone
  int exit() const { return exit_code(outcome); }
};

class Engine {
 public:
  // All must outlive it. `locks` is the folder of the lock files ($KILN_HOME/locks).
  Engine(aws::Client& client, ledger::Ledger& ledger, host::Clock& clock, host::Random& random, host::Path locks,
         EngineOptions options = {});

  // Deploys, or goes on with an unfinished deployment of the same wish. `verb` is "deploy" or "rollback". Throws
  // Error(held); Error(conflict) with the reasons when the plan is refused; what the client throws at the first look.
  // Later it is patient: AWS may be away for five minutes before Error(unavailable) climbs, and even then the
  // deployment is only unfinished.
  Result run(const Wanted& wanted, const std::string& verb = "deploy");
  // Turns an unfinished deployment back to where it came from; its outcome is `done` when the version before it
  // serves, as it was asked for. Of `wanted` only names, fleet and deploy count. Throws Error(not_found) when none is
  // unfinished.
  Result go_back(Wanted wanted, const std::string& why);

 private:
  Progress begin(const Wanted& wanted, const std::string& verb, const fleet::Fleet& fleet);
  Result loop(const Wanted& wanted, Progress progress, fleet::Fleet fleet);
  fleet::Fleet observe(const Wanted& wanted, const fleet::Fleet& before, bool whole);
  void take(const Action& action, const Wanted& wanted, const fleet::Fleet& fleet, Progress& progress);
  void note(Progress& progress, std::string_view kind, const nlohmann::json& body);
  Result finish(const Wanted& wanted, const fleet::Fleet& fleet, const Progress& progress, const Finish& end);
  Result leave(const Wanted& wanted, const Progress& progress, const Plan& plan);
  host::FileLock lease(const Wanted& wanted, const std::string& verb);
  bool cancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(); }

  aws::Client& client_;
  ledger::Ledger& ledger_;
  host::Clock& clock_;
  host::Random& random_;
  host::Path locks_;
  EngineOptions options_;
};

}  // namespace kiln::deploy
