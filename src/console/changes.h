// Changes: a deployment without a terminal: one line for each thing that changed between two looks; no I/O.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "deploy/engine.h"

namespace kiln::console {

class Changes {
 public:
  // "00:00:21  i-0c55.. of 1.1.0: InService, healthy". Nothing when nothing changed since the last call.
  std::vector<std::string> since_last(const deploy::Moment& moment);

 private:
  std::map<std::string, std::string> instances_;  // id → what was said of it
  std::string next_;
};

}  // namespace kiln::console
