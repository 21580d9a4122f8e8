// InstanceBake: `kiln bake --in-instance`.
#pragma once

#include <string>

#include "cli/context.h"
#include "spec/app.h"

namespace kiln::cli {

struct InstanceBake {
  std::string environment;
  std::string instance_type;  // empty: the builder's own
  std::string instance_profile;
  std::string subnet;
  bool json = false;
  bool verbose = false;
  bool no_test = false;
};

// Bakes in an instance of the environment, records image and AMI, and removes everything else; also what an earlier
// bake that was killed has left there. Ctrl-C does too.
int bake_in_instance(Context& context, const spec::App& app, const InstanceBake& asked);

}  // namespace kiln::cli
