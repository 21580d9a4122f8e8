// Findings: what is wrong with the Kiln of a home, or worth knowing of it, and what to do next. `kiln doctor` shows
// them.
//
// Each look asks one room what it knows and puts it into one form. None changes anything; none throws for what it looks
// at: that something cannot be read is what it finds.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace kiln::cli {

struct Finding {
  std::string about;  // "region", "slot", "ledger", "deployment", "store", "lock", "left"
  std::string what;   // what it is, with its names, its processes and since when
  std::string next;   // what to do; empty: nothing
  bool wrong = true;  // false: a note, of what goes on or mends itself
};

// The regions of this home: a control plane that is dead, hangs or cannot be read, an HAProxy that does not run.
std::vector<Finding> look_at_regions(Context& context);
// What dead regions of any home have left on this host.
std::vector<Finding> look_at_slots(const Context& context);
// Whether the ledger holds, and what in it was begun and has no end: deployments, bakes in instances.
std::vector<Finding> look_at_ledger(const Context& context);
// What the store lacks of what it names.
std::vector<Finding> look_at_store(const Context& context);
// Who is at work, and since when.
std::vector<Finding> look_at_locks(const Context& context);
// Tests of images that were killed.
std::vector<Finding> look_at_tests(const Context& context);

// All of them, in this order.
std::vector<Finding> look_at_all(Context& context);

}  // namespace kiln::cli
