// Target health: what a run of health checks says of one target, by ALB's rules.
#include "region/elb/target_health.h"

#include <algorithm>

#include <fmt/format.h>

namespace kiln::region::elb {

namespace {

// After this long the quick pace slows down: a machine that boots is up by then, one that is broken should not be
// hammered.
constexpr Duration kQuickFor{60'000};
constexpr Duration kSlowRetry{1'000};

bool not_up(const ProbeResult& result) {
  return result.kind == ProbeResult::Kind::refused || result.kind == ProbeResult::Kind::unreachable;
}

void explain_failure(CheckProgress& progress, const ProbeResult& result) {
  switch (result.kind) {
    case ProbeResult::Kind::answered:
      progress.reason = "Target.ResponseCodeMismatch";
      progress.description = fmt::format("Health checks failed with these codes: [{}]", result.status);
      return;
    case ProbeResult::Kind::timed_out:
    case ProbeResult::Kind::unreachable:
      progress.reason = "Target.Timeout";
      progress.description = "Request timed out";
      return;
    case ProbeResult::Kind::refused:
    case ProbeResult::Kind::broken:
      progress.reason = "Target.FailedHealthChecks";
      progress.description = "Health checks failed";
      return;
  }
}

void become_healthy(CheckProgress& progress) {
  progress.state = TargetState::healthy;
  progress.reason.clear();
  progress.description.clear();
}

void on_success(CheckProgress& progress, const HealthCheck& check) {
  progress.failures = 0;
  ++progress.successes;
  // A new target needs one success; the healthy threshold is for the way back from unhealthy.
  bool enough = progress.state == TargetState::initial || progress.successes >= check.healthy_threshold;
  if (progress.state != TargetState::healthy && enough) become_healthy(progress);
}

void on_failure(CheckProgress& progress, const HealthCheck& check, const ProbeResult& result, Time now) {
  progress.successes = 0;
  progress.counted = now;
  ++progress.failures;
  if (progress.state == TargetState::unhealthy || progress.failures >= check.unhealthy_threshold) {
    progress.state = TargetState::unhealthy;
    explain_failure(progress, result);
  }
}

}  // namespace

CheckProgress begin_checks(Time now) {
  CheckProgress progress;
  progress.reason = "Elb.RegistrationInProgress";
  progress.description = "Target registration is in progress";
  progress.began = now;
  progress.counted = now;
  return progress;
}

void on_probe_sent(CheckProgress& progress) {
  if (progress.state != TargetState::initial) return;
  progress.reason = "Elb.InitialHealthChecking";
  progress.description = "Initial health checks in progress";
}

Duration on_probe_result(CheckProgress& progress, const HealthCheck& check, const ProbeResult& result, Time now,
                         Duration retry) {
  Duration interval = std::chrono::seconds(check.interval_seconds);
  if (result.kind == ProbeResult::Kind::answered && check.matcher.matches(result.status)) {
    on_success(progress, check);
    return interval;
  }
  bool quick = progress.state == TargetState::initial && not_up(result);
  if (!quick || now - progress.counted >= interval) on_failure(progress, check, result, now);
  if (progress.state != TargetState::initial || !quick) return interval;
  return std::min(interval, now - progress.began < kQuickFor ? retry : kSlowRetry);
}

int slow_start_share(Duration since_healthy, Duration slow_start) {
  if (slow_start <= Duration::zero() || since_healthy >= slow_start) return 100;
  auto percent = since_healthy.count() * 100 / slow_start.count();
  return static_cast<int>(std::clamp<std::int64_t>(percent, 1, 100));
}

TargetHealth not_registered() {
  return {TargetState::unused, kNotRegistered, "Target is not registered to the target group"};
}

TargetHealth not_in_use() {
  return {TargetState::unused, "Target.NotInUse",
          "Target group is not configured to receive traffic from the load balancer"};
}

TargetHealth zone_not_enabled() {
  return {TargetState::unused, "Target.NotInUse",
          "Target is in an Availability Zone that is not enabled for the load balancer"};
}

TargetHealth invalid_state(const std::string& instance_state) {
  return {TargetState::unused, "Target.InvalidState", fmt::format("Target is in the {} state", instance_state)};
}

TargetHealth deregistering() {
  return {TargetState::draining, "Target.DeregistrationInProgress", "Target deregistration is in progress"};
}

}  // namespace kiln::region::elb
