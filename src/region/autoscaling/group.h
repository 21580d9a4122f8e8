// Group: what Auto Scaling keeps of a group and of the instances in it. Values only, no wire types, no behaviour.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace kiln::region::autoscaling {

// A launch template and one of its versions: a number, "$Default" or "$Latest". Auto Scaling's default is "$Default".
struct TemplateRef {
  std::string id;
  std::string name;
  std::string version = "$Default";
  bool numbered() const { return !version.empty() && version[0] != '$'; }
  bool operator==(const TemplateRef&) const = default;
};

enum class Lifecycle { pending, in_service, terminating, entering_standby, standby };
// As the API writes it: "InService".
std::string_view to_string(Lifecycle state);

// Why an instance counts as unhealthy.
enum class Ailment { none, ec2_state, ec2_status, elb, user };

// One instance of a group, from the decision to launch it until EC2 has ended it. Its launch token is its name here:
// it is written down before EC2 is asked, so a launch that was cut off is repeated and finds the same instance.
struct Member {
  std::string token;
  std::uint64_t order = 0;  // of the group's launches
  std::string instance_id;  // empty until EC2 has answered
  std::string zone;
  std::string subnet_id;
  std::string instance_type;
  std::string image_id;
  TemplateRef launched_from;  // with the number of the version that was used
  Lifecycle state = Lifecycle::pending;
  Ailment ailment = Ailment::none;  // "Unhealthy" unless none
  bool protected_from_scale_in = false;
  bool leaving_standby = false;  // Pending because of ExitStandby, not of a launch
  bool served = false;           // it was ready for traffic at least once
  bool skip_draining = false;    // its group is being deleted by force
  Time created{};
  std::optional<Time> in_service_since;
  std::string refresh_id;  // launched by this instance refresh with its desired configuration; empty otherwise
  std::vector<std::string> registered;  // target groups that we registered it with; never again by ourselves
  std::string activity_id;              // the scaling activity that is under way for it
};

struct AttachedTargetGroup {
  std::string arn;
  bool removing = false;  // detached: targets are draining
};

struct Tag {
  std::string key;
  std::string value;
  bool propagate = false;
  bool operator==(const Tag&) const = default;
};

struct Group {
  std::string name;
  std::string arn;
  TemplateRef launch_template;
  int min_size = 0;
  int max_size = 0;
  int desired = 0;
  int default_cooldown_seconds = 300;
  std::vector<std::string> subnets;  // one a zone or more; "VPCZoneIdentifier"
  std::vector<std::string> zones;    // of the subnets, each once, sorted
  std::map<std::string, std::string> subnet_zones;
  std::vector<AttachedTargetGroup> target_groups;
  bool elb_health = false;
  int grace_seconds = 0;
  std::vector<std::string> termination_policies;  // "Default" when empty
  bool protect_new = false;
  std::optional<int> default_warmup_seconds;
  std::vector<Tag> tags;  // by key
  Time created{};
  bool deleting = false;

  // What the group remembers between two looks at it.
  std::string request;        // "At 2026-..Z a user request ..": the cause of the next launches or terminations
  int replacements_owed = 0;  // unhealthy instances that were taken out and have no successor yet
  int launch_failures = 0;    // since the last instance that came into service
  std::optional<Time> launch_not_before;
  std::optional<Time> last_scaling;  // when the last scaling activity ended: the cooldown counts from here

  std::vector<Member> members;  // in order of their launch
};

}  // namespace kiln::region::autoscaling
