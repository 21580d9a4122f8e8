// Builder: bakes a recipe in an instance, by calls of EC2 and Systems Manager alone: on AWS and in a region of Kiln's
// alike. No ssh, no key, no port that is open.
//
// A bake is a run, and so is a test of an AMI (ami_stand.h): `builder.started` is in the ledger before anything is
// made, and everything that it makes has the tag kiln:builder=<run>. Nothing is cleaned up by `bake_in_instance`
// itself, whatever comes of it: `sweep` removes what runs of this ledger have left, except AMIs that the catalog knows,
// and writes `builder.finished`. So Ctrl-C, a failure and kill -9 have one way home. An instance that was kept on
// purpose
// (`builder.kept`) stays, and its run with it, until `end_kept` or until it has ended. Who calls these holds a lock, so
// that no run is swept while it is under way.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "catalog/catalog.h"
#include "host/clock.h"
#include "host/file.h"
#include "host/random.h"
#include "ledger/ledger.h"
#include "machine/machine.h"
#include "spec/app.h"
#include "spec/surrogate.h"

namespace kiln::aws {
class Client;
}

namespace kiln::builder {

inline constexpr std::string_view kTagBuilder = "kiln:builder";
inline constexpr std::string_view kStarted = "builder.started";
inline constexpr std::string_view kKept = "builder.kept";
inline constexpr std::string_view kFinished = "builder.finished";

// Where it happens. All must outlive the calls.
struct Site {
  aws::Client& client;
  host::Clock& clock;
  host::Random& random;
  ledger::Ledger& ledger;
  std::string account;
  std::string region;
};

struct Progress {
  enum class Kind { started, finished };
  Kind kind = Kind::started;
  std::size_t index = 0;  // of the step
  std::size_t count = 0;
  std::string text;    // the step
  std::string output;  // of a step that has finished: at most what Systems Manager keeps, 24,000 characters
  Duration duration{};
};

// Of the instances that a run launches.
struct InstanceOptions {
  std::string type = "t3.small";
  std::string profile{};       // name; on AWS one with AmazonSSMManagedInstanceCore, unless the account gives it to all
  std::string subnet{};        // empty: the default VPC's
  bool install_agent = false;  // Debian's AMIs come without Systems Manager's; fetched by user data, by the builder
  std::function<bool()> cancelled{};
  std::function<void(const std::string&)> on_note{};
};

struct Request {
  const spec::App& app;
  host::Path folder;        // of kiln.yaml
  std::string environment;  // its name, for whoever finds the run
  std::string version;      // must be free
  InstanceOptions instance{};
  std::function<void(const Progress&)> on_progress{};
  const spec::Surrogate* surrogate = nullptr;  // the image is a volume that the steps fill; null: the builder's disk
};

struct Result {
  std::string run;
  std::string ami;
  std::string base;  // the AMI that it was made from
  std::string snapshot;
  std::uint64_t size_bytes = 0;  // of the snapshot
  struct Step {
    std::string text;
    Digest inputs;  // of all that was sent for it
  };
  std::vector<Step> steps;
  Digest recipe;     // of the file and all steps' inputs
  std::string disk;  // what is on the root volume (disk.h)
  // Of the AMI and its snapshot. `name_image` adds the digest: until then nobody takes it for an image.
  std::map<std::string, std::string> tags;
};

// Writes builder.started and returns the new run's name. `details` say what it is for.
std::string begin_run(Site& site, const std::string& app, const std::map<std::string, std::string>& details);

// Returns when the AMI is available. Throws Error: usage for what an instance cannot do, io for a step that fails with
// its last lines, cancelled, timeout, AwsError.
Result bake_in_instance(Site& site, const Request& request);
void name_image(Site& site, const std::string& ami, const Digest& digest);

// What was removed, a line each. Waits until instances have ended, because their group goes after them.
std::vector<std::string> sweep(Site& site, const catalog::Catalog& catalog, const std::string& app);

// A run that was started and not finished; what it has made may still be there.
struct OpenRun {
  std::string app;
  std::string run;
  std::string account;
  std::string region;
  Time started{};
  std::string kept;         // the instance that was kept; empty: none
  std::string what;         // of a kept one: "web@1.4.2"
  std::string environment;  // of kiln.yaml, where it is
};
// Of all accounts and regions, oldest first; of all apps when `app` is empty.
std::vector<OpenRun> open_runs(const ledger::Ledger& ledger, const std::string& app = {});

// The open run whose instance was kept. Throws Error(not_found).
OpenRun find_kept(const ledger::Ledger& ledger, const std::string& instance);
void end_kept(Site& site, const catalog::Catalog& catalog, const OpenRun& kept);
// Runs a script in a kept instance, as root.
machine::CommandEnd ask_kept(Site& site, const OpenRun& kept, const std::string& script);

}  // namespace kiln::builder
