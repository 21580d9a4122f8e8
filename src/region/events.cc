// Events: a region's changes as lines.
#include "region/events.h"

#include <fmt/format.h>

#include "region/elb/target_health.h"
#include "region/line_log.h"

namespace kiln::region {
namespace {

// "state: reason, more" with what there is of it.
std::string with_reason(std::string_view state, const std::string& reason, const std::string& more = {}) {
  std::string out(state);
  if (!reason.empty()) out += ": " + reason;
  if (!more.empty()) out += (reason.empty() ? ": " : ", ") + more;
  return out;
}

// "arn:…:targetgroup/web/3a1b" → "web/3a1b"
std::string short_name(const std::string& arn) {
  const std::size_t slash = arn.find('/');
  return slash == std::string::npos ? arn : arn.substr(slash + 1);
}

}  // namespace

void Events::instance(Time now, const ec2::Instance& instance, ec2::InstanceState before) {
  const std::string what = fmt::format("{} -> {}", to_string(before), to_string(instance.state));
  say(now, "instance " + instance.id, with_reason(what, instance.reason_message),
      instance.state == ec2::InstanceState::terminated);
}

void Events::target(Time now, const elb::TargetGroupArn& group, const elb::TargetKey& target,
                    const elb::TargetHealth& health) {
  const std::string subject = fmt::format("target {} {}:{}", short_name(group.str()), target.id, target.port);
  const bool gone = health.reason == elb::kNotRegistered;
  say(now, subject,
      with_reason(gone ? "deregistered" : to_string(health.state), gone ? "" : health.reason,
                  gone ? "" : health.description),
      gone);
}

void Events::activity(Time now, const autoscaling::Activity& activity) {
  const bool over = is_over(activity.status);
  say(now, fmt::format("activity {} {}", activity.group, activity.id),
      fmt::format("{}: {}{}", to_string(activity.status), activity.description,
                  over ? "" : " Cause: " + activity.cause),
      over);
}

void Events::refresh(Time now, const autoscaling::Refresh& refresh) {
  say(now, fmt::format("refresh {} {}", refresh.group, refresh.id),
      with_reason(to_string(refresh.status), refresh.reason), !is_active(refresh.status));
}

void Events::say(Time now, const std::string& subject, const std::string& what, bool last) {
  const auto found = said_.find(subject);
  if (found != said_.end() && found->second == what) return;
  if (!last) {
    said_[subject] = what;
  } else if (found != said_.end()) {
    said_.erase(found);
  }
  tell_(fmt::format("{} {} {} {}", format_iso8601(now), place_, printable(subject), printable(what)));
}

}  // namespace kiln::region
