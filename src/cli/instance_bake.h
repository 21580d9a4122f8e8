// InstanceBake: `kiln bake --in-instance`: bake, test, prove, record, sign, by calls of AWS alone.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"
#include "cli/image_bake.h"

namespace kiln::cli {

struct InstanceBake {
  std::string environment;
  std::string key_file;          // that signs it
  std::string instance_type;     // of the builder; empty: its own
  std::string instance_profile;  // of builder and test instance
  std::string subnet;
  bool json = false;
  bool verbose = false;
  bool no_test = false;
  bool keep = false;  // the instance of its tests
};

// Bakes in an instance of the environment, tests the AMI on another, records it, and removes everything else; also what
// an earlier bake that was killed has left there. Ctrl-C does too. Returns the exit code.
int bake_in_instance(Context& context, const BakeRecipe& recipe, const InstanceBake& asked);

// The lock of bakes and tests in instances: one of an app and environment at a time.
host::Path builder_lock(const Context& context, const std::string& app, const std::string& environment);
void say_removed(const std::vector<std::string>& removed, bool quiet);

}  // namespace kiln::cli
