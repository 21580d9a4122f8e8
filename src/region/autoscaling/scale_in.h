// Scale-in: which instances of a group go when there are too many. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/time.h"

namespace kiln::region::autoscaling {

struct Candidate {
  std::size_t index = 0;  // of the caller's
  std::string zone;
  bool ready = true;          // serves now; what does not serve goes first
  bool replaced = false;      // an instance refresh wants it gone
  bool protected_ = false;    // from scale-in: never chosen
  long template_version = 0;  // 0 when it is of no version
  std::string template_id;
  Time created{};
};

// At most `count` of them, in the order in which they should go. What is not ready goes first, whatever its zone: a
// group must never lose an instance that serves to keep one that does not. Then, again and again, from the zone with
// the most instances (AWS's Default policy), in it what a refresh replaces, then by `policies` in their order, then the
// oldest. Policies: Default, OldestLaunchTemplate, OldestInstance, NewestInstance. Near-linear in the candidates.
std::vector<std::size_t> choose_victims(const std::vector<Candidate>& candidates, std::size_t count,
                                        const std::vector<std::string>& policies);

// The policies that are served.
bool is_termination_policy(const std::string& name);

}  // namespace kiln::region::autoscaling
