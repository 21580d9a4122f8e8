// Observe: AWS's answers put together as one Fleet.
#include "fleet/observe.h"

#include <algorithm>
#include <set>

#include "aws/client.h"
#include "aws/paginate.h"
#include "base/text.h"
#include "fleet/internal/describe.h"
#include "wire/autoscaling.h"
#include "wire/ec2.h"
#include "wire/elb.h"

namespace kiln::fleet {
namespace {

namespace ec2 = wire::ec2;
namespace asg = wire::autoscaling;
namespace elb = wire::elb;

constexpr std::int64_t kRefreshesMax = 10;
constexpr std::int64_t kActivitiesMax = 20;

// Names that do not exist are errors in some calls; here they are an absence.
template <typename Body>
void unless_absent(Body&& body) {
  try {
    body();
  } catch (const aws::AwsError& error) {
    const bool absent = error.code() == ErrorCode::not_found || error.aws_code().find("NotFound") != std::string::npos;
    if (!absent) throw;
  }
}

void look_at_network(aws::Client& client, Fleet& fleet) {
  ec2::DescribeVpcsRequest vpcs;
  vpcs.filters = {filter("is-default", {"true"})};
  for (const auto& vpc : client.call<ec2::DescribeVpcs>(vpcs).vpcs) fleet.vpc = str(vpc.vpc_id);
  if (fleet.vpc.empty()) return;
  ec2::DescribeSubnetsRequest request;
  request.filters = {filter("vpc-id", {fleet.vpc})};
  auto subnets = aws::collect<ec2::DescribeSubnets>(client, request, &ec2::DescribeSubnetsResult::subnets);
  std::ranges::sort(subnets, {}, [](const ec2::Subnet& subnet) { return str(subnet.availability_zone); });
  std::set<std::string> zones;
  for (const auto& subnet : subnets) {
    // A load balancer takes one subnet of a zone.
    if (zones.insert(str(subnet.availability_zone)).second) fleet.subnets.push_back(str(subnet.subnet_id));
  }
}

void look_at_security_groups(aws::Client& client, const Names& names, Fleet& fleet) {
  ec2::DescribeSecurityGroupsRequest request;
  request.filters = {filter("group-name", {names.instance_security_group, names.balancer_security_group})};
  for (const auto& found : aws::collect<ec2::DescribeSecurityGroups>(
           client, request, &ec2::DescribeSecurityGroupsResult::security_groups)) {
    SecurityGroup group{str(found.group_id), str(found.group_name), tags_of(found.tags), {}};
    for (const auto& permission : found.ip_permissions) {
      if (permission.from_port && permission.from_port == permission.to_port) {
        group.open_ports.push_back(static_cast<int>(*permission.from_port));
      }
    }
    (group.name == names.instance_security_group ? fleet.instance_security_group : fleet.balancer_security_group) =
        group;
  }
}

TemplateVersion version_of(const ec2::LaunchTemplateVersion& found) {
  TemplateVersion version;
  version.number = num(found.version_number);
  version.description = str(found.version_description);
  if (!found.launch_template_data) return version;
  const auto& data = *found.launch_template_data;
  version.ami = str(data.image_id);
  version.instance_type = str(data.instance_type);
  version.security_groups = data.security_group_ids;
  for (const auto& specification : data.tag_specifications) {
    if (str(specification.resource_type) != "instance") continue;
    const Tags tags = tags_of(specification.tags);
    version.image_version = at(tags, kTagVersion);
    version.digest = at(tags, kTagDigest);
  }
  return version;
}

void look_at_template(aws::Client& client, const Names& names, Fleet& fleet) {
  unless_absent([&] {
    ec2::DescribeLaunchTemplatesRequest request;
    request.launch_template_names = {names.launch_template};
    for (const auto& found : client.call<ec2::DescribeLaunchTemplates>(request).launch_templates) {
      fleet.launch_template = LaunchTemplate{str(found.launch_template_id),
                                             str(found.launch_template_name),
                                             tags_of(found.tags),
                                             num(found.latest_version_number),
                                             {}};
    }
  });
  if (!fleet.launch_template) return;
  unless_absent([&] {
    for (const auto& found : describe_versions(client, fleet.launch_template->id)) {
      fleet.launch_template->versions.push_back(version_of(found));
    }
  });
  std::ranges::sort(fleet.launch_template->versions, {}, &TemplateVersion::number);
}

Duration seconds(const std::optional<std::int64_t>& value) { return std::chrono::seconds(num(value)); }

void look_at_target_group(aws::Client& client, const Names& names, Fleet& fleet) {
  unless_absent([&] {
    elb::DescribeTargetGroupsInput request;
    request.names = {names.target_group};
    for (const auto& found : client.call<elb::DescribeTargetGroups>(request).target_groups) {
      TargetGroup group;
      group.arn = str(found.target_group_arn);
      group.name = str(found.target_group_name);
      group.port = static_cast<int>(num(found.port));
      group.health_path = str(found.health_check_path);
      group.health_interval = seconds(found.health_check_interval_seconds);
      group.health_timeout = seconds(found.health_check_timeout_seconds);
      group.healthy_threshold = static_cast<int>(num(found.healthy_threshold_count));
      group.unhealthy_threshold = static_cast<int>(num(found.unhealthy_threshold_count));
      if (found.matcher) group.matcher = str(found.matcher->http_code);
      group.load_balancers = found.load_balancer_arns;
      fleet.target_group = group;
    }
  });
  if (!fleet.target_group) return;
  unless_absent([&] {
    elb::DescribeTargetGroupAttributesInput request;
    request.target_group_arn = fleet.target_group->arn;
    for (const auto& attribute : client.call<elb::DescribeTargetGroupAttributes>(request).attributes) {
      if (str(attribute.key) != "deregistration_delay.timeout_seconds") continue;
      if (auto value = parse_int(str(attribute.value))) fleet.target_group->drain = std::chrono::seconds(*value);
    }
  });
}

// A listener that names one target group and one that forwards by weights say the same thing in two ways.
Listener listener_of(const elb::Listener& found) {
  Listener listener{str(found.listener_arn), static_cast<int>(num(found.port)), {}};
  for (const auto& action : found.default_actions) {
    if (str(action.type) != "forward") continue;
    if (action.forward_config && !action.forward_config->target_groups.empty()) {
      for (const auto& target : action.forward_config->target_groups) {
        listener.weights[str(target.target_group_arn)] = target.weight.value_or(1);
      }
    } else if (action.target_group_arn) {
      listener.weights[*action.target_group_arn] = 1;
    }
  }
  return listener;
}

void look_at_load_balancer(aws::Client& client, const Names& names, Fleet& fleet) {
  unless_absent([&] {
    elb::DescribeLoadBalancersInput request;
    request.names = {names.load_balancer};
    for (const auto& found : client.call<elb::DescribeLoadBalancers>(request).load_balancers) {
      fleet.load_balancer = LoadBalancer{str(found.load_balancer_arn),
                                         str(found.load_balancer_name),
                                         str(found.dns_name),
                                         found.state ? str(found.state->code) : "",
                                         {}};
    }
  });
  if (fleet.load_balancer) {
    unless_absent([&] {
      elb::DescribeListenersInput request;
      request.load_balancer_arn = fleet.load_balancer->arn;
      for (const auto& found :
           aws::collect<elb::DescribeListeners>(client, request, &elb::DescribeListenersOutput::listeners)) {
        fleet.listeners.push_back(listener_of(found));
      }
    });
  }
  elb::DescribeTagsInput tags;
  if (fleet.load_balancer) tags.resource_arns.push_back(fleet.load_balancer->arn);
  if (fleet.target_group) tags.resource_arns.push_back(fleet.target_group->arn);
  if (tags.resource_arns.empty()) return;
  unless_absent([&] {
    for (const auto& found : client.call<elb::DescribeTags>(tags).tag_descriptions) {
      if (fleet.load_balancer && str(found.resource_arn) == fleet.load_balancer->arn)
        fleet.load_balancer->tags = tags_of(found.tags);
      if (fleet.target_group && str(found.resource_arn) == fleet.target_group->arn)
        fleet.target_group->tags = tags_of(found.tags);
    }
  });
}

std::int64_t version_number(const std::optional<asg::LaunchTemplateSpecification>& specification) {
  return specification ? parse_int(str(specification->version)).value_or(0) : 0;
}

Group group_of(const asg::AutoScalingGroup& found) {
  Group group;
  group.name = str(found.auto_scaling_group_name);
  group.arn = str(found.auto_scaling_group_arn);
  group.min = num(found.min_size);
  group.max = num(found.max_size);
  group.desired = num(found.desired_capacity);
  group.template_version = version_number(found.launch_template);
  if (found.launch_template) {
    group.template_version_text = found.launch_template->version.value_or("$Default");
    group.template_id = str(found.launch_template->launch_template_id);
  }
  group.health_check_type = str(found.health_check_type);
  group.grace_s = num(found.health_check_grace_period);
  group.warmup_s = found.default_instance_warmup.value_or(-1);
  group.target_groups = found.target_group_arns;
  group.zones = found.availability_zones;
  group.status = str(found.status);
  group.tags = tags_of(found.tags);
  for (const auto& member : found.instances) {
    Instance instance;
    instance.id = str(member.instance_id);
    instance.zone = str(member.availability_zone);
    instance.type = str(member.instance_type);
    instance.lifecycle = str(member.lifecycle_state);
    instance.health = str(member.health_status);
    instance.template_version = version_number(member.launch_template);
    group.instances.push_back(std::move(instance));
  }
  return group;
}

void look_at_group(aws::Client& client, const Names& names, Fleet& fleet) {
  asg::AutoScalingGroupNamesType request;
  request.auto_scaling_group_names = {names.group};
  fleet.group.reset();
  for (const auto& found : client.call<asg::DescribeAutoScalingGroups>(request).auto_scaling_groups) {
    fleet.group = group_of(found);
  }
}

void look_at_refreshes(aws::Client& client, const Names& names, Fleet& fleet) {
  fleet.refreshes.clear();
  asg::DescribeInstanceRefreshesType request;
  request.auto_scaling_group_name = names.group;
  request.max_records = kRefreshesMax;
  for (const auto& found : client.call<asg::DescribeInstanceRefreshes>(request).instance_refreshes) {
    Refresh refresh;
    refresh.id = str(found.instance_refresh_id);
    refresh.status = str(found.status);
    refresh.reason = str(found.status_reason);
    refresh.percentage = num(found.percentage_complete);
    refresh.instances_to_update = num(found.instances_to_update);
    refresh.started = found.start_time.value_or(Time{});
    refresh.ended = found.end_time;
    if (found.desired_configuration)
      refresh.wanted_version = version_number(found.desired_configuration->launch_template);
    if (found.preferences) refresh.auto_rollback = found.preferences->auto_rollback.value_or(false);
    if (found.rollback_details) refresh.rollback_reason = str(found.rollback_details->rollback_reason);
    fleet.refreshes.push_back(std::move(refresh));
  }
  // One that has not begun yet has no start time and is the newest.
  std::ranges::stable_sort(fleet.refreshes, [](const Refresh& a, const Refresh& b) {
    const Time never = Time::max();
    return (a.started == Time{} ? never : a.started) > (b.started == Time{} ? never : b.started);
  });
}

void look_at_activities(aws::Client& client, const Names& names, Fleet& fleet) {
  fleet.activities.clear();
  asg::DescribeScalingActivitiesType request;
  request.auto_scaling_group_name = names.group;
  request.max_records = kActivitiesMax;
  for (const auto& found : client.call<asg::DescribeScalingActivities>(request).activities) {
    const bool by_health = str(found.cause).find("health") != std::string::npos;
    if (str(found.status_code) != "Failed" && str(found.status_code) != "Cancelled" && !by_health) continue;
    fleet.activities.push_back({str(found.activity_id), str(found.status_code), str(found.description),
                                str(found.cause), str(found.status_message), found.start_time.value_or(Time{})});
  }
}

void look_at_targets(aws::Client& client, Fleet& fleet) {
  fleet.leftovers.clear();
  if (!fleet.target_group) return;
  std::map<std::string, Health> by_id;
  unless_absent([&] {
    elb::DescribeTargetHealthInput request;
    request.target_group_arn = fleet.target_group->arn;
    for (const auto& found : client.call<elb::DescribeTargetHealth>(request).target_health_descriptions) {
      if (!found.target || !found.target_health) continue;
      by_id[str(found.target->id)] = {str(found.target_health->state), str(found.target_health->reason),
                                      str(found.target_health->description)};
    }
  });
  if (fleet.group) {
    for (Instance& instance : fleet.group->instances) {
      auto found = by_id.find(instance.id);
      if (found == by_id.end()) continue;
      instance.target = found->second;
      by_id.erase(found);
    }
  }
  for (const auto& [id, health] : by_id) fleet.leftovers.push_back(id);
}

void take_known(Instance& instance, const Fleet& before) {
  if (!before.group) return;
  for (const Instance& known : before.group->instances) {
    if (known.id != instance.id) continue;
    instance.ami = known.ami;
    instance.address = known.address;
    instance.launched = known.launched;
  }
}

void look_at_instances(aws::Client& client, const Fleet& before, Fleet& fleet) {
  if (!fleet.group) return;
  std::vector<std::string> unknown;
  for (Instance& instance : fleet.group->instances) {
    take_known(instance, before);
    if (instance.launched == Time{}) unknown.push_back(instance.id);
  }
  for_each_batch("instance-id", unknown, [&](const auto& filters) {
    for (const auto& found : describe_instances(client, filters)) {
      auto member = std::ranges::find(fleet.group->instances, str(found.instance_id), &Instance::id);
      if (member == fleet.group->instances.end()) continue;
      member->ami = str(found.image_id);
      member->address = str(found.private_ip_address);
      member->launched = found.launch_time.value_or(Time{});
    }
  });
  for (Instance& instance : fleet.group->instances) {
    const std::string version = fleet.image_version(instance.template_version);
    if (!version.starts_with("version ")) instance.image_version = version;
  }
  std::ranges::sort(fleet.group->instances, [](const Instance& a, const Instance& b) {
    return std::tie(a.launched, a.id) < std::tie(b.launched, b.id);
  });
}

Image image_of(const ec2::Image& found) {
  return {str(found.image_id), str(found.name), str(found.state), tags_of(found.tags)};
}

void look_at_images_in_use(aws::Client& client, Fleet& fleet, const std::vector<std::string>& more) {
  std::set<std::string> wanted(more.begin(), more.end());
  if (fleet.launch_template) {
    for (const auto& version : fleet.launch_template->versions) wanted.insert(version.ami);
  }
  wanted.erase("");
  for_each_batch("image-id", {wanted.begin(), wanted.end()}, [&](const auto& filters) {
    ec2::DescribeImagesRequest request;
    request.filters = filters;
    for (const auto& found : describe_images(client, request)) fleet.images[str(found.image_id)] = image_of(found);
  });
}

void look_at_what_moves(aws::Client& client, const Names& names, const Fleet& before, Fleet& fleet) {
  look_at_group(client, names, fleet);
  if (fleet.group) {
    unless_absent([&] { look_at_refreshes(client, names, fleet); });
    unless_absent([&] { look_at_activities(client, names, fleet); });
  }
  look_at_instances(client, before, fleet);
  look_at_targets(client, fleet);
}

}  // namespace

Fleet look(aws::Client& client, const Names& names, const std::vector<std::string>& more_images) {
  return with_context("looking at " + names.title(), [&] {
    Fleet fleet;
    look_at_network(client, fleet);
    look_at_security_groups(client, names, fleet);
    look_at_template(client, names, fleet);
    look_at_target_group(client, names, fleet);
    look_at_load_balancer(client, names, fleet);
    look_at_images_in_use(client, fleet, more_images);
    look_at_what_moves(client, names, {}, fleet);
    return fleet;
  });
}

Fleet look_again(aws::Client& client, const Names& names, const Fleet& before) {
  return with_context("looking at " + names.title(), [&] {
    Fleet fleet = before;
    look_at_what_moves(client, names, before, fleet);
    return fleet;
  });
}

std::vector<Image> look_at_images(aws::Client& client, const std::string& app) {
  ec2::DescribeImagesRequest request;
  request.owners = {"self"};
  request.filters = {filter("tag:" + std::string(kTagApp), {app})};
  auto found = describe_images(client, request);
  std::ranges::sort(found, std::greater<>(), [](const ec2::Image& image) { return str(image.creation_date); });
  std::vector<Image> images;
  for (const auto& image : found) images.push_back(image_of(image));
  return images;
}

}  // namespace kiln::fleet
