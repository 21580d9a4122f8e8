// RegionProcess: the region as a process of this machine: started, found, ended, forgotten.
//
// The control plane may die at any moment: its instances and its load balancer go on, and the next start finds them.
#pragma once

#include <optional>
#include <string>

#include "cli/context.h"
#include "cli/session.h"
#include "host/lock.h"
#include "machine/slots.h"

namespace kiln::cli {

inline constexpr int kDefaultPort = 4577;

// What was asked for. What was not is as it was at the region's last start, so that its clients find it again.
struct RegionStart {
  std::string name = std::string(kDefaultRegion);
  std::optional<int> port;              // kDefaultPort at the first start; 0: any, which is the last one if it is free
  std::optional<std::string> machines;  // "nspawn" at the first start
  std::optional<bool> throttle;         // false at the first start
  std::optional<Duration> describe_delay;
};

// Starts it in the background and returns when it answers. One that runs is returned as it is; Error(usage) when it
// runs otherwise than asked for. Throws what stopped it from starting: Error(denied) without root, Error(held) for a
// port in use, Error(missing_program), Error(unsupported).
RegionRecord start_region(Context& context, const RegionStart& start);
// The control plane itself, in this process, until SIGTERM or SIGINT. Instances and balancer go on after it.
int serve_region(Context& context, const RegionStart& start);
// Ends control plane, instances, load balancer and network; also those of one that was killed before it could write
// down that it is there. Fine when nothing runs.
void stop_region(Context& context, const std::string& name);
// Stops it and removes its folder.
void reset_region(Context& context, const std::string& name);

// What the control plane is by its lock, its slot and what it wrote down. Asks nobody.
struct RegionLook {
  std::optional<host::LockHolder> holder;   // of region.lock: the control plane, or who ends it
  std::optional<int> slot;                  // what it has on this host goes on without it
  std::optional<host::ProcessRef> haproxy;  // that shall run
  bool serves() const;                      // `holder` is a control plane
};
RegionLook look_at_region(const Context& context, const std::string& name);
// Ends and removes what is on this host of a slot that is left (machine::SlotUse). False when it is not left any more.
bool remove_left_slot(Context& context, const machine::SlotUse& use, std::string_view what);

// Bytes that its folder takes on disk.
std::uint64_t state_bytes(const host::Path& folder);

}  // namespace kiln::cli
