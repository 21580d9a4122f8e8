// Instances: what Auto Scaling needs of EC2, and nothing more; an adapter implements it on EC2's side (adapters.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/time.h"
#include "region/autoscaling/group.h"

namespace kiln::region::autoscaling {

struct Launch {
  std::string token;  // RunInstances' ClientToken: the same token finds the same instance
  TemplateRef from;   // as the group or the refresh names it
  std::string subnet_id;
  std::map<std::string, std::string> tags;
};

struct Launched {
  std::string instance_id;
  std::string instance_type;
  std::string image_id;
  TemplateRef from;  // with the number of the version that was used
};

// What a template's version says of the things that Auto Scaling asks about.
struct ResolvedTemplate {
  TemplateRef exact;  // id, name and number
  std::string image_id;
  std::string instance_type;
  bool image_from_parameter = false;  // "resolve:ssm:..."
};

enum class Phase { pending, running, stopping, stopped, shutting_down, terminated };

struct InstanceStatus {
  Phase phase = Phase::pending;
  std::optional<Time> impaired_since;  // a status check fails since then
  std::string reason;                  // why it was ended, for people; may be empty
};

// Called on the loop's thread.
class Instances {
 public:
  virtual ~Instances() = default;
  // Throws ApiError as EC2 does when template or version do not exist.
  virtual ResolvedTemplate resolve(const TemplateRef& ref) const = 0;
  // RunInstances of exactly one; returns at once with the instance in `pending`, or throws ApiError.
  virtual Launched launch(const Launch& launch) = 0;
  // TerminateInstances; one that is ending, has ended or is unknown is fine.
  virtual void terminate(const std::string& instance_id) = 0;
  // Nullopt when EC2 does not know it (any more).
  virtual std::optional<InstanceStatus> status(const std::string& instance_id) const = 0;
  // The zone of a subnet; nullopt when there is no such subnet.
  virtual std::optional<std::string> subnet_zone(const std::string& subnet_id) const = 0;
  // The default subnet of a zone; nullopt when there is none.
  virtual std::optional<std::string> default_subnet(const std::string& zone) const = 0;
  // Called on the loop after an instance changed its phase. It must not call back into Auto Scaling's own calls at
  // once.
  virtual void on_change(std::function<void(const std::string& instance_id)> listener) = 0;
};

}  // namespace kiln::region::autoscaling
