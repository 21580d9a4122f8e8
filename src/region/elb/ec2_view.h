// Ec2View: what load balancing needs to know of EC2, and nothing more; EC2's side implements it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace kiln::region::elb {

enum class InstancePhase { pending, running, stopping, stopped, shutting_down, terminated };

struct InstanceView {
  std::string vpc_id;
  std::string zone;             // "us-east-1a"
  std::string private_address;  // IPv4, dotted
  InstancePhase phase = InstancePhase::pending;
};

struct SubnetView {
  std::string vpc_id;
  std::string zone;
};

// Called on the loop's thread. When an instance changes phase, EC2's side calls Elb::instance_changed.
class Ec2View {
 public:
  virtual ~Ec2View() = default;
  virtual std::optional<InstanceView> instance(const std::string& id) const = 0;
  virtual std::optional<SubnetView> subnet(const std::string& id) const = 0;
  virtual bool vpc_exists(const std::string& id) const = 0;
  // The VPC that the security group belongs to.
  virtual std::optional<std::string> security_group_vpc(const std::string& id) const = 0;
  virtual std::string default_security_group(const std::string& vpc_id) const = 0;
};

}  // namespace kiln::region::elb
