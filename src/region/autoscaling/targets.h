// Targets: what Auto Scaling needs of load balancing; an adapter implements it on ELBv2's side (adapters.h).
#pragma once

#include <functional>
#include <string>

namespace kiln::region::autoscaling {

enum class TargetState {
  absent,   // not registered, or its draining has ended
  initial,  // not yet decided
  healthy,
  unhealthy,
  unused,    // registered, but no listener leads there: not checked
  draining,  // no new requests; still there until the deregistration delay has passed
};

// Called on the loop's thread. An instance is registered on the group's own port.
class Targets {
 public:
  virtual ~Targets() = default;
  virtual bool exists(const std::string& target_group) const = 0;
  virtual void register_instance(const std::string& target_group, const std::string& instance_id) = 0;
  virtual void deregister_instance(const std::string& target_group, const std::string& instance_id) = 0;
  virtual TargetState state(const std::string& target_group, const std::string& instance_id) const = 0;
  // Called on the loop after a target's state changed or it left.
  virtual void on_change(std::function<void(const std::string& instance_id)> listener) = 0;
};

}  // namespace kiln::region::autoscaling
