// Activities: AWS's wording of why instances came and went.
#include "region/autoscaling/activities.h"

#include <fmt/format.h>

#include "base/error.h"

namespace kiln::region::autoscaling {

std::string_view to_string(ActivityStatus status) {
  switch (status) {
    case ActivityStatus::pre_in_service:
      return "PreInService";
    case ActivityStatus::in_progress:
      return "InProgress";
    case ActivityStatus::waiting_for_draining:
      return "WaitingForELBConnectionDraining";
    case ActivityStatus::successful:
      return "Successful";
    case ActivityStatus::failed:
      return "Failed";
    case ActivityStatus::cancelled:
      return "Cancelled";
  }
  KILN_ASSERT(false, "every status has a name");
}

bool is_over(ActivityStatus status) {
  return status == ActivityStatus::successful || status == ActivityStatus::failed ||
         status == ActivityStatus::cancelled;
}

std::string cause_time(Time now) { return format_iso8601(now).substr(0, 19) + "Z"; }

namespace cause {

std::string created(Time now, int desired) {
  return fmt::format("At {} a user request created an AutoScalingGroup changing the desired capacity from 0 to {}.",
                     cause_time(now), desired);
}

std::string updated(Time now, int min, int max, int desired, int from, int to) {
  return fmt::format(
      "At {} a user request update of AutoScalingGroup constraints to min: {}, max: {}, desired: {} changing the "
      "desired capacity from {} to {}.",
      cause_time(now), min, max, desired, from, to);
}

std::string set_desired(Time now, int from, int to) {
  return fmt::format(
      "At {} a user request explicitly set group desired capacity changing the desired capacity from {} to {}.",
      cause_time(now), from, to);
}

std::string force_deleted(Time now, int from) {
  return fmt::format("At {} a user request force deleted AutoScalingGroup changing the desired capacity from {} to 0.",
                     cause_time(now), from);
}

std::string started_for_difference(Time now, int from, int to) {
  return fmt::format(
      "At {} an instance was started in response to a difference between desired and actual capacity, increasing the "
      "capacity from {} to {}.",
      cause_time(now), from, to);
}

std::string started_for_unhealthy(Time now) {
  return fmt::format("At {} an instance was launched in response to an unhealthy instance needing to be replaced.",
                     cause_time(now));
}

std::string started_for_refresh(Time now) {
  return fmt::format("At {} an instance was launched in response to an instance refresh.", cause_time(now));
}

std::string ended_for_difference(Time now, int from, int to, const std::string& instance_id) {
  return fmt::format(
      "At {0} an instance was taken out of service in response to a difference between desired and actual capacity, "
      "shrinking the capacity from {1} to {2}.  At {0} instance {3} was selected for termination.",
      cause_time(now), from, to, instance_id);
}

std::string ended_for_state(Time now) {
  return fmt::format(
      "At {} an instance was taken out of service in response to an EC2 health check indicating it has been terminated "
      "or stopped.",
      cause_time(now));
}

std::string ended_for_status(Time now) {
  return fmt::format("At {} an instance was taken out of service in response to an EC2 instance status checks failure.",
                     cause_time(now));
}

std::string ended_for_elb(Time now) {
  return fmt::format("At {} an instance was taken out of service in response to an ELB system health check failure.",
                     cause_time(now));
}

std::string ended_for_user_health(Time now) {
  return fmt::format("At {} an instance was taken out of service in response to a user health-check.", cause_time(now));
}

std::string ended_for_refresh(Time now) {
  return fmt::format("At {} an instance was taken out of service in response to an instance refresh.", cause_time(now));
}

std::string ended_by_user(Time now, const std::string& instance_id, bool decrement, int from) {
  std::string text = fmt::format("At {} instance {} was taken out of service in response to a user request",
                                 cause_time(now), instance_id);
  if (decrement) text += fmt::format(", shrinking the capacity from {} to {}", from, from - 1);
  return text + ".";
}

std::string entered_standby(Time now, const std::string& instance_id, bool decrement, int from) {
  std::string text =
      fmt::format("At {} instance {} was moved to standby in response to a user request", cause_time(now), instance_id);
  if (decrement) text += fmt::format(", shrinking the capacity from {} to {}", from, from - 1);
  return text + ".";
}

std::string left_standby(Time now, const std::string& instance_id, int from) {
  return fmt::format(
      "At {} instance {} was moved out of standby in response to a user request, increasing the capacity from {} to "
      "{}.",
      cause_time(now), instance_id, from, from + 1);
}

}  // namespace cause
}  // namespace kiln::region::autoscaling
