// Handlers of EC2: network interfaces, which are the instances' own, and Elastic IP addresses.
#include <fmt/format.h>

#include <algorithm>

#include "base/time.h"
#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;
using Values = std::vector<std::string>;

w::NetworkInterfaceAssociation association_of(const Ec2& ec2, const Instance& instance) {
  w::NetworkInterfaceAssociation out;
  out.public_ip = instance.public_address;
  out.public_dns_name = instance.public_address;
  out.ip_owner_id = "amazon";
  for (const auto& [id, address] : ec2.addresses()) {
    if (address.instance_id != instance.id) continue;
    out.allocation_id = id;
    out.association_id = address.association_id;
    out.ip_owner_id = ec2.options().account;
  }
  return out;
}

w::NetworkInterface to_wire(const Ec2& ec2, const Instance& instance) {
  const Subnet& subnet = ec2.vpcs().subnet(instance.subnet_id);
  w::NetworkInterface out;
  out.network_interface_id = instance.interface_id;
  out.interface_type = "interface";
  out.description = instance.interface_description;
  out.status = "in-use";
  out.subnet_id = subnet.id;
  out.vpc_id = subnet.vpc_id;
  out.availability_zone = subnet.zone;
  out.availability_zone_id = subnet.zone_id;
  out.owner_id = ec2.options().account;
  out.requester_managed = false;
  out.source_dest_check = true;
  out.mac_address = instance.mac;
  out.private_ip_address = instance.private_address;
  out.private_dns_name = private_name(ec2, instance);
  out.groups = groups_of(ec2, instance);
  out.tag_set = kiln::region::ec2::to_wire(instance.interface_tags);
  w::NetworkInterfacePrivateIpAddress& address = out.private_ip_addresses.emplace_back();
  address.primary = true;
  address.private_ip_address = instance.private_address;
  address.private_dns_name = out.private_dns_name;
  if (!instance.public_address.empty()) out.association = address.association = association_of(ec2, instance);
  out.attachment.emplace();
  out.attachment->attachment_id = "eni-attach-" + instance.interface_id.substr(4);
  out.attachment->instance_id = instance.id;
  out.attachment->instance_owner_id = ec2.options().account;
  out.attachment->device_index = 0;
  out.attachment->network_card_index = 0;
  out.attachment->status = "attached";
  out.attachment->attach_time = instance.launched;
  out.attachment->delete_on_termination = true;
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeNetworkInterfaces.html
std::optional<Values> filter_values(const w::NetworkInterface& one, const std::string& name) {
  const auto of = [](const auto& value) { return value ? Values{*value} : Values{}; };
  const w::NetworkInterfaceAssociation association = one.association.value_or(w::NetworkInterfaceAssociation{});
  const w::NetworkInterfaceAttachment attachment = one.attachment.value_or(w::NetworkInterfaceAttachment{});
  Values groups;
  for (const w::GroupIdentifier& group : one.groups) {
    groups.push_back((name == "group-name" ? group.group_name : group.group_id).value_or(""));
  }
  if (name == "network-interface-id") return of(one.network_interface_id);
  if (name == "vpc-id") return of(one.vpc_id);
  if (name == "subnet-id") return of(one.subnet_id);
  if (name == "availability-zone") return of(one.availability_zone);
  if (name == "availability-zone-id") return of(one.availability_zone_id);
  if (name == "owner-id") return of(one.owner_id);
  if (name == "status") return of(one.status);
  if (name == "description") return of(one.description);
  if (name == "interface-type") return of(one.interface_type);
  if (name == "mac-address") return of(one.mac_address);
  if (name == "private-ip-address" || name == "addresses.private-ip-address") return of(one.private_ip_address);
  if (name == "private-dns-name") return of(one.private_dns_name);
  if (name == "group-id" || name == "group-name") return groups;
  if (name == "requester-managed") return Values{"false"};
  if (name == "source-dest-check" || name == "sourceDestCheck") return Values{"true"};
  if (name == "addresses.primary") return Values{"true"};
  if (name == "requester-id" || name == "ipv6-addresses.ipv6-address" || name == "operator.managed" ||
      name == "operator.principal") {
    return Values{};
  }
  if (name == "attachment.attachment-id") return of(attachment.attachment_id);
  if (name == "attachment.instance-id") return of(attachment.instance_id);
  if (name == "attachment.instance-owner-id") return of(attachment.instance_owner_id);
  if (name == "attachment.status") return of(attachment.status);
  if (name == "attachment.device-index") return Values{"0"};
  if (name == "attachment.delete-on-termination") return Values{"true"};
  if (name == "attachment.attach-time") {
    return attachment.attach_time ? Values{format_iso8601(*attachment.attach_time)} : Values{};
  }
  if (name == "association.allocation-id") return of(association.allocation_id);
  if (name == "association.association-id") return of(association.association_id);
  if (name == "association.ip-owner-id") return of(association.ip_owner_id);
  if (name == "association.public-ip" || name == "addresses.association.public-ip") return of(association.public_ip);
  if (name == "association.public-dns-name") return of(association.public_dns_name);
  if (name == "addresses.association.owner-id") return of(association.ip_owner_id);
  return std::nullopt;
}

void interfaces(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeNetworkInterfaces>([&ec2](const Call&, const w::DescribeNetworkInterfacesRequest& input) {
    only<w::DescribeNetworkInterfaces>(input, {"NetworkInterfaceIds", "Filters", "MaxResults", "NextToken"});
    check_names(input.filters, [](const std::string& name) { return filter_values(w::NetworkInterface{}, name); });
    std::map<std::string, const Instance*> sorted;
    for (const auto& [id, instance] : ec2.instances()) {
      if (instance.on_network()) sorted[instance.interface_id] = &instance;
    }
    for (const std::string& id : input.network_interface_ids) {
      if (sorted.contains(id)) continue;
      throw ApiError("InvalidNetworkInterfaceID.NotFound",
                     fmt::format("The networkInterface ID '{}' does not exist", id));
    }
    w::DescribeNetworkInterfacesResult answer;
    Page page(input.max_results, input.next_token);
    for (const auto& [id, instance] : sorted) {
      if (!listed(input.network_interface_ids, id)) continue;
      w::NetworkInterface out = to_wire(ec2, *instance);
      const auto values = [&](const std::string& name) { return filter_values(out, name); };
      if (!matches(input.filters, instance->interface_tags, values)) continue;
      if (page.takes(id)) answer.network_interfaces.push_back(std::move(out));
    }
    answer.next_token = page.next_token();
    return answer;
  });
}

w::Address to_wire(const Ec2& ec2, const Address& address) {
  w::Address out;
  out.allocation_id = address.id;
  out.public_ip = address.public_address;
  out.domain = "vpc";
  out.public_ipv4_pool = "amazon";
  out.network_border_group = ec2.options().region;
  out.tags = kiln::region::ec2::to_wire(address.tags);
  if (const Instance* instance = ec2.find_instance(address.instance_id)) {
    out.instance_id = instance->id;
    out.association_id = address.association_id;
    out.network_interface_id = instance->interface_id;
    out.network_interface_owner_id = ec2.options().account;
    out.private_ip_address = instance->private_address;
  }
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAddresses.html
std::optional<Values> filter_values(const w::Address& one, const std::string& name) {
  const auto of = [](const auto& value) { return value ? Values{*value} : Values{}; };
  if (name == "allocation-id") return of(one.allocation_id);
  if (name == "association-id") return of(one.association_id);
  if (name == "domain") return of(one.domain);
  if (name == "instance-id") return of(one.instance_id);
  if (name == "network-border-group") return of(one.network_border_group);
  if (name == "network-interface-id") return of(one.network_interface_id);
  if (name == "network-interface-owner-id") return of(one.network_interface_owner_id);
  if (name == "private-ip-address") return of(one.private_ip_address);
  if (name == "public-ip") return of(one.public_ip);
  return std::nullopt;
}

void change_addresses(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::AllocateAddress>([&ec2](const Call&, const w::AllocateAddressRequest& input) {
    only<w::AllocateAddress>(input, {"Domain", "TagSpecifications"});
    if (present(input.domain) && *input.domain != "vpc") {
      throw ApiError("InvalidParameterValue",
                     fmt::format("Invalid value '{}' for domain. It must be 'vpc'.", *input.domain));
    }
    const Address& made = ec2.allocate_address(tags_for(input.tag_specifications, "elastic-ip"));
    w::AllocateAddressResult answer;
    answer.allocation_id = made.id;
    answer.public_ip = made.public_address;
    answer.domain = "vpc";
    answer.public_ipv4_pool = "amazon";
    answer.network_border_group = ec2.options().region;
    return answer;
  });
  handlers.on<w::ReleaseAddress>([&ec2](const Call&, const w::ReleaseAddressRequest& input) {
    only<w::ReleaseAddress>(input, {"AllocationId", "PublicIp"});
    ec2.release_address(ec2.address(input.allocation_id.value_or(""), input.public_ip.value_or("")).id);
    return wire::Empty{};
  });
  handlers.on<w::AssociateAddress>([&ec2](const Call&, const w::AssociateAddressRequest& input) {
    only<w::AssociateAddress>(input, {"AllocationId", "PublicIp", "InstanceId", "NetworkInterfaceId",
                                      "PrivateIpAddress", "AllowReassociation"});
    std::string instance = input.instance_id.value_or("");
    if (present(input.network_interface_id)) {
      for (const auto& [id, one] : ec2.instances()) {
        if (one.on_network() && one.interface_id == *input.network_interface_id) instance = id;
      }
      if (instance.empty()) {
        throw ApiError("InvalidNetworkInterfaceID.NotFound",
                       fmt::format("The networkInterface ID '{}' does not exist", *input.network_interface_id));
      }
    }
    if (present(input.private_ip_address) && ec2.instance(instance).private_address != *input.private_ip_address) {
      throw ApiError("InvalidParameterValue", fmt::format("Invalid value '{}' for PrivateIpAddress. Address not found.",
                                                          *input.private_ip_address));
    }
    // In a VPC the default is to take it from whoever has it; a client says so with an allocation id, or must allow it.
    const Address& address = ec2.address(input.allocation_id.value_or(""), input.public_ip.value_or(""));
    w::AssociateAddressResult answer;
    answer.association_id = ec2.associate_address(address.id, instance, input.allow_reassociation.value_or(true));
    return answer;
  });
  handlers.on<w::DisassociateAddress>([&ec2](const Call&, const w::DisassociateAddressRequest& input) {
    only<w::DisassociateAddress>(input, {"AssociationId", "PublicIp"});
    if (!present(input.association_id)) {
      ec2.disassociate_address(ec2.address("", input.public_ip.value_or("")).id);
      return wire::Empty{};
    }
    for (const auto& [id, address] : ec2.addresses()) {
      if (address.association_id != *input.association_id) continue;
      ec2.disassociate_address(id);
      return wire::Empty{};
    }
    throw ApiError("InvalidAssociationID.NotFound",
                   fmt::format("The association ID '{}' does not exist", *input.association_id));
  });
}

void describe_addresses(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeAddresses>([&ec2](const Call&, const w::DescribeAddressesRequest& input) {
    only<w::DescribeAddresses>(input, {"AllocationIds", "PublicIps", "Filters"});
    check_names(input.filters, [](const std::string& name) { return filter_values(w::Address{}, name); });
    for (const std::string& id : input.allocation_ids) ec2.address(id, "");
    for (const std::string& text : input.public_ips) ec2.address("", text);
    w::DescribeAddressesResult answer;
    for (const auto& [id, address] : ec2.addresses()) {
      if (!listed(input.allocation_ids, id) || !listed(input.public_ips, address.public_address)) continue;
      w::Address out = to_wire(ec2, address);
      if (!matches(input.filters, address.tags, [&](const std::string& name) { return filter_values(out, name); })) {
        continue;
      }
      answer.addresses.push_back(std::move(out));
    }
    return answer;
  });
}

}  // namespace

void serve_addresses(Handlers& handlers, Ec2& ec2) {
  interfaces(handlers, ec2);
  change_addresses(handlers, ec2);
  describe_addresses(handlers, ec2);
}

}  // namespace kiln::region::ec2
