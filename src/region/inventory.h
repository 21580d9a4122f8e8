// Inventory: what a region's journal holds, thing by thing, without asking the control plane: it may be dead, or stuck.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "region/journal.h"

namespace kiln::region {

// Things of one kind, by their ids, names or ARNs as AWS has them.
struct Held {
  std::string kind;                           // "instances"
  std::map<std::string, std::string> things;  // → their state, "" for what has none
};

struct Inventory {
  std::string account;
  std::string region;      // empty: what the account has in all regions
  std::vector<Held> held;  // none of them empty
};

// Every account and region that holds something, home first. What AWS puts there itself (the default VPC and what is
// in it) is left out, and so are instances that are terminated. Throws Error(corrupt) for a record that cannot be read.
std::vector<Inventory> read_inventory(const Tables& journal, const std::string& home_account,
                                      const std::string& home_region);

}  // namespace kiln::region
