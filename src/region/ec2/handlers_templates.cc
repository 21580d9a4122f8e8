// Handlers of EC2: launch templates.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "region/ec2/filters.h"
#include "region/ec2/handlers_launch.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;

const wire::Shape* member_shape(const wire::Shape& shape, std::string_view name) {
  for (const wire::Member& member : shape.members) {
    if (member.name == name) return member.shape;
  }
  return nullptr;
}

LaunchData data_of(const w::RequestLaunchTemplateData& input) {
  only_within(
      *w::CreateLaunchTemplateVersion::operation().input, "LaunchTemplateData", &input,
      {"ImageId", "InstanceType", "KeyName", "UserData", "SecurityGroupIds", "SecurityGroups", "TagSpecifications",
       "InstanceInitiatedShutdownBehavior", "EbsOptimized", "Monitoring", "Placement", "NetworkInterfaces",
       "DisableApiTermination", "DisableApiStop", "IamInstanceProfile", "BlockDeviceMappings", "MetadataOptions"});
  const wire::Shape& shape = *member_shape(*w::CreateLaunchTemplateVersion::operation().input, "LaunchTemplateData");
  LaunchData data = launch_data_of(shape, input);
  if (input.placement) {
    only_within(shape, "Placement", &*input.placement, {"AvailabilityZone"});
    data.zone = input.placement->availability_zone;
  }
  for (const auto& specification : input.tag_specifications) {
    data.tags[specification.resource_type.value_or("instance")] = from_wire(specification.tags);
  }
  return data;
}

w::ResponseLaunchTemplateData to_wire(const LaunchData& data) {
  w::ResponseLaunchTemplateData out;
  out.image_id = data.image_id;
  out.instance_type = data.instance_type;
  out.key_name = data.key_name;
  out.user_data = data.user_data;
  out.instance_initiated_shutdown_behavior = data.shutdown_behavior;
  if (data.profile) {
    out.iam_instance_profile.emplace();
    if (!data.profile->arn.empty()) out.iam_instance_profile->arn = data.profile->arn;
    if (!data.profile->name.empty()) out.iam_instance_profile->name = data.profile->name;
  }
  out.ebs_optimized = data.ebs_optimized;
  if (data.monitoring) out.monitoring.emplace().enabled = data.monitoring;
  if (data.metadata != MetadataWish{}) {
    auto& options = out.metadata_options.emplace();
    options.http_tokens = data.metadata.tokens;
    options.http_endpoint = data.metadata.endpoint;
    options.instance_metadata_tags = data.metadata.tags;
    options.http_put_response_hop_limit = data.metadata.hop_limit;
  }
  if (data.zone) out.placement.emplace().availability_zone = data.zone;
  out.disable_api_termination = data.termination_protected;
  out.disable_api_stop = data.stop_protected;
  if (data.interface) {
    auto& interface = out.network_interfaces.emplace_back();
    interface.device_index = 0;
    interface.delete_on_termination = true;
    interface.subnet_id = data.interface->subnet_id;
    interface.private_ip_address = data.interface->private_address;
    interface.description = data.interface->description;
    interface.associate_public_ip_address = data.interface->public_address;
    interface.groups = data.interface->security_group_ids;
  }
  out.security_group_ids = data.security_group_ids;
  out.security_groups = data.security_groups;
  out.block_device_mappings = mappings_of<w::LaunchTemplateBlockDeviceMapping>(data.devices);
  for (const auto& [type, tags] : data.tags) {
    auto& specification = out.tag_specifications.emplace_back();
    specification.resource_type = type;
    specification.tags = kiln::region::ec2::to_wire(tags);
  }
  return out;
}

w::LaunchTemplate to_wire(const Call& call, const LaunchTemplate& launch_template) {
  w::LaunchTemplate out;
  out.launch_template_id = launch_template.id;
  out.launch_template_name = launch_template.name;
  out.create_time = launch_template.created;
  out.created_by = "arn:aws:iam::" + call.account + ":root";
  out.default_version_number = launch_template.default_version;
  out.latest_version_number = launch_template.versions.rbegin()->first;
  out.tags = kiln::region::ec2::to_wire(launch_template.tags);
  return out;
}

w::LaunchTemplateVersion to_wire(const Call& call, const LaunchTemplate& launch_template,
                                 const TemplateVersion& version) {
  w::LaunchTemplateVersion out;
  out.launch_template_id = launch_template.id;
  out.launch_template_name = launch_template.name;
  out.version_number = version.number;
  if (!version.description.empty()) out.version_description = version.description;
  out.create_time = version.created;
  out.created_by = "arn:aws:iam::" + call.account + ":root";
  out.default_version = version.number == launch_template.default_version;
  out.launch_template_data = to_wire(version.data);
  return out;
}

void write(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateLaunchTemplate>([&ec2](const Call& call, const w::CreateLaunchTemplateRequest& input) {
    only<w::CreateLaunchTemplate>(
        input, {"LaunchTemplateName", "LaunchTemplateData", "VersionDescription", "TagSpecifications", "ClientToken"});
    w::CreateLaunchTemplateResult answer;
    answer.launch_template =
        to_wire(call, ec2.create_launch_template(
                          input.launch_template_name.value_or(""), input.version_description.value_or(""),
                          data_of(input.launch_template_data.value_or(w::RequestLaunchTemplateData{})),
                          tags_for(input.tag_specifications, "launch-template"), input.client_token.value_or("")));
    return answer;
  });
  handlers.on<w::CreateLaunchTemplateVersion>([&ec2](const Call& call,
                                                     const w::CreateLaunchTemplateVersionRequest& input) {
    only<w::CreateLaunchTemplateVersion>(input, {"LaunchTemplateId", "LaunchTemplateName", "SourceVersion",
                                                 "VersionDescription", "LaunchTemplateData", "ClientToken"});
    TemplateSpec spec{input.launch_template_id.value_or(""), input.launch_template_name.value_or(""), ""};
    const TemplateVersion& made = ec2.create_launch_template_version(
        spec, input.source_version.value_or(""), input.version_description.value_or(""),
        data_of(input.launch_template_data.value_or(w::RequestLaunchTemplateData{})), input.client_token.value_or(""));
    w::CreateLaunchTemplateVersionResult answer;
    answer.launch_template_version = to_wire(call, ec2.launch_template(spec.id, spec.name), made);
    return answer;
  });
  handlers.on<w::ModifyLaunchTemplate>([&ec2](const Call& call, const w::ModifyLaunchTemplateRequest& input) {
    only<w::ModifyLaunchTemplate>(input, {"LaunchTemplateId", "LaunchTemplateName", "DefaultVersion", "ClientToken"});
    w::ModifyLaunchTemplateResult answer;
    answer.launch_template = to_wire(
        call, ec2.set_default_version({input.launch_template_id.value_or(""), input.launch_template_name.value_or(""),
                                       input.default_version.value_or("")}));
    return answer;
  });
  handlers.on<w::DeleteLaunchTemplate>([&ec2](const Call& call, const w::DeleteLaunchTemplateRequest& input) {
    only<w::DeleteLaunchTemplate>(input, {"LaunchTemplateId", "LaunchTemplateName"});
    w::DeleteLaunchTemplateResult answer;
    answer.launch_template = to_wire(call, ec2.delete_launch_template(input.launch_template_id.value_or(""),
                                                                      input.launch_template_name.value_or("")));
    return answer;
  });
  handlers.on<w::DeleteLaunchTemplateVersions>(
      [&ec2](const Call&, const w::DeleteLaunchTemplateVersionsRequest& input) {
        only<w::DeleteLaunchTemplateVersions>(input, {"LaunchTemplateId", "LaunchTemplateName", "Versions"});
        const LaunchTemplate& from =
            ec2.launch_template(input.launch_template_id.value_or(""), input.launch_template_name.value_or(""));
        if (input.versions.size() > 200) {
          throw ApiError("InvalidParameterValue", "At most 200 versions can be deleted by one request");
        }
        w::DeleteLaunchTemplateVersionsResult answer;
        for (const std::string& version : input.versions) {
          std::int64_t number = parse_int(version).value_or(0);
          std::optional<std::string> refused = ec2.delete_template_version(from.id, number);
          if (!refused) {
            auto& item = answer.successfully_deleted_launch_template_versions.emplace_back();
            item.launch_template_id = from.id;
            item.launch_template_name = from.name;
            item.version_number = number;
          } else {
            auto& item = answer.unsuccessfully_deleted_launch_template_versions.emplace_back();
            item.launch_template_id = from.id;
            item.launch_template_name = from.name;
            item.version_number = number;
            item.response_error.emplace().code = *refused;
            item.response_error->message = *refused == "unexpectedError"
                                               ? "The default version of a launch template cannot be deleted"
                                               : "The version does not exist";
          }
        }
        return answer;
      });
}

w::DescribeLaunchTemplatesResult describe(const Call& call, const Ec2& ec2,
                                          const w::DescribeLaunchTemplatesRequest& input) {
  only<w::DescribeLaunchTemplates>(input,
                                   {"LaunchTemplateIds", "LaunchTemplateNames", "Filters", "MaxResults", "NextToken"});
  auto values = [](const LaunchTemplate& one, const std::string& name) -> std::optional<std::vector<std::string>> {
    if (name == "launch-template-name") return std::vector<std::string>{one.name};
    if (name == "create-time") return std::vector<std::string>{format_iso8601(one.created)};
    return std::nullopt;
  };
  static const LaunchTemplate kNone;
  check_names(input.filters, [&](const std::string& name) { return values(kNone, name); });
  std::vector<std::string> wanted;
  for (const std::string& id : input.launch_template_ids) wanted.push_back(ec2.launch_template(id, "").id);
  for (const std::string& name : input.launch_template_names) wanted.push_back(ec2.launch_template("", name).id);
  w::DescribeLaunchTemplatesResult answer;
  Page page(input.max_results, input.next_token, 1, 200);
  for (const auto& [id, launch_template] : ec2.launch_templates()) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), id) == wanted.end()) continue;
    const LaunchTemplate& one = launch_template;
    if (!matches(input.filters, one.tags, [&](const std::string& name) { return values(one, name); })) continue;
    if (page.takes(id)) answer.launch_templates.push_back(to_wire(call, one));
  }
  answer.next_token = page.next_token();
  return answer;
}

w::DescribeLaunchTemplateVersionsResult describe(const Call& call, const Ec2& ec2,
                                                 const w::DescribeLaunchTemplateVersionsRequest& input) {
  only<w::DescribeLaunchTemplateVersions>(input, {"LaunchTemplateId", "LaunchTemplateName", "Versions", "MinVersion",
                                                  "MaxVersion", "MaxResults", "NextToken", "ResolveAlias"});
  w::DescribeLaunchTemplateVersionsResult answer;
  const auto show = [&](const LaunchTemplate& of, const TemplateVersion& version) {
    auto& shown = answer.launch_template_versions.emplace_back(to_wire(call, of, version));
    if (!input.resolve_alias.value_or(false) || !version.data.image_id) return;
    shown.launch_template_data->image_id = ec2.resolved_image(*version.data.image_id);
  };
  std::string id = input.launch_template_id.value_or("");
  std::string name = input.launch_template_name.value_or("");
  if (id.empty() && name.empty()) {
    // Without a template only $Latest and $Default of all of them can be asked for.
    for (const auto& [key, one] : ec2.launch_templates()) {
      for (const std::string& version : input.versions) {
        show(one, ec2.template_version({key, "", version}));
      }
    }
    return answer;
  }
  const LaunchTemplate& from = ec2.launch_template(id, name);
  if (!input.versions.empty()) {
    std::vector<std::int64_t> shown;
    for (const std::string& version : input.versions) {
      const TemplateVersion& found = ec2.template_version({from.id, "", version});
      if (std::find(shown.begin(), shown.end(), found.number) != shown.end()) continue;
      shown.push_back(found.number);
      show(from, found);
    }
    return answer;
  }
  std::int64_t minimum = parse_int(input.min_version.value_or("1")).value_or(1);
  std::int64_t maximum = parse_int(input.max_version.value_or("")).value_or(from.latest_version);
  Page page(input.max_results, input.next_token, 1, 200);
  // Newest first, as AWS does; the page's key falls as the number grows.
  for (auto it = from.versions.rbegin(); it != from.versions.rend(); ++it) {
    if (it->first < minimum || it->first > maximum) continue;
    if (page.takes(fmt::format("{:020}", 9'000'000'000'000 - it->first))) {
      show(from, it->second);
    }
  }
  answer.next_token = page.next_token();
  return answer;
}

}  // namespace

void serve_launch_templates(Handlers& handlers, Ec2& ec2) {
  write(handlers, ec2);
  handlers.on<w::DescribeLaunchTemplates>(
      [&ec2](const Call& call, const w::DescribeLaunchTemplatesRequest& input) { return describe(call, ec2, input); });
  handlers.on<w::DescribeLaunchTemplateVersions>(
      [&ec2](const Call& call, const w::DescribeLaunchTemplateVersionsRequest& input) {
        return describe(call, ec2, input);
      });
}

}  // namespace kiln::region::ec2
