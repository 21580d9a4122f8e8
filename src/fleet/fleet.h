// Fleet: what is there, as one observation: plain data that the planner and the status screen read.
//
// Things that do not exist (or are not visible yet: AWS is eventually consistent) are absent. Strings that are AWS's
// own states keep AWS's spelling ("InService", "RollbackInProgress", "Target.ResponseCodeMismatch").
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace kiln::fleet {

using Tags = std::map<std::string, std::string>;

struct SecurityGroup {
  std::string id;
  std::string name;
  Tags tags;
  std::vector<int> open_ports;  // of its ingress rules, single ports only
};

struct TemplateVersion {
  std::int64_t number = 0;
  std::string ami;
  std::string instance_type;
  std::vector<std::string> security_groups;
  std::string description;
  std::string image_version;  // kiln:version of the instances that it launches
  std::string digest;         // kiln:digest of them, "sha256:.."
};

struct LaunchTemplate {
  std::string id;
  std::string name;
  Tags tags;
  std::int64_t latest = 0;
  std::vector<TemplateVersion> versions;  // by number
  const TemplateVersion* version(std::int64_t number) const;
};

struct Image {
  std::string ami;
  std::string name;
  std::string state;  // "available", "pending", "disabled", ..
  Tags tags;
  std::string version() const;  // kiln:version
  std::string digest() const;   // kiln:digest
};

struct Health {
  std::string state;   // "initial", "healthy", "unhealthy", "draining", "unused", ..; empty: not registered
  std::string reason;  // "Target.ResponseCodeMismatch"
  std::string description;
};

struct Instance {
  std::string id;
  std::string zone;
  std::string type;
  std::string lifecycle;  // in its group: "Pending", "InService", "Terminating", ..
  std::string health;     // by its group: "Healthy", "Unhealthy"
  std::int64_t template_version = 0;
  std::string ami;
  std::string image_version;  // "1.1.0"; empty when it is not known
  std::string address;
  Time launched{};
  Health target;

  bool in_service() const { return lifecycle == "InService"; }
  bool serves() const { return in_service() && health == "Healthy" && target.state == "healthy"; }
  bool leaving() const { return lifecycle.starts_with("Terminat"); }
};

struct Group {
  std::string name;
  std::string arn;
  std::int64_t min = 0;
  std::int64_t max = 0;
  std::int64_t desired = 0;
  std::int64_t template_version = 0;  // 0 when it is not a number ("$Latest", "$Default")
  std::string template_version_text;
  std::string template_id;
  std::string health_check_type;
  std::int64_t grace_s = 0;
  std::int64_t warmup_s = -1;
  std::vector<std::string> target_groups;  // ARNs
  std::vector<std::string> zones;
  std::string status;  // "Delete in progress", else empty
  Tags tags;
  std::vector<Instance> instances;  // by launch time, then id
};

struct Refresh {
  std::string id;
  std::string status;
  std::string reason;
  std::int64_t percentage = 0;
  std::int64_t instances_to_update = 0;
  Time started{};
  std::optional<Time> ended;
  std::int64_t wanted_version = 0;  // of its desired configuration; 0 without one
  bool auto_rollback = false;
  std::string rollback_reason;

  bool active() const;      // AWS refuses another one
  bool going_back() const;  // RollbackInProgress, RollbackFailed, RollbackSuccessful
};

// A scaling activity that failed, or ended an instance because of its health.
struct Activity {
  std::string id;
  std::string status;  // "Failed", "Cancelled", "Successful"
  std::string description;
  std::string cause;
  std::string message;
  Time started{};
};

struct TargetGroup {
  std::string arn;
  std::string name;
  int port = 0;
  std::string health_path;
  Duration health_interval{};
  Duration health_timeout{};
  int healthy_threshold = 0;
  int unhealthy_threshold = 0;
  std::string matcher;
  std::optional<Duration> drain;
  std::vector<std::string> load_balancers;  // ARNs of those that send to it
  Tags tags;
};

struct LoadBalancer {
  std::string arn;
  std::string name;
  std::string address;  // its DNSName
  std::string state;    // "provisioning", "active", ..
  Tags tags;
};

struct Listener {
  std::string arn;
  int port = 0;
  std::map<std::string, std::int64_t> weights;  // by target group ARN; a single forward is weight 1
};

struct Fleet {
  std::string vpc;                   // the default VPC
  std::vector<std::string> subnets;  // its subnets, one a zone, by zone
  std::optional<SecurityGroup> instance_security_group;
  std::optional<SecurityGroup> balancer_security_group;
  std::optional<LaunchTemplate> launch_template;
  std::optional<TargetGroup> target_group;
  std::optional<LoadBalancer> load_balancer;
  std::vector<Listener> listeners;
  std::optional<Group> group;
  std::vector<Refresh> refreshes;       // newest first, at most 10
  std::vector<Activity> activities;     // newest first, at most 20: those that are not plain successes
  std::map<std::string, Image> images;  // by AMI: those of the template's versions in use and of the wanted one
  std::vector<std::string> leftovers;   // targets that drain but are no instance of the group any more

  bool empty() const;  // nothing of it exists
  const Refresh* active_refresh() const;
  std::size_t serving(std::int64_t template_version) const;  // instances of that version that serve
  std::size_t serving() const;
  // "1.1.0", by what the template's version and its AMI say; "version 7" when they do not.
  std::string image_version(std::int64_t template_version) const;
  // Where its users reach it: "http://127.77.1.1"; empty without a listener.
  std::string url() const;
};

}  // namespace kiln::fleet
