// Usage: AWS's describe calls put together.
#include "fleet/usage.h"

#include <algorithm>
#include <map>

#include "aws/client.h"
#include "aws/paginate.h"
#include "base/text.h"
#include "fleet/internal/describe.h"
#include "fleet/names.h"
#include "wire/autoscaling.h"
#include "wire/ec2.h"

namespace kiln::fleet {
namespace {

namespace ec2 = wire::ec2;
namespace asg = wire::autoscaling;

Time time_of(const std::optional<std::string>& text) { return text && !text->empty() ? parse_iso8601(*text) : Time(); }

OwnImage image_of(const ec2::Image& found) {
  OwnImage image;
  image.ami = str(found.image_id);
  image.name = str(found.name);
  image.state = str(found.state);
  image.location = str(found.image_location);
  image.description = str(found.description);
  image.architecture = str(found.architecture);
  image.source_instance = str(found.source_instance_id);
  image.tags = tags_of(found.tags);
  image.created = time_of(found.creation_date);
  if (found.deprecation_time) image.deprecated = time_of(found.deprecation_time);
  image.is_protected = str(found.deregistration_protection).starts_with("enabled");
  for (const auto& device : found.block_device_mappings) {
    if (!device.ebs || str(device.ebs->snapshot_id).empty()) continue;
    image.snapshots.push_back(str(device.ebs->snapshot_id));
    image.volume_gib += device.ebs->volume_size.value_or(0);
  }
  return image;
}

void look_at_images(aws::Client& client, Usage& usage) {
  ec2::DescribeImagesRequest request;
  request.owners = {"self"};
  request.include_deprecated = true;
  request.include_disabled = true;
  for (const auto& found : describe_images(client, request)) usage.images.push_back(image_of(found));
  std::ranges::stable_sort(usage.images, std::greater<>(), &OwnImage::created);
}

void look_at_instances(aws::Client& client, Usage& usage) {
  for (const auto& found : describe_instances(client, {})) {
    UsingInstance instance;
    instance.id = str(found.instance_id);
    instance.ami = str(found.image_id);
    instance.state = found.state ? str(found.state->name) : "";
    const Tags tags = tags_of(found.tags);
    instance.group = at(tags, "aws:autoscaling:groupName");
    instance.app = at(tags, kTagApp);
    instance.template_id = at(tags, "aws:ec2launchtemplate:id");
    instance.template_version = parse_int(at(tags, "aws:ec2launchtemplate:version")).value_or(0);
    instance.launched = found.launch_time.value_or(Time());
    if (!instance.ended()) usage.instances.push_back(instance);
  }
  std::ranges::stable_sort(usage.instances, {}, &UsingInstance::launched);
}

void look_at_versions(aws::Client& client, const ec2::LaunchTemplate& of, Usage& usage) {
  for (const auto& found : describe_versions(client, str(of.launch_template_id))) {
    UsingTemplate version;
    version.id = str(of.launch_template_id);
    version.name = str(of.launch_template_name);
    version.app = at(tags_of(of.tags), kTagApp);
    version.version = found.version_number.value_or(0);
    version.ami = found.launch_template_data ? str(found.launch_template_data->image_id) : "";
    version.is_default = version.version == of.default_version_number.value_or(0);
    version.is_latest = version.version == of.latest_version_number.value_or(0);
    version.created = found.create_time.value_or(Time());
    usage.templates.push_back(version);
  }
}

void look_at_groups(aws::Client& client, Usage& usage) {
  for (const auto& found :
       aws::collect<asg::DescribeAutoScalingGroups>(client, {}, &asg::AutoScalingGroupsType::auto_scaling_groups)) {
    UsingGroup group;
    group.name = str(found.auto_scaling_group_name);
    const Tags tags = tags_of(found.tags);
    group.app = at(tags, kTagApp);
    group.environment = at(tags, kTagEnvironment);
    group.desired = found.desired_capacity.value_or(0);
    const auto* launches = found.launch_template ? &*found.launch_template : nullptr;
    if (launches == nullptr && found.mixed_instances_policy && found.mixed_instances_policy->launch_template &&
        found.mixed_instances_policy->launch_template->launch_template_specification) {
      launches = &*found.mixed_instances_policy->launch_template->launch_template_specification;
    }
    const std::string wanted = launches == nullptr ? "" : str(launches->version);
    for (const UsingTemplate& version : usage.templates) {
      if (launches == nullptr) break;
      if (version.id != str(launches->launch_template_id) && version.name != str(launches->launch_template_name)) {
        continue;
      }
      const bool is_it = wanted == "$Latest"                      ? version.is_latest
                         : wanted.empty() || wanted == "$Default" ? version.is_default
                                                                  : std::to_string(version.version) == wanted;
      if (!is_it) continue;
      group.template_id = version.id;
      group.template_version = version.version;
      group.ami = version.ami;
    }
    usage.groups.push_back(group);
  }
}

}  // namespace

std::string OwnImage::tag(std::string_view key) const { return at(tags, key); }

const OwnImage* Usage::image(std::string_view ami) const {
  const auto found = std::ranges::find(images, ami, &OwnImage::ami);
  return found == images.end() ? nullptr : &*found;
}

Usage look_at_usage(aws::Client& client) {
  return with_context("looking at who uses which image", [&] {
    Usage usage;
    look_at_images(client, usage);
    for (const auto& found : aws::collect<ec2::DescribeLaunchTemplates>(
             client, {}, &ec2::DescribeLaunchTemplatesResult::launch_templates)) {
      look_at_versions(client, found, usage);
    }
    look_at_groups(client, usage);
    look_at_instances(client, usage);
    return usage;
  });
}

}  // namespace kiln::fleet
