// Activities: the scaling activities of a group, with AWS's wording, and at most so many of the past.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace kiln::region::autoscaling {

enum class ActivityStatus { pre_in_service, in_progress, waiting_for_draining, successful, failed, cancelled };
// As the API writes it: "WaitingForELBConnectionDraining".
std::string_view to_string(ActivityStatus status);

struct Activity {
  std::string id;
  std::uint64_t number = 0;  // in order of their start
  std::string group;
  std::string group_arn;
  std::string description;
  std::string cause;
  std::string details;  // JSON: {"Subnet ID":"..","Availability Zone":".."}
  ActivityStatus status = ActivityStatus::in_progress;
  std::string status_message;
  int progress = 0;
  Time start{};
  std::optional<Time> end;
  bool group_deleted = false;
};

bool is_over(ActivityStatus status);

// "2026-11-24T03:01:56Z", as it stands in causes.
std::string cause_time(Time now);

// Causes, as AWS words them; each begins with "At <time> ".
namespace cause {
std::string created(Time now, int desired);
std::string updated(Time now, int min, int max, int desired, int from, int to);
std::string set_desired(Time now, int from, int to);
std::string force_deleted(Time now, int from);
std::string started_for_difference(Time now, int from, int to);
std::string started_for_unhealthy(Time now);
std::string started_for_refresh(Time now);
std::string ended_for_difference(Time now, int from, int to, const std::string& instance_id);
std::string ended_for_state(Time now);
std::string ended_for_status(Time now);
std::string ended_for_elb(Time now);
std::string ended_for_user_health(Time now);
std::string ended_for_refresh(Time now);
std::string ended_by_user(Time now, const std::string& instance_id, bool decrement, int from);
std::string entered_standby(Time now, const std::string& instance_id, bool decrement, int from);
std::string left_standby(Time now, const std::string& instance_id, int from);
}  // namespace cause

}  // namespace kiln::region::autoscaling
