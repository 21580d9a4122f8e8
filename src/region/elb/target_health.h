// Target health: what a run of health checks says of one target, by ALB's rules. Pure: told a result and the time, it
// says the new state and when to ask again.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
// One difference from AWS: while a new target's port refuses connections, it is asked again quickly rather than at the
// interval, so that a local fleet is in service as soon as it can be. Such early refusals do not count as failures; one
// counts an interval, as in AWS.
#pragma once

#include "region/elb/model.h"
#include "region/elb/prober.h"

namespace kiln::region::elb {

struct CheckProgress {
  TargetState state = TargetState::initial;  // initial, healthy or unhealthy
  std::string reason;
  std::string description;
  int successes = 0;  // in a row
  int failures = 0;   // in a row
  Time began{};       // when checking began
  Time counted{};     // when a failure was last counted, or checking began

  bool operator==(const CheckProgress&) const = default;
};

// Registered just now: initial, Elb.RegistrationInProgress.
CheckProgress begin_checks(Time now);
// The first probe is under way: initial, Elb.InitialHealthChecking.
void on_probe_sent(CheckProgress& progress);
// Takes the result in; returns how long to wait before the next probe. `retry` is the quick pace of a target that is
// not up.
Duration on_probe_result(CheckProgress& progress, const HealthCheck& check, const ProbeResult& result, Time now,
                         Duration retry);

// ALB's slow start: linear from the first moment to `slow_start`; 1 to 100.
int slow_start_share(Duration since_healthy, Duration slow_start);

// Reports of states that no health check leads to.
inline constexpr const char* kNotRegistered = "Target.NotRegistered";
TargetHealth not_registered();
TargetHealth not_in_use();
TargetHealth zone_not_enabled();
TargetHealth invalid_state(const std::string& instance_state);  // "stopped"
TargetHealth deregistering();

}  // namespace kiln::region::elb
