// Handlers of EC2: instances.
#include <fmt/format.h>

#include <algorithm>

#include "base/encoding.h"
#include "region/ec2/filters.h"
#include "region/ec2/handlers_launch.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;

}  // namespace

std::string private_name(const Ec2& ec2, const Instance& instance) {
  std::string name = "ip-" + instance.private_address;
  std::replace(name.begin(), name.end(), '.', '-');
  const std::string& region = ec2.options().region;
  return name + (region == "us-east-1" ? ".ec2.internal" : "." + region + ".compute.internal");
}

std::vector<w::GroupIdentifier> groups_of(const Ec2& ec2, const Instance& instance) {
  std::vector<w::GroupIdentifier> out;
  for (const std::string& id : instance.security_groups) {
    w::GroupIdentifier& group = out.emplace_back();
    group.group_id = id;
    auto it = ec2.security_groups().find(id);
    if (it != ec2.security_groups().end()) group.group_name = it->second.name;
  }
  return out;
}

std::string root_device_of(const Ec2& ec2, const Instance& instance) {
  const auto volume = ec2.volumes().find(instance.volume_id);
  return volume == ec2.volumes().end() ? "/dev/xvda" : volume->second.device;
}

std::vector<w::InstanceBlockDeviceMapping> block_devices_of(const Ec2& ec2, const Instance& instance) {
  std::vector<w::InstanceBlockDeviceMapping> out;
  for (const Volume* volume : ec2.volumes_of(instance.id)) {
    w::InstanceBlockDeviceMapping& one = out.emplace_back();
    one.device_name = volume->device;
    one.ebs.emplace();
    one.ebs->volume_id = volume->id;
    one.ebs->status = std::string(to_string(volume->attachment));
    one.ebs->attach_time = volume->attached;
    one.ebs->delete_on_termination = volume->delete_on_termination;
  }
  return out;
}

namespace {

w::InstanceState state_of(InstanceState state) {
  return {static_cast<std::int64_t>(state), std::string(to_string(state))};
}

w::InstanceNetworkInterface interface_of(const Ec2& ec2, const Instance& instance,
                                         const std::vector<w::GroupIdentifier>& groups) {
  w::InstanceNetworkInterface out;
  out.network_interface_id = instance.interface_id;
  out.mac_address = instance.mac;
  out.private_ip_address = instance.private_address;
  out.private_dns_name = private_name(ec2, instance);
  out.subnet_id = instance.subnet_id;
  out.vpc_id = instance.vpc_id;
  out.owner_id = ec2.options().account;
  out.status = "in-use";
  out.source_dest_check = true;
  out.interface_type = "interface";
  out.groups = groups;
  out.description = instance.interface_description;
  w::InstancePrivateIpAddress& address = out.private_ip_addresses.emplace_back();
  address.primary = true;
  address.private_ip_address = instance.private_address;
  address.private_dns_name = out.private_dns_name;
  if (!instance.public_address.empty()) {
    w::InstanceNetworkInterfaceAssociation& association = out.association.emplace();
    association.public_ip = instance.public_address;
    association.public_dns_name = instance.public_address;
    const auto& elastic = ec2.addresses();
    const bool own = std::any_of(elastic.begin(), elastic.end(),
                                 [&](const auto& entry) { return entry.second.instance_id == instance.id; });
    association.ip_owner_id = own ? ec2.options().account : "amazon";
    address.association = association;
  }
  out.attachment.emplace();
  out.attachment->device_index = 0;
  out.attachment->status = "attached";
  out.attachment->delete_on_termination = true;
  out.attachment->attach_time = instance.launched;
  out.attachment->attachment_id = "eni-attach-" + instance.interface_id.substr(4);
  return out;
}

w::Instance to_wire(const Ec2& ec2, const Instance& instance) {
  w::Instance out;
  out.instance_id = instance.id;
  out.image_id = instance.image_id;
  out.state = state_of(instance.state);
  out.instance_type = instance.type;
  out.launch_time = instance.launched;
  out.ami_launch_index = instance.launch_index;
  out.architecture = "x86_64";
  out.hypervisor = "xen";
  out.virtualization_type = "hvm";
  out.root_device_name = root_device_of(ec2, instance);
  out.root_device_type = "ebs";
  out.ebs_optimized = instance.ebs_optimized;
  out.ena_support = true;
  out.platform_details = "Linux/UNIX";
  out.usage_operation = "RunInstances";
  out.client_token = instance.client_token;
  out.private_dns_name = "";
  out.public_dns_name = "";
  out.state_transition_reason = instance.transition_reason;
  out.placement.emplace();
  out.placement->availability_zone = instance.zone;
  out.placement->group_name = "";
  out.placement->tenancy = "default";
  out.monitoring.emplace();
  out.monitoring->state = "disabled";
  out.metadata_options = to_wire(instance.metadata);
  if (!instance.key_name.empty()) out.key_name = instance.key_name;
  if (!instance.reason_code.empty()) out.state_reason = w::StateReason{instance.reason_code, instance.reason_message};
  out.tags = kiln::region::ec2::to_wire(instance.tags);
  // A terminated instance has neither network nor disk.
  if (instance.gone()) return out;
  out.subnet_id = instance.subnet_id;
  out.vpc_id = instance.vpc_id;
  out.private_ip_address = instance.private_address;
  out.private_dns_name = private_name(ec2, instance);
  if (!instance.public_address.empty()) {
    out.public_ip_address = instance.public_address;
    out.public_dns_name = instance.public_address;
  }
  if (instance.profile) {
    out.iam_instance_profile.emplace();
    out.iam_instance_profile->arn = instance.profile->arn;
    out.iam_instance_profile->id = instance.profile->profile_id;
  }
  out.source_dest_check = true;
  out.security_groups = groups_of(ec2, instance);
  out.network_interfaces = {interface_of(ec2, instance, out.security_groups)};
  out.block_device_mappings = block_devices_of(ec2, instance);
  return out;
}

// Of the filters block-device-mapping.*
std::optional<std::vector<std::string>> volume_values(const std::vector<const Volume*>& volumes,
                                                      const std::string& name) {
  std::vector<std::string> values;
  for (const std::string known : {"device-name", "volume-id", "status", "attach-time", "delete-on-termination"}) {
    if (name != known) continue;
    for (const Volume* volume : volumes) {
      values.push_back(name == "device-name"           ? volume->device
                       : name == "volume-id"           ? volume->id
                       : name == "status"              ? std::string(to_string(volume->attachment))
                       : name == "attach-time"         ? format_iso8601(volume->attached)
                       : volume->delete_on_termination ? "true"
                                                       : "false");
    }
    return values;
  }
  return std::nullopt;
}

std::optional<std::vector<std::string>> filter_values(const Ec2& ec2, const Instance& one, const std::string& name) {
  using Values = std::vector<std::string>;
  if (name == "instance-id") return Values{one.id};
  if (name == "image-id") return Values{one.image_id};
  if (name == "instance-type") return Values{one.type};
  if (name == "instance-state-name") return Values{std::string(to_string(one.state))};
  if (name == "instance-state-code") return Values{std::to_string(static_cast<int>(one.state))};
  if (name == "availability-zone") return Values{one.zone};
  if (name == "key-name") return Values{one.key_name};
  if (name == "reservation-id") return Values{one.reservation_id};
  if (name == "client-token") return Values{one.client_token};
  if (name == "architecture") return Values{"x86_64"};
  if (name == "owner-id") return Values{ec2.options().account};
  if (name == "virtualization-type") return Values{"hvm"};
  if (name == "root-device-type") return Values{"ebs"};
  if (name == "root-device-name") return Values{root_device_of(ec2, one)};
  if (name.starts_with("block-device-mapping.")) return volume_values(ec2.volumes_of(one.id), name.substr(21));
  if (name == "state-reason-code") return Values{one.reason_code};
  if (name == "launch-index") return Values{std::to_string(one.launch_index)};
  if (name == "launch-time") return Values{format_iso8601(one.launched)};
  if (one.gone() && (name == "subnet-id" || name == "vpc-id" || name.starts_with("network-interface.") ||
                     name.starts_with("instance.group") || name.find("ip-address") != std::string::npos)) {
    return Values{};
  }
  if (name == "iam-instance-profile.arn") return Values{one.profile ? one.profile->arn : ""};
  if (name == "iam-instance-profile.id") return Values{one.profile ? one.profile->profile_id : ""};
  if (name == "subnet-id" || name == "network-interface.subnet-id") return Values{one.subnet_id};
  if (name == "vpc-id" || name == "network-interface.vpc-id") return Values{one.vpc_id};
  if (name == "private-ip-address" || name == "network-interface.addresses.private-ip-address") {
    return Values{one.private_address};
  }
  if (name == "ip-address") return Values{one.public_address};
  if (name == "private-dns-name" || name == "network-interface.private-dns-name") {
    return Values{private_name(ec2, one)};
  }
  if (name == "dns-name" || name == "network-interface.association.public-ip" ||
      name == "network-interface.addresses.association.public-ip") {
    return one.public_address.empty() ? Values{} : Values{one.public_address};
  }
  if (name == "network-interface.description") return Values{one.interface_description};
  if (name == "network-interface.mac-address") return Values{one.mac};
  if (name == "network-interface.status") return Values{"in-use"};
  if (name == "network-interface.owner-id") return Values{ec2.options().account};
  if (name == "network-interface.availability-zone") return Values{one.zone};
  if (name == "network-interface.attachment.instance-id") return Values{one.id};
  if (name == "network-interface.attachment.device-index") return Values{"0"};
  if (name == "network-interface.attachment.status") return Values{"attached"};
  if (name == "network-interface.attachment.delete-on-termination" || name == "network-interface.addresses.primary" ||
      name == "network-interface.source-dest-check" || name == "source-dest-check") {
    return Values{"true"};
  }
  if (name == "network-interface.network-interface-id") return Values{one.interface_id};
  if (name == "instance.group-id" || name == "network-interface.group-id") return one.security_groups;
  if (name == "instance.group-name" || name == "network-interface.group-name") {
    Values names;
    for (const w::GroupIdentifier& group : groups_of(ec2, one)) names.push_back(group.group_name.value_or(""));
    return names;
  }
  return std::nullopt;
}

// Calls `take` for each instance that ids, filters and page let through, in order of id.
template <typename Input, typename Take>
std::optional<std::string> each_instance(const Ec2& ec2, const Input& input, std::int64_t minimum, Take&& take) {
  static const Instance kNone;
  check_names(input.filters, [&](const std::string& name) { return filter_values(ec2, kNone, name); });
  const auto wanted = [&](const Instance& instance) {
    return matches(input.filters, instance.tags,
                   [&](const std::string& name) { return filter_values(ec2, instance, name); });
  };
  if (!input.instance_ids.empty()) {
    if (input.max_results) {
      throw ApiError("InvalidParameterCombination",
                     "The parameter instancesSet cannot be used with the parameter maxResults");
    }
    std::vector<std::string> ids = input.instance_ids;
    for (const std::string& id : ids) ec2.instance(id);
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const std::string& id : ids) {
      const Instance& one = ec2.instance(id);
      if (wanted(one)) take(one);
    }
    return std::nullopt;
  }
  Page page(input.max_results, input.next_token, minimum);
  for (const auto& [id, one] : ec2.instances()) {
    if (wanted(one) && page.takes(id)) take(one);
  }
  return page.next_token();
}

void describe_instances(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeInstances>([&ec2](const Call& call, const w::DescribeInstancesRequest& input) {
    only<w::DescribeInstances>(input, {"InstanceIds", "Filters", "MaxResults", "NextToken"});
    w::DescribeInstancesResult answer;
    std::map<std::string, std::size_t> reservations;
    answer.next_token = each_instance(ec2, input, 5, [&](const Instance& one) {
      auto [it, fresh] = reservations.emplace(one.reservation_id, answer.reservations.size());
      if (fresh) {
        w::Reservation& reservation = answer.reservations.emplace_back();
        reservation.reservation_id = one.reservation_id;
        reservation.owner_id = call.account;
      }
      answer.reservations[it->second].instances.push_back(to_wire(ec2, one));
    });
    return answer;
  });
  handlers.when<w::DescribeInstances>(
      [&ec2](const w::DescribeInstancesRequest& input) { return ec2.settled(input.instance_ids); });
  handlers.when<w::DescribeInstanceStatus>(
      [&ec2](const w::DescribeInstanceStatusRequest& input) { return ec2.settled(input.instance_ids); });
  handlers.on<w::DescribeInstanceStatus>([&ec2](const Call&, const w::DescribeInstanceStatusRequest& input) {
    only<w::DescribeInstanceStatus>(input,
                                    {"InstanceIds", "Filters", "MaxResults", "NextToken", "IncludeAllInstances"});
    w::DescribeInstanceStatusResult answer;
    answer.next_token = each_instance(ec2, input, 5, [&](const Instance& one) {
      bool running = one.state == InstanceState::running;
      if (!running && !input.include_all_instances.value_or(false)) return;
      w::InstanceStatus& status = answer.instance_statuses.emplace_back();
      status.instance_id = one.id;
      status.availability_zone = one.zone;
      status.instance_state = state_of(one.state);
      for (auto* summary : {&status.instance_status, &status.system_status}) {
        summary->emplace().status = running ? "ok" : "not-applicable";
        if (running) {
          w::InstanceStatusDetails& detail = (*summary)->details.emplace_back();
          detail.name = "reachability";
          detail.status = "passed";
        }
      }
    });
    return answer;
  });
}

RunRequest request_of(const w::RunInstancesRequest& input) {
  only<w::RunInstances>(input, {"ImageId",
                                "InstanceType",
                                "KeyName",
                                "MinCount",
                                "MaxCount",
                                "SecurityGroupIds",
                                "SecurityGroups",
                                "SubnetId",
                                "UserData",
                                "ClientToken",
                                "TagSpecifications",
                                "LaunchTemplate",
                                "InstanceInitiatedShutdownBehavior",
                                "Placement",
                                "EbsOptimized",
                                "Monitoring",
                                "NetworkInterfaces",
                                "PrivateIpAddress",
                                "DisableApiTermination",
                                "DisableApiStop",
                                "IamInstanceProfile",
                                "BlockDeviceMappings",
                                "MetadataOptions"});
  RunRequest request;
  request.min_count = static_cast<int>(std::min<std::int64_t>(input.min_count.value_or(1), 100'000));
  request.max_count = static_cast<int>(std::min<std::int64_t>(input.max_count.value_or(1), 100'000));
  request.subnet_id = input.subnet_id.value_or("");
  request.private_address = input.private_ip_address.value_or("");
  request.client_token = input.client_token.value_or("");
  if (input.launch_template) {
    const w::LaunchTemplateSpecification& from = *input.launch_template;
    request.launch_template = TemplateSpec{from.launch_template_id.value_or(""), from.launch_template_name.value_or(""),
                                           from.version.value_or("$Default")};
  }
  request.data = launch_data_of(*w::RunInstances::operation().input, input);
  LaunchData& data = request.data;
  if (data.interface && present(input.subnet_id)) {
    throw ApiError("InvalidParameterCombination",
                   "Network interfaces and an instance-level subnet ID may not be specified on the same request");
  }
  if (input.placement) {
    only_within(*w::RunInstances::operation().input, "Placement", &*input.placement, {"AvailabilityZone", "Tenancy"});
    if (input.placement->tenancy.value_or("default") != "default") {
      throw ApiError("UnsupportedOperation", "This region has no tenancy but 'default'");
    }
    data.zone = input.placement->availability_zone;
  }
  for (const w::TagSpecification& specification : input.tag_specifications) {
    std::string type = specification.resource_type.value_or("");
    if (type != "instance" && type != "volume" && type != "network-interface") {
      throw ApiError("InvalidParameterValue",
                     fmt::format("'{}' is not a valid taggable resource type for this operation.", type));
    }
    data.tags[type] = from_wire(specification.tags);
  }
  return request;
}

void run_instances(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::RunInstances>([&ec2](const Call& call, const w::RunInstancesRequest& input) {
    std::vector<const Instance*> made = ec2.run_instances(request_of(input));
    w::Reservation answer;
    answer.reservation_id = made.front()->reservation_id;
    answer.owner_id = call.account;
    for (const Instance* one : made) answer.instances.push_back(to_wire(ec2, *one));
    return answer;
  });
}

std::vector<w::InstanceStateChange> changes_of(const std::vector<Ec2::Transition>& transitions) {
  std::vector<w::InstanceStateChange> out;
  for (const Ec2::Transition& transition : transitions) {
    w::InstanceStateChange& change = out.emplace_back();
    change.instance_id = transition.instance->id;
    change.current_state = state_of(transition.instance->state);
    change.previous_state = state_of(transition.before);
  }
  return out;
}

void change_instances(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::TerminateInstances>([&ec2](const Call&, const w::TerminateInstancesRequest& input) {
    only<w::TerminateInstances>(input, {"InstanceIds"});
    w::TerminateInstancesResult answer;
    answer.terminating_instances = changes_of(ec2.terminate_instances(input.instance_ids));
    return answer;
  });
  handlers.on<w::StopInstances>([&ec2](const Call&, const w::StopInstancesRequest& input) {
    only<w::StopInstances>(input, {"InstanceIds"});
    w::StopInstancesResult answer;
    answer.stopping_instances = changes_of(ec2.stop_instances(input.instance_ids));
    return answer;
  });
  handlers.on<w::StartInstances>([&ec2](const Call&, const w::StartInstancesRequest& input) {
    only<w::StartInstances>(input, {"InstanceIds"});
    w::StartInstancesResult answer;
    answer.starting_instances = changes_of(ec2.start_instances(input.instance_ids));
    return answer;
  });
  handlers.on<w::RebootInstances>([&ec2](const Call&, const w::RebootInstancesRequest& input) {
    ec2.reboot_instances(input.instance_ids);
    return wire::Empty{};
  });
}

void ask_instances(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::GetConsoleOutput>([&ec2](const Call& call, const w::GetConsoleOutputRequest& input) {
    only<w::GetConsoleOutput>(input, {"InstanceId", "Latest"});
    w::GetConsoleOutputResult answer;
    answer.instance_id = input.instance_id;
    answer.timestamp = call.now;
    std::string output = ec2.console_output(input.instance_id.value_or(""));
    if (!output.empty()) answer.output = base64_encode(output);
    return answer;
  });
}

}  // namespace

void serve_instances(Handlers& handlers, Ec2& ec2) {
  run_instances(handlers, ec2);
  describe_instances(handlers, ec2);
  change_instances(handlers, ec2);
  ask_instances(handlers, ec2);
}

}  // namespace kiln::region::ec2
