// ImageTrial: the tests of kiln.yaml on a booted instance of an image, as commands run them and as deployments ask for
// them.
#pragma once

#include <string>

#include "builder/builder.h"
#include "cli/context.h"
#include "ledger/ledger.h"
#include "spec/app.h"
#include "store/store.h"
#include "trial/trial.h"

namespace kiln::cli {

struct TrialRequest {
  std::string version;  // of the image; it may not be in the catalog yet
  Digest digest;
  bool quiet = false;  // no lines about checks
  bool keep = false;   // leave the instance running, whatever came of it
};
struct TrialResult {
  trial::Report report;
  std::string kept;  // the instance's name; empty when it is gone
};

// Boots it, makes all checks, and removes it again. Writes nothing into the ledger. Ctrl-C is Error(cancelled).
TrialResult try_image(Context& context, const spec::App& app, store::Store& store, const TrialRequest& request);

// An AMI, as an instance of it where `site` is. The run is the caller's: builder::sweep removes the instance with it.
struct AmiTrial {
  std::string run;
  std::string ami;
  builder::InstanceOptions instance;  // its type is the fleet's, if there is one
};
TrialResult try_ami(Context& context, const spec::App& app, const store::Store& store, builder::Site& site,
                    const AmiTrial& trial, const TrialRequest& request);

// Error(conflict) that names the checks which failed, unless all passed.
void require_passed(const spec::App& app, const TrialRequest& request, const TrialResult& result);

// Error(conflict) for an image whose newest test has failed: it is neither published nor deployed.
void require_tests_passed(const ledger::Ledger& ledger, const std::string& app, const std::string& version,
                          const Digest& digest);

host::Path trials_folder(const Context& context);
// Says how to get into it and how to end it.
void talk_about_kept(const std::string& name);

}  // namespace kiln::cli
