// Adapters: Auto Scaling's neighbours, on the region's EC2, ELBv2 and journal.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "region/autoscaling/instances.h"
#include "region/autoscaling/record.h"
#include "region/autoscaling/targets.h"

namespace kiln::region {
class Tables;
namespace ec2 {
class Ec2;
}
namespace elb {
class Elb;
}
}  // namespace kiln::region

namespace kiln::region::autoscaling {

// All borrow what they adapt, which must outlive them.
class Ec2Instances final : public Instances {
 public:
  explicit Ec2Instances(ec2::Ec2& ec2) : ec2_(ec2) {}
  ResolvedTemplate resolve(const TemplateRef& ref) const override;
  Launched launch(const Launch& launch) override;
  void terminate(const std::string& instance_id) override;
  std::optional<InstanceStatus> status(const std::string& instance_id) const override;
  std::optional<std::string> subnet_zone(const std::string& subnet_id) const override;
  std::optional<std::string> default_subnet(const std::string& zone) const override;
  void on_change(std::function<void(const std::string& instance_id)> listener) override;

 private:
  ec2::Ec2& ec2_;
};

class ElbTargets final : public Targets {
 public:
  explicit ElbTargets(elb::Elb& elb) : elb_(elb) {}
  bool exists(const std::string& target_group) const override;
  void register_instance(const std::string& target_group, const std::string& instance_id) override;
  void deregister_instance(const std::string& target_group, const std::string& instance_id) override;
  TargetState state(const std::string& target_group, const std::string& instance_id) const override;
  void on_change(std::function<void(const std::string& instance_id)> listener) override;

 private:
  elb::Elb& elb_;
};

class JournalRecords final : public Records {
 public:
  explicit JournalRecords(Tables& journal) : journal_(journal) {}
  void put(std::string_view table, std::string_view key, std::string text) override;
  void erase(std::string_view table, std::string_view key) override;
  std::vector<std::pair<std::string, std::string>> load(std::string_view table) override;

 private:
  Tables& journal_;
};

}  // namespace kiln::region::autoscaling
