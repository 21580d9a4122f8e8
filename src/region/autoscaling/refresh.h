// Refresh: what is kept of an instance refresh, and the arithmetic of its healthy percentages. Values only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "region/autoscaling/group.h"

namespace kiln::region::autoscaling {

enum class RefreshStatus {
  pending,
  in_progress,
  successful,
  failed,
  cancelling,
  cancelled,
  rollback_in_progress,
  rollback_failed,
  rollback_successful,
  baking,
};
// As the API writes it: "RollbackInProgress".
std::string_view to_string(RefreshStatus status);
// Of one that has not ended.
bool is_active(RefreshStatus status);

// Defaults are those of the API (RefreshPreferences).
struct RefreshPreferences {
  int min_healthy = 90;
  std::optional<int> max_healthy;  // 100
  std::optional<int> warmup_seconds;
  std::vector<int> checkpoints;                 // ascending, each 1 to 100
  std::optional<int> checkpoint_delay_seconds;  // 3600 when there are checkpoints
  std::optional<bool> skip_matching;
  std::optional<bool> auto_rollback;
  std::optional<std::string> scale_in_protected;  // Refresh, Ignore or Wait (default)
  std::optional<std::string> standby;             // Terminate, Ignore or Wait (default)
  std::optional<int> bake_seconds;
};

struct RollbackDetails {
  std::string reason;
  Time start{};
  int percent_complete = 0;
  int instances_to_update = 0;
};

struct Refresh {
  std::string id;
  std::string group;
  RefreshStatus status = RefreshStatus::pending;
  std::string reason;
  std::optional<Time> started;
  std::optional<Time> ended;
  int percent_complete = 0;
  int instances_to_update = 0;
  RefreshPreferences preferences;
  std::optional<TemplateRef> desired;  // DesiredConfiguration.LaunchTemplate
  TemplateRef original;                // what the group said when it began: where a rollback goes

  // What it remembers between two looks.
  Time last_progress{};
  int best_ready = -1;             // the most that were ready at once in this phase
  int checkpoint_passed = 0;       // the highest threshold that was reached
  int checkpoint_total = 0;        // of how many instances
  std::optional<Time> hold_until;  // the checkpoint's delay
  std::optional<Time> bake_until;
  std::optional<RollbackDetails> rollback;

  // What instances that it launches are made from.
  const TemplateRef& config(const Group& group) const;
  int warmup_seconds(const Group& group) const;
};

// How many instances must stay ready, and how many there may be (ready or on their way), while some are replaced.
struct Bounds {
  int min_ready = 0;
  int max_total = 0;
  bool operator==(const Bounds&) const = default;
};

// MinHealthyPercentage is rounded up, MaxHealthyPercentage down, both of the desired capacity. Min 100 launches first,
// one at a time unless Max allows more. Where rounding leaves a small group no room to move, it gets room for exactly
// one: above when Max > 100 or Min = 100, below otherwise (AWS: 90/100 terminates first).
Bounds refresh_bounds(int desired, const RefreshPreferences& preferences);

}  // namespace kiln::region::autoscaling
