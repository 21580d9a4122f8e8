// Adapters: Auto Scaling on the region's own EC2, ELBv2 and journal.
#include "region/autoscaling/adapters.h"

#include "region/api_error.h"
#include "region/ec2/ec2.h"
#include "region/elb/elb.h"
#include "region/journal.h"

namespace kiln::region::autoscaling {
namespace {

Phase phase_of(ec2::InstanceState state) {
  switch (state) {
    case ec2::InstanceState::pending:
      return Phase::pending;
    case ec2::InstanceState::running:
      return Phase::running;
    case ec2::InstanceState::stopping:
      return Phase::stopping;
    case ec2::InstanceState::stopped:
      return Phase::stopped;
    case ec2::InstanceState::shutting_down:
      return Phase::shutting_down;
    case ec2::InstanceState::terminated:
      return Phase::terminated;
  }
  return Phase::terminated;
}

ec2::TemplateSpec spec_of(const TemplateRef& ref) {
  // EC2 wants one of id and name; the id is the one that cannot be given to another template later.
  ec2::TemplateSpec spec;
  if (ref.id.empty()) {
    spec.name = ref.name;
  } else {
    spec.id = ref.id;
  }
  spec.version = ref.version;
  return spec;
}

}  // namespace

ResolvedTemplate Ec2Instances::resolve(const TemplateRef& ref) const {
  const ec2::LaunchTemplate& launch_template = ec2_.launch_template(ref.id, ref.id.empty() ? ref.name : std::string());
  const ec2::TemplateVersion& version = ec2_.template_version(spec_of(ref));
  ResolvedTemplate resolved;
  resolved.exact = {launch_template.id, launch_template.name, std::to_string(version.number)};
  resolved.image_id = version.data.image_id.value_or("");
  resolved.instance_type = version.data.instance_type.value_or("");
  resolved.image_from_parameter = resolved.image_id.starts_with("resolve:ssm:");
  return resolved;
}

Launched Ec2Instances::launch(const Launch& launch) {
  ResolvedTemplate resolved = resolve(launch.from);
  ec2::RunRequest request;
  // With the number, so that a launch that is repeated asks for the same.
  request.launch_template = spec_of(resolved.exact);
  request.subnet_id = launch.subnet_id;
  request.client_token = launch.token;
  // Tags of a request replace the template's as a whole; the group's are to come on top of them.
  const ec2::TemplateVersion& version = ec2_.template_version(*request.launch_template);
  auto of_instance = version.data.tags.find("instance");
  ec2::Tags tags = of_instance == version.data.tags.end() ? ec2::Tags{} : of_instance->second;
  for (const auto& [key, value] : launch.tags) tags[key] = value;
  request.data.tags = version.data.tags;
  request.data.tags["instance"] = std::move(tags);
  const ec2::Instance& instance = *ec2_.run_instances(request).front();
  return {instance.id, instance.type, instance.image_id, resolved.exact};
}

void Ec2Instances::terminate(const std::string& instance_id) {
  if (ec2_.find_instance(instance_id) != nullptr) ec2_.terminate_instances({instance_id});
}

std::optional<InstanceStatus> Ec2Instances::status(const std::string& instance_id) const {
  const ec2::Instance* instance = ec2_.find_instance(instance_id);
  if (instance == nullptr) return std::nullopt;
  // The region models no status check that fails.
  return InstanceStatus{phase_of(instance->state), std::nullopt,
                        instance->reason_message.empty() ? instance->reason_code
                                                         : instance->reason_code + ": " + instance->reason_message};
}

std::optional<std::string> Ec2Instances::subnet_zone(const std::string& subnet_id) const {
  const auto found = ec2_.vpcs().subnets().find(subnet_id);
  if (found == ec2_.vpcs().subnets().end()) return std::nullopt;
  return found->second.zone;
}

std::optional<std::string> Ec2Instances::default_subnet(const std::string& zone) const {
  const ec2::Subnet* subnet = ec2_.vpcs().default_subnet(zone);
  return subnet == nullptr ? std::nullopt : std::optional(subnet->id);
}

void Ec2Instances::on_change(std::function<void(const std::string& instance_id)> listener) {
  ec2_.on_instance_change(
      [listener = std::move(listener)](const ec2::Instance& instance, ec2::InstanceState) { listener(instance.id); });
}

bool ElbTargets::exists(const std::string& target_group) const {
  return elb_.has_target_group(elb::TargetGroupArn(target_group));
}

void ElbTargets::register_instance(const std::string& target_group, const std::string& instance_id) {
  elb_.register_targets(elb::TargetGroupArn(target_group), {{instance_id, 0}});
}

void ElbTargets::deregister_instance(const std::string& target_group, const std::string& instance_id) {
  elb_.deregister_targets(elb::TargetGroupArn(target_group), {{instance_id, 0}});
}

TargetState ElbTargets::state(const std::string& target_group, const std::string& instance_id) const {
  elb::TargetGroupArn arn(target_group);
  try {
    if (!elb_.has_target(arn, instance_id)) return TargetState::absent;
    switch (elb_.target_health(arn, {instance_id, 0}).state) {
      case elb::TargetState::initial:
        return TargetState::initial;
      case elb::TargetState::healthy:
        return TargetState::healthy;
      case elb::TargetState::unhealthy:
        return TargetState::unhealthy;
      case elb::TargetState::draining:
        return TargetState::draining;
      // Not checked, so nothing speaks against it.
      case elb::TargetState::unused:
      case elb::TargetState::unavailable:
        return TargetState::unused;
    }
  } catch (const ApiError&) {
    // The target group is gone.
  }
  return TargetState::absent;
}

void ElbTargets::on_change(std::function<void(const std::string& instance_id)> listener) {
  elb_.on_target_change([listener = std::move(listener)](const elb::TargetGroupArn&, const elb::TargetKey& target) {
    listener(target.id);
  });
}

void JournalRecords::put(std::string_view table, std::string_view key, std::string text) {
  journal_.put(std::string(table), std::string(key), std::move(text));
}

void JournalRecords::erase(std::string_view table, std::string_view key) {
  journal_.erase(std::string(table), std::string(key));
}

std::vector<std::pair<std::string, std::string>> JournalRecords::load(std::string_view table) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (auto& [key, text] : journal_.load(std::string(table))) rows.emplace_back(key, text);
  return rows;
}

}  // namespace kiln::region::autoscaling
