// Translate: messages of Auto Scaling.
#include "region/autoscaling/translate.h"

#include <fmt/format.h>

#include <limits>

#include "base/text.h"
#include "region/handlers.h"

namespace kiln::region::autoscaling {
namespace {

std::optional<int> number_of(const std::optional<std::int64_t>& value, const char* name) {
  if (!value) return std::nullopt;
  return autoscaling::number_of(*value, name);
}

std::optional<std::int64_t> wide(const std::optional<int>& value) {
  if (!value) return std::nullopt;
  return *value;
}

// "subnet-1,subnet-2", as VPCZoneIdentifier has it.
std::vector<std::string> subnets_of(const std::optional<std::string>& text) {
  std::vector<std::string> subnets;
  if (!text) return subnets;
  for (const std::string& part : split(*text, ',')) {
    if (std::string subnet(trim(part)); !subnet.empty()) subnets.push_back(std::move(subnet));
  }
  return subnets;
}

// What both messages say alike.
template <typename Input>
GroupSettings settings(const Input& input) {
  GroupSettings wanted;
  if (input.launch_template) wanted.launch_template = template_of(*input.launch_template);
  wanted.min_size = number_of(input.min_size, "MinSize");
  wanted.max_size = number_of(input.max_size, "MaxSize");
  wanted.desired = number_of(input.desired_capacity, "DesiredCapacity");
  wanted.default_cooldown_seconds = number_of(input.default_cooldown, "DefaultCooldown");
  wanted.subnets = subnets_of(input.vpc_zone_identifier);
  wanted.zones = input.availability_zones;
  wanted.health_check_type = input.health_check_type;
  wanted.grace_seconds = number_of(input.health_check_grace_period, "HealthCheckGracePeriod");
  wanted.termination_policies = input.termination_policies;
  wanted.protect_new = input.new_instances_protected_from_scale_in;
  wanted.default_warmup_seconds = number_of(input.default_instance_warmup, "DefaultInstanceWarmup");
  return wanted;
}

// Drops members that say what the region does anyway, so that clients which always send them are served.
template <typename Input>
Input without_defaults(Input input) {
  if (!input.capacity_rebalance.value_or(false)) input.capacity_rebalance.reset();
  if (input.max_instance_lifetime.value_or(0) == 0) input.max_instance_lifetime.reset();
  if (input.desired_capacity_type.value_or("units") == "units") input.desired_capacity_type.reset();
  if (input.deletion_protection.value_or("none") == "none") input.deletion_protection.reset();
  return input;
}

message::LaunchTemplateSpecification message_of(const TemplateRef& ref) {
  message::LaunchTemplateSpecification spec;
  if (!ref.id.empty()) spec.launch_template_id = ref.id;
  if (!ref.name.empty()) spec.launch_template_name = ref.name;
  spec.version = ref.version;
  return spec;
}

template <typename Details>
Details details_of(const Member& member) {
  Details details;
  details.instance_id = member.instance_id;
  details.instance_type = member.instance_type;
  details.availability_zone = member.zone;
  details.lifecycle_state = std::string(to_string(member.state));
  details.health_status = member.ailment == Ailment::none ? "Healthy" : "Unhealthy";
  details.launch_template = message_of(member.launched_from);
  details.image_id = member.image_id;
  details.protected_from_scale_in = member.protected_from_scale_in;
  return details;
}

message::RefreshPreferences message_of(const RefreshPreferences& preferences) {
  message::RefreshPreferences out;
  out.min_healthy_percentage = preferences.min_healthy;
  out.max_healthy_percentage = wide(preferences.max_healthy);
  out.instance_warmup = wide(preferences.warmup_seconds);
  out.checkpoint_percentages.assign(preferences.checkpoints.begin(), preferences.checkpoints.end());
  if (!preferences.checkpoints.empty()) out.checkpoint_delay = preferences.checkpoint_delay_seconds.value_or(3600);
  out.skip_matching = preferences.skip_matching.value_or(false);
  out.auto_rollback = preferences.auto_rollback.value_or(false);
  out.scale_in_protected_instances = preferences.scale_in_protected.value_or("Wait");
  out.standby_instances = preferences.standby.value_or("Wait");
  out.bake_time = wide(preferences.bake_seconds);
  return out;
}

message::InstanceRefreshProgressDetails progress_of(int percent, int to_update) {
  message::InstanceRefreshProgressDetails details;
  details.live_pool_progress.emplace();
  details.live_pool_progress->percentage_complete = percent;
  details.live_pool_progress->instances_to_update = to_update;
  return details;
}

}  // namespace

int number_of(std::int64_t value, const char* name) {
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) {
    throw ApiError("ValidationError", fmt::format("The value {} of {} is out of range", value, name));
  }
  return static_cast<int>(value);
}

GroupSettings settings_of(const message::CreateAutoScalingGroupType& input) {
  only<message::CreateAutoScalingGroup>(
      without_defaults(input),
      {"AutoScalingGroupName", "LaunchTemplate", "MinSize", "MaxSize", "DesiredCapacity", "DefaultCooldown",
       "AvailabilityZones", "TargetGroupARNs", "HealthCheckType", "HealthCheckGracePeriod", "VPCZoneIdentifier",
       "TerminationPolicies", "NewInstancesProtectedFromScaleIn", "Tags", "DefaultInstanceWarmup"});
  return settings(input);
}

GroupSettings settings_of(const message::UpdateAutoScalingGroupType& input) {
  only<message::UpdateAutoScalingGroup>(
      without_defaults(input),
      {"AutoScalingGroupName", "LaunchTemplate", "MinSize", "MaxSize", "DesiredCapacity", "DefaultCooldown",
       "AvailabilityZones", "HealthCheckType", "HealthCheckGracePeriod", "VPCZoneIdentifier", "TerminationPolicies",
       "NewInstancesProtectedFromScaleIn", "DefaultInstanceWarmup"});
  return settings(input);
}

TemplateRef template_of(const message::LaunchTemplateSpecification& spec) {
  return {spec.launch_template_id.value_or(""), spec.launch_template_name.value_or(""),
          spec.version.value_or("$Default")};
}

RefreshPreferences preferences_of(const message::RefreshPreferences& input) {
  only_within(
      *message::StartInstanceRefresh::operation().input, "Preferences", &input,
      {"MinHealthyPercentage", "MaxHealthyPercentage", "InstanceWarmup", "CheckpointPercentages", "CheckpointDelay",
       "SkipMatching", "AutoRollback", "ScaleInProtectedInstances", "StandbyInstances", "BakeTime"});
  if (input.max_healthy_percentage && !input.min_healthy_percentage) {
    throw ApiError("ValidationError", "MinHealthyPercentage must be specified together with MaxHealthyPercentage.");
  }
  RefreshPreferences preferences;
  preferences.min_healthy = number_of(input.min_healthy_percentage, "MinHealthyPercentage").value_or(90);
  preferences.max_healthy = number_of(input.max_healthy_percentage, "MaxHealthyPercentage");
  preferences.warmup_seconds = number_of(input.instance_warmup, "InstanceWarmup");
  for (std::int64_t percent : input.checkpoint_percentages) {
    preferences.checkpoints.push_back(autoscaling::number_of(percent, "CheckpointPercentages"));
  }
  preferences.checkpoint_delay_seconds = number_of(input.checkpoint_delay, "CheckpointDelay");
  preferences.skip_matching = input.skip_matching;
  preferences.auto_rollback = input.auto_rollback;
  preferences.scale_in_protected = input.scale_in_protected_instances;
  preferences.standby = input.standby_instances;
  preferences.bake_seconds = number_of(input.bake_time, "BakeTime");
  return preferences;
}

Tag tag_of(const message::Tag& tag) {
  return {tag.key.value_or(""), tag.value.value_or(""), tag.propagate_at_launch.value_or(false)};
}

message::AutoScalingGroup message_of(const Group& group, bool with_instances) {
  message::AutoScalingGroup out;
  out.auto_scaling_group_name = group.name;
  out.auto_scaling_group_arn = group.arn;
  out.launch_template = message_of(group.launch_template);
  out.min_size = group.min_size;
  out.max_size = group.max_size;
  out.desired_capacity = group.desired;
  out.default_cooldown = group.default_cooldown_seconds;
  out.availability_zones = group.zones;
  for (const AttachedTargetGroup& target_group : group.target_groups) {
    if (!target_group.removing) out.target_group_arns.push_back(target_group.arn);
  }
  out.health_check_type = group.elb_health ? "ELB" : "EC2";
  out.health_check_grace_period = group.grace_seconds;
  out.created_time = group.created;
  out.vpc_zone_identifier = join(group.subnets, ",");
  if (group.deleting) out.status = "Delete in progress";
  for (const Tag& tag : group.tags) out.tags.push_back(message_of(group, tag));
  out.termination_policies = group.termination_policies;
  if (out.termination_policies.empty()) out.termination_policies = {"Default"};
  out.new_instances_protected_from_scale_in = group.protect_new;
  out.default_instance_warmup = wide(group.default_warmup_seconds);
  out.capacity_rebalance = false;
  if (!with_instances) return out;
  for (const Member& member : group.members) {
    if (!member.instance_id.empty()) out.instances.push_back(details_of<message::Instance>(member));
  }
  return out;
}

message::AutoScalingInstanceDetails message_of(const Group& group, const Member& member) {
  auto details = details_of<message::AutoScalingInstanceDetails>(member);
  details.auto_scaling_group_name = group.name;
  // AWS writes it in capitals here, and only here.
  details.health_status = member.ailment == Ailment::none ? "HEALTHY" : "UNHEALTHY";
  return details;
}

message::Activity message_of(const Activity& activity) {
  message::Activity out;
  out.activity_id = activity.id;
  out.auto_scaling_group_name = activity.group;
  out.auto_scaling_group_arn = activity.group_arn;
  out.description = activity.description;
  out.cause = activity.cause;
  out.start_time = activity.start;
  out.end_time = activity.end;
  out.status_code = std::string(to_string(activity.status));
  if (!activity.status_message.empty()) out.status_message = activity.status_message;
  out.progress = activity.progress;
  out.details = activity.details;
  if (activity.group_deleted) out.auto_scaling_group_state = "Deleted";
  return out;
}

message::InstanceRefresh message_of(const Refresh& refresh) {
  message::InstanceRefresh out;
  out.instance_refresh_id = refresh.id;
  out.auto_scaling_group_name = refresh.group;
  out.status = std::string(to_string(refresh.status));
  if (!refresh.reason.empty()) out.status_reason = refresh.reason;
  out.start_time = refresh.started;
  out.end_time = refresh.ended;
  out.percentage_complete = refresh.percent_complete;
  out.instances_to_update = refresh.instances_to_update;
  out.progress_details = progress_of(refresh.percent_complete, refresh.instances_to_update);
  out.preferences = message_of(refresh.preferences);
  if (refresh.desired) {
    out.desired_configuration.emplace();
    out.desired_configuration->launch_template = message_of(*refresh.desired);
  }
  if (refresh.rollback) {
    out.rollback_details.emplace();
    out.rollback_details->rollback_reason = refresh.rollback->reason;
    out.rollback_details->rollback_start_time = refresh.rollback->start;
    out.rollback_details->percentage_complete_on_rollback = refresh.rollback->percent_complete;
    out.rollback_details->instances_to_update_on_rollback = refresh.rollback->instances_to_update;
    out.rollback_details->progress_details_on_rollback =
        progress_of(refresh.rollback->percent_complete, refresh.rollback->instances_to_update);
  }
  out.strategy = "Rolling";
  return out;
}

message::TagDescription message_of(const Group& group, const Tag& tag) {
  message::TagDescription out;
  out.resource_id = group.name;
  out.resource_type = "auto-scaling-group";
  out.key = tag.key;
  out.value = tag.value;
  out.propagate_at_launch = tag.propagate;
  return out;
}

}  // namespace kiln::region::autoscaling
