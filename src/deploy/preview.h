// Preview: what a deployment would do, before it does it: the screen of `kiln plan`.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "deploy/wanted.h"
#include "fleet/fleet.h"

namespace kiln::deploy {

struct PreviewLine {
  std::string verb;  // "create", "change", "replace", "end", "keep"
  std::string what;
};

struct Preview {
  std::string title;  // "web 1.1.0 → production   rolling, 4 instances, min 4 max 8"
  std::vector<PreviewLine> lines;
  std::vector<std::string> capacity;  // how many of which version, over time
  std::string going_back;
  std::string budget;                 // "gives up after 30m"
  std::vector<std::string> refusals;  // when there are any, nothing would be done
  bool nothing_to_do = false;
};

Preview preview(const Wanted& wanted, const fleet::Fleet& fleet);
// At most 80 columns where the names allow it; ends with a newline.
std::string describe(const Preview& preview);
nlohmann::json to_json(const Preview& preview);

}  // namespace kiln::deploy
