// Refresh: the arithmetic of healthy percentages, and names.
#include "region/autoscaling/refresh.h"

#include <algorithm>

#include "base/error.h"

namespace kiln::region::autoscaling {

std::string_view to_string(Lifecycle state) {
  switch (state) {
    case Lifecycle::pending:
      return "Pending";
    case Lifecycle::in_service:
      return "InService";
    case Lifecycle::terminating:
      return "Terminating";
    case Lifecycle::entering_standby:
      return "EnteringStandby";
    case Lifecycle::standby:
      return "Standby";
  }
  KILN_ASSERT(false, "every state has a name");
}

std::string_view to_string(RefreshStatus status) {
  switch (status) {
    case RefreshStatus::pending:
      return "Pending";
    case RefreshStatus::in_progress:
      return "InProgress";
    case RefreshStatus::successful:
      return "Successful";
    case RefreshStatus::failed:
      return "Failed";
    case RefreshStatus::cancelling:
      return "Cancelling";
    case RefreshStatus::cancelled:
      return "Cancelled";
    case RefreshStatus::rollback_in_progress:
      return "RollbackInProgress";
    case RefreshStatus::rollback_failed:
      return "RollbackFailed";
    case RefreshStatus::rollback_successful:
      return "RollbackSuccessful";
    case RefreshStatus::baking:
      return "Baking";
  }
  KILN_ASSERT(false, "every status has a name");
}

bool is_active(RefreshStatus status) {
  return status == RefreshStatus::pending || status == RefreshStatus::in_progress ||
         status == RefreshStatus::cancelling || status == RefreshStatus::rollback_in_progress ||
         status == RefreshStatus::baking;
}

const TemplateRef& Refresh::config(const Group& group_of) const {
  bool forward =
      status == RefreshStatus::pending || status == RefreshStatus::in_progress || status == RefreshStatus::baking;
  return forward && desired ? *desired : group_of.launch_template;
}

int Refresh::warmup_seconds(const Group& group_of) const {
  if (preferences.warmup_seconds) return *preferences.warmup_seconds;
  return group_of.default_warmup_seconds.value_or(group_of.grace_seconds);
}

Bounds refresh_bounds(int desired, const RefreshPreferences& preferences) {
  int max_percent = preferences.max_healthy.value_or(100);
  Bounds bounds;
  bounds.min_ready = (desired * preferences.min_healthy + 99) / 100;
  bounds.max_total = desired * max_percent / 100;
  if (desired == 0) return bounds;
  if (preferences.min_healthy == 100) bounds.max_total = std::max(bounds.max_total, desired + 1);
  bool may_launch = bounds.max_total > desired;
  bool may_end = bounds.min_ready < desired;
  if (!may_launch && !may_end) {
    if (max_percent > 100) {
      bounds.max_total = desired + 1;
    } else {
      bounds.min_ready = desired - 1;
    }
  }
  return bounds;
}

}  // namespace kiln::region::autoscaling
