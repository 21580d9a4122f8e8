// The planner of an instance refresh: which instances go, how many come, and how it stands. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "region/autoscaling/reconcile_plan.h"

namespace kiln::region::autoscaling {

// Turns an active refresh back to the configuration that the group had.
void start_rollback(Refresh& refresh, const std::string& reason, Time now);

// What the group's planner has found out already, by member.
enum class Standing {
  gone,     // terminating, unhealthy or ended: counts for nothing
  coming,   // Pending, or InService and not serving yet
  serving,  // InService, healthy, and healthy in its target groups
  standby,
};

struct RefreshStep {
  Refresh next;
  std::vector<std::size_t> ends;  // never below the least that must stay ready, unless it does not serve anyway
  int surge = 0;                  // launches beyond the desired capacity
  std::vector<bool> stale;        // by member: it is to be replaced
  bool adopt_desired = false;
  std::optional<Time> look_again;
};

// `standings` by index, as the group's members. The caller fills the group up to its desired capacity by itself, with
// the refresh's configuration; `surge` comes on top of that.
RefreshStep plan_refresh(const Refresh& refresh, const GroupView& view, const std::vector<Standing>& standings,
                         Time now);

// AWS gives up after one hour without progress, and after 14 days of replacing.
inline constexpr Duration no_progress_limit = std::chrono::hours(1);
inline constexpr Duration refresh_limit = std::chrono::hours(14 * 24);

}  // namespace kiln::region::autoscaling
