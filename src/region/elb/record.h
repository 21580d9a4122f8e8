// Record: how ELBv2's things are written into the journal, as JSON, and read back.
#pragma once

#include <optional>
#include <string>

#include "region/elb/model.h"
#include "region/elb/target_health.h"

namespace kiln::region::elb {

inline const std::string kLoadBalancerTable = "elb.load_balancers";
inline const std::string kTargetGroupTable = "elb.target_groups";
inline const std::string kListenerTable = "elb.listeners";
inline const std::string kTargetTable = "elb.targets";

// What of a target outlives a restart: its health, so that the restart takes nobody out of service, and its draining.
struct TargetRecord {
  TargetGroupArn group;
  TargetKey key;
  CheckProgress progress;
  bool checking = false;
  bool draining = false;
  std::optional<Time> drain_until;  // absent: the data plane has not confirmed yet
};

std::string write_record(const LoadBalancer& value);
std::string write_record(const TargetGroup& value);
std::string write_record(const Listener& value);
std::string write_record(const TargetRecord& value);
// Throw Error(corrupt) naming the key when the text is not what `write_record` writes.
LoadBalancer read_load_balancer(const std::string& text);
TargetGroup read_target_group(const std::string& text);
Listener read_listener(const std::string& text);
TargetRecord read_target(const std::string& text);

// Key of a target in its table: "<group arn> <id>:<port>".
std::string target_record_key(const TargetGroupArn& group, const TargetKey& key);

}  // namespace kiln::region::elb
