// Wanted: the end that a deployment has: one version of one app, in one environment, as kiln.yaml describes its fleet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/digest.h"
#include "fleet/names.h"
#include "spec/app.h"

namespace kiln::deploy {

struct Wanted {
  fleet::Names names;
  spec::FleetSpec fleet;
  spec::DeploySpec deploy;
  std::string version;  // "1.1.0"
  Digest digest;
  std::string ami;
  // Set when going back: exactly this version of the launch template, none is made.
  std::optional<std::int64_t> template_version;

  // Equal for two equal wishes: a deployment that was left is gone on with when this has not changed.
  Digest fingerprint() const;
};

// How a deployment ended, or was left.
enum class Outcome {
  done,
  rolled_back,  // failed, and the version before it serves again
  failed,       // failed before anything of the running fleet was changed
  stuck,        // failed, and the way back failed or there was none
  left,         // the user stopped waiting; AWS goes on
};
std::string_view to_string(Outcome outcome);
Outcome parse_outcome(std::string_view text);
// 0, 3, 1, 4, and 130 for `left`: as a shell says of what Ctrl-C ended.
int exit_code(Outcome outcome);

}  // namespace kiln::deploy
