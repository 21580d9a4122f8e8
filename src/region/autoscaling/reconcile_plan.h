// The planner of a group: what to do next, given what is wanted and what is seen. Pure: it touches nothing, and is
// asked again after every change.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "region/autoscaling/group.h"
#include "region/autoscaling/instances.h"
#include "region/autoscaling/refresh.h"
#include "region/autoscaling/zones.h"

namespace kiln::region::autoscaling {

// What the world shows of one member.
struct Observed {
  bool known = false;  // EC2 knows the instance
  InstanceStatus status;
  bool targets_ready = true;      // healthy (or not checked) in every target group of the group
  bool target_unhealthy = false;  // unhealthy in one of them at least
  bool target_present = false;    // still registered or draining somewhere
};

struct GroupView {
  const Group& group;
  const std::vector<Observed>& observed;  // by index, as the group's members
  const Refresh* refresh = nullptr;       // the active one
  // What the refresh's configuration means now, with the version's number; nullopt when it cannot be told.
  std::optional<TemplateRef> refresh_exact = std::nullopt;
};

enum class LaunchWhy { difference, unhealthy, refresh };
enum class EndWhy { scale_in, ec2_state, ec2_status, elb, user, refresh, failed_launch };

struct PlannedLaunch {
  Place place;
  TemplateRef from;
  LaunchWhy why = LaunchWhy::difference;
  bool for_refresh = false;  // with the refresh's desired configuration
};

struct PlannedEnd {
  std::size_t member = 0;
  EndWhy why = EndWhy::scale_in;
};

struct TargetChange {
  std::size_t member = 0;
  std::string target_group;
};

struct Plan {
  std::vector<std::size_t> ask;         // pending members whose launch EC2 has not answered
  std::vector<std::size_t> in_service;  // pending → InService
  std::vector<std::size_t> served;      // ready for traffic for the first time
  std::vector<std::size_t> standby;     // entering → Standby
  std::vector<TargetChange> registrations;
  std::vector<TargetChange> deregister;  // of target groups that were detached
  std::vector<PlannedEnd> ends;          // → Terminating
  std::vector<std::size_t> terminate;    // drained: EC2 may end it
  std::vector<std::size_t> forget;       // EC2 has ended it
  std::vector<PlannedLaunch> launches;
  int capacity = 0;                // before ends and launches: Pending and InService, healthy
  std::optional<Refresh> refresh;  // as it is to be kept, when it changed
  bool adopt_desired = false;      // the refresh succeeded: its desired configuration becomes the group's
  std::optional<Time> look_again;  // when time alone changes the answer
  bool settled = false;            // nothing is under way
};

Plan plan(const GroupView& view, Time now);

}  // namespace kiln::region::autoscaling
