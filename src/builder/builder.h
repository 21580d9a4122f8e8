// Builder: bakes a recipe in an instance, by calls of EC2 and Systems Manager alone: on AWS and in a region of Kiln's
// alike. No ssh, no key, no port that is open.
//
// A bake is a run: `builder.started` is in the ledger before anything is made, and everything that it makes has the tag
// kiln:builder=<run>. Nothing is cleaned up by `bake_in_instance` itself, whatever comes of it: `sweep` removes what
// runs of this ledger have left, except AMIs that the catalog knows, and writes `builder.finished`. So Ctrl-C, a
// failure and kill -9 have one way home. Who calls these holds a lock, so that no run is swept while it is under way.
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
#include "spec/app.h"

namespace kiln::aws {
class Client;
}

namespace kiln::builder {

inline constexpr std::string_view kTagBuilder = "kiln:builder";
inline constexpr std::string_view kStarted = "builder.started";
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
  enum class Kind { note, started, finished };
  Kind kind = Kind::note;
  std::size_t index = 0;  // of the step
  std::size_t count = 0;
  std::string text;    // the note, or the step
  std::string output;  // of a step that has finished: at most what Systems Manager keeps, 24,000 characters
  Duration duration{};
};

struct Request {
  const spec::App& app;
  host::Path folder;    // of kiln.yaml
  std::string version;  // must be free
  std::string instance_type = "t3.small";
  std::string
      instance_profile{};      // name; on AWS one with AmazonSSMManagedInstanceCore, unless the account gives it to all
  std::string subnet{};        // empty: the default VPC's
  bool install_agent = false;  // Debian's AMIs come without Systems Manager's; fetched by user data
  std::function<bool()> cancelled{};
  std::function<void(const Progress&)> on_progress{};
};

struct Result {
  std::string ami;
  std::string base;  // the AMI that it was made from
  // Stands for the AMI: an image that only AWS has has no manifest. Of account, region, AMI and snapshot.
  Digest digest;
  std::map<std::string, std::string> tags;  // of the AMI
};

// Returns when the AMI is available. Throws Error: usage for what an instance cannot do, io for a step that fails with
// its last lines, cancelled, timeout, AwsError.
Result bake_in_instance(Site& site, const Request& request);

// What was removed, a line each. Waits until instances have ended, because their group goes after them.
std::vector<std::string> sweep(Site& site, const catalog::Catalog& catalog, const std::string& app);
// Runs that were started and not swept, in this account and region.
std::vector<std::string> unfinished_runs(const Site& site, const std::string& app);

}  // namespace kiln::builder
