// Session: what a command opens before it works: the app's file, the ledger, and a way to call the environment's AWS.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "aws/client.h"
#include "catalog/catalog.h"
#include "cli/context.h"
#include "deploy/engine.h"
#include "deploy/wanted.h"
#include "host/process.h"
#include "http/client.h"
#include "ledger/ledger.h"
#include "spec/app.h"
#include "store/lease.h"

namespace kiln::cli {

inline constexpr std::string_view kDefaultRegion = "default";

// A region on this machine, as `region start` wrote it down in its state folder; only its owner may read the file.
struct RegionRecord {
  std::string name;
  host::ProcessRef process;
  std::string endpoint;  // "http://127.0.0.1:4577"
  std::string machines;  // "nspawn" or "simulated"
  std::string aws_region;
  std::string account;
  std::string access_key;
  std::string secret_key;
  std::string root_seed;  // of the root keys of other accounts; empty before the first start of a version that has them
  int slot = -1;
  bool throttle = false;       // calls beyond AWS's rates are refused
  Duration describe_delay{0};  // EC2's describe calls see what was so that long ago

  bool running() const { return host::alive(process); }
};
std::optional<RegionRecord> read_region_record(const Context& context, const std::string& name);
void write_region_record(const Context& context, const RegionRecord& record);
// The one that runs; Error(unavailable) says how to start it.
RegionRecord require_region(const Context& context, const std::string& name);

// Throws what `sts:GetCallerIdentity` throws: Error(timeout) when the control plane hangs. One try: it is on this
// machine.
void ask_region(Context& context, const RegionRecord& record);

// kiln.yaml of the context's folder.
spec::App load_app(const Context& context);

// A client for an environment, and where it leads.
class Connection {
 public:
  // `region`: another one than the environment's own; empty: its own.
  Connection(Context& context, const spec::Environment& environment, const std::string& region = {});
  aws::Client& client() { return *client_; }
  const std::string& account() const { return account_; }  // by sts:GetCallerIdentity
  const std::string& region() const { return region_; }
  bool local() const { return local_; }

 private:
  http::Client transport_;
  std::unique_ptr<aws::Client> client_;
  std::string account_;
  std::string region_;
  bool local_ = false;
};

// Everything that `plan`, `deploy`, `status`, `rollback` and `destroy` begin with.
struct Session {
  spec::App app;
  const spec::Environment& environment;
  fleet::Names names;
  ledger::Ledger ledger;
  catalog::Catalog catalog;
  Connection connection;
  std::optional<store::Lease> lease;  // of the image that is deployed

  Session(Context& context, const std::string& environment_name);
  // Error(usage) when kiln.yaml has no fleet.
  const spec::FleetSpec& fleet() const;
};

// Throws Error(conflict) that says who disabled, revoked or put aside the image, when and why.
void require_deployable(const catalog::Image& image);
// Throws Error(denied) when the image is not what kiln.yaml's `deploy: {requires: [..]}` asks for, and says what to do.
void require_proofs(const Context& context, const spec::DeploySpec& deploy, const catalog::Image& image);

// The image that is meant: `reference`, or what kiln.yaml's version says now; placed in the environment if it is not.
deploy::Wanted wanted_of(Context& context, Session& session, const std::string& reference);

// The AMI that holds the image where the connection leads. EC2 is asked, not the catalog: an AMI that was deregistered,
// or went with its region, is published again. Error(conflict) for an image that failed its tests.
std::string publish(Context& context, const catalog::Image& image, catalog::Catalog& catalog, Connection& connection);

// Runs `body` with an engine whose progress is shown: a live picture on a terminal, one line a change elsewhere, one
// ledger event a line with `json`. Prints the result and returns the exit code.
int run_engine(Context& context, Session& session, bool json, const std::string& load_file,
               const std::function<deploy::Result(deploy::Engine&)>& body);

}  // namespace kiln::cli
