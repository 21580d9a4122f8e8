// Settings: AWS's rules for what a caller asks of a group.
#include "region/autoscaling/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "region/api_error.h"
#include "region/autoscaling/scale_in.h"

namespace kiln::region::autoscaling {
namespace {

template <typename... Args>
[[noreturn]] void invalid(fmt::format_string<Args...> text, Args&&... args) {
  throw ApiError("ValidationError", fmt::format(text, std::forward<Args>(args)...));
}

void check_range(const char* name, const std::optional<int>& value, int low, int high) {
  if (!value || (*value >= low && *value <= high)) return;
  invalid("{} is {}; it must be from {} to {}.", name, *value, low, high);
}

// Subnets as named, or the default subnets of the zones.
void merge_places(Group& group, const GroupSettings& settings, const Instances& instances) {
  if (settings.subnets.empty() && settings.zones.empty()) {
    if (group.subnets.empty()) invalid("At least one Availability Zone or VPC Subnet is required.");
    return;
  }
  std::vector<std::string> subnets = settings.subnets;
  if (subnets.empty()) {
    for (const std::string& zone : settings.zones) {
      std::optional<std::string> subnet = instances.default_subnet(zone);
      if (!subnet) invalid("Invalid availability zones: [{}]", zone);
      subnets.push_back(*subnet);
    }
  }
  std::map<std::string, std::string> subnet_zones;
  std::set<std::string> zones;
  for (const std::string& subnet : subnets) {
    std::optional<std::string> zone = instances.subnet_zone(subnet);
    if (!zone) invalid("The subnet ID '{}' does not exist", subnet);
    subnet_zones[subnet] = *zone;
    zones.insert(*zone);
  }
  if (!settings.subnets.empty() && !settings.zones.empty() &&
      std::set<std::string>(settings.zones.begin(), settings.zones.end()) != zones) {
    invalid("The availability zones of the specified subnets and the Auto Scaling group do not match");
  }
  group.subnets = std::move(subnets);
  group.zones.assign(zones.begin(), zones.end());
  group.subnet_zones = std::move(subnet_zones);
}

void merge_sizes(Group& group, const GroupSettings& settings) {
  group.min_size = settings.min_size.value_or(group.min_size);
  group.max_size = settings.max_size.value_or(group.max_size);
  if (group.min_size < 0 || group.max_size < 0) invalid("MinSize and MaxSize must not be negative.");
  if (group.max_size < group.min_size) {
    invalid("Max bound, {}, must be greater than or equal to min bound, {}", group.max_size, group.min_size);
  }
  if (settings.desired) {
    if (*settings.desired < group.min_size || *settings.desired > group.max_size) {
      invalid("Desired capacity:{} must be between the specified min size:{} and max size:{}", *settings.desired,
              group.min_size, group.max_size);
    }
    group.desired = *settings.desired;
  } else {
    // AWS: bounds that leave the desired capacity outside move it to the bound.
    group.desired = std::clamp(group.desired, group.min_size, group.max_size);
  }
}

}  // namespace

TemplateRef exact_template(const TemplateRef& ref, const Instances& instances) {
  if (ref.id.empty() == ref.name.empty()) {
    invalid("Valid requests must contain either LaunchTemplateId or LaunchTemplateName");
  }
  TemplateRef wanted = ref;
  if (wanted.version.empty()) wanted.version = "$Default";
  bool number = parse_int(wanted.version).value_or(0) > 0;
  if (!number && wanted.version != "$Default" && wanted.version != "$Latest") {
    invalid("Invalid launch template version: {}", wanted.version);
  }
  try {
    TemplateRef exact = instances.resolve(wanted).exact;
    return {exact.id, exact.name, wanted.version};
  } catch (const ApiError& error) {
    invalid("You must use a valid fully-formed launch template. {}", error.message());
  }
}

void merge_settings(Group& group, const GroupSettings& settings, const Instances& instances) {
  Group merged = group;
  merge_sizes(merged, settings);
  check_range("DefaultCooldown", settings.default_cooldown_seconds, 0, 1'000'000'000);
  check_range("HealthCheckGracePeriod", settings.grace_seconds, 0, 1'000'000'000);
  check_range("DefaultInstanceWarmup", settings.default_warmup_seconds, -1, 1'000'000'000);
  if (settings.health_check_type) {
    // "EC2,ELB" is how newer consoles write the list; EC2 is always on.
    const std::string& type = *settings.health_check_type;
    if (type != "EC2" && type != "ELB" && type != "EC2,ELB" && type != "ELB,EC2") {
      invalid("HealthCheckType {} is not valid or not served; it must be EC2 or ELB.", type);
    }
    merged.elb_health = type != "EC2";
  }
  for (const std::string& policy : settings.termination_policies) {
    if (!is_termination_policy(policy)) invalid("The termination policy {} is not valid or not served.", policy);
  }
  merge_places(merged, settings, instances);
  if (settings.launch_template) merged.launch_template = exact_template(*settings.launch_template, instances);
  merged.default_cooldown_seconds = settings.default_cooldown_seconds.value_or(merged.default_cooldown_seconds);
  merged.grace_seconds = settings.grace_seconds.value_or(merged.grace_seconds);
  if (!settings.termination_policies.empty()) merged.termination_policies = settings.termination_policies;
  merged.protect_new = settings.protect_new.value_or(merged.protect_new);
  if (settings.default_warmup_seconds) {
    merged.default_warmup_seconds = settings.default_warmup_seconds;
    if (*settings.default_warmup_seconds < 0) merged.default_warmup_seconds.reset();
  }
  group = std::move(merged);
}

void check_tag(const Tag& tag) {
  if (tag.key.empty() || tag.key.size() > 128) invalid("A tag's key must have 1 to 128 characters: '{}'", tag.key);
  if (tag.value.size() > 256) invalid("The value of the tag '{}' has more than 256 characters", tag.key);
  if (to_lower(tag.key).starts_with("aws:")) {
    invalid("The tag key '{}' begins with 'aws:', which is reserved for AWS", tag.key);
  }
}

std::string irreversible(const Group& group, bool has_desired, const Instances& instances) {
  if (!has_desired) return "no desired configuration was specified";
  if (!group.launch_template.numbered()) {
    return fmt::format("the Auto Scaling group uses the launch template's {} version", group.launch_template.version);
  }
  try {
    if (instances.resolve(group.launch_template).image_from_parameter) {
      return "the Auto Scaling group's launch template uses a Systems Manager parameter instead of an AMI ID";
    }
  } catch (const ApiError& error) {
    return "the Auto Scaling group's launch template cannot be used: " + error.message();
  }
  return {};
}

void check_refresh(const Group& group, const std::optional<TemplateRef>& desired, const RefreshPreferences& preferences,
                   const Instances& instances) {
  check_range("MinHealthyPercentage", preferences.min_healthy, 0, 100);
  check_range("MaxHealthyPercentage", preferences.max_healthy, 100, 200);
  if (preferences.max_healthy && *preferences.max_healthy - preferences.min_healthy > 100) {
    invalid("The difference between MaxHealthyPercentage and MinHealthyPercentage cannot be greater than 100.");
  }
  check_range("InstanceWarmup", preferences.warmup_seconds, 0, 1'000'000'000);
  check_range("BakeTime", preferences.bake_seconds, 0, 172'800);
  check_range("CheckpointDelay", preferences.checkpoint_delay_seconds, 0, 172'800);
  if (preferences.checkpoint_delay_seconds && preferences.checkpoints.empty()) {
    invalid("CheckpointDelay can only be specified together with CheckpointPercentages.");
  }
  int last = 0;
  for (int checkpoint : preferences.checkpoints) {
    if (checkpoint <= last || checkpoint > 100) {
      invalid("CheckpointPercentages must be unique, in ascending order and from 1 to 100.");
    }
    last = checkpoint;
  }
  if (!preferences.auto_rollback.value_or(false)) return;
  if (!desired) {
    invalid(
        "The request isn't valid. The AutoRollback parameter cannot be set to true when the DesiredConfiguration "
        "parameter is empty. Set AutoRollback to false or specify a desired configuration and try again.");
  }
  if (std::string why = irreversible(group, true, instances); !why.empty()) {
    invalid("The request isn't valid. The AutoRollback parameter cannot be set to true because {}.", why);
  }
}

}  // namespace kiln::region::autoscaling
