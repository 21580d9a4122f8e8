// Handlers of EC2: VPCs and subnets.
#include <fmt/format.h>

#include <algorithm>

#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;
using Values = std::vector<std::string>;

std::string yes_no(bool value) { return value ? "true" : "false"; }

w::Vpc to_wire(const Call& call, const Vpc& vpc) {
  w::Vpc out;
  out.vpc_id = vpc.id;
  out.cidr_block = vpc.cidr;
  out.is_default = vpc.is_default;
  out.state = "available";
  out.owner_id = call.account;
  out.instance_tenancy = "default";
  out.dhcp_options_id = "dopt-" + vpc.id.substr(4);
  w::VpcCidrBlockAssociation& association = out.cidr_block_association_set.emplace_back();
  association.cidr_block = vpc.cidr;
  association.association_id = "vpc-cidr-assoc-" + vpc.id.substr(4);
  association.cidr_block_state.emplace().state = "associated";
  out.tags = kiln::region::ec2::to_wire(vpc.tags);
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcs.html
std::optional<Values> filter_values(const Call& call, const Vpc& vpc, const std::string& name) {
  if (name == "vpc-id") return Values{vpc.id};
  if (name == "cidr" || name == "cidr-block-association.cidr-block") return Values{vpc.cidr};
  if (name == "cidr-block-association.association-id") {
    return vpc.id.empty() ? Values{} : Values{"vpc-cidr-assoc-" + vpc.id.substr(4)};
  }
  if (name == "cidr-block-association.state") return Values{"associated"};
  if (name == "dhcp-options-id") return vpc.id.empty() ? Values{} : Values{"dopt-" + vpc.id.substr(4)};
  if (name == "is-default" || name == "isDefault") return Values{yes_no(vpc.is_default)};
  if (name == "state") return Values{"available"};
  if (name == "owner-id") return Values{call.account};
  if (name.starts_with("ipv6-cidr-block-association.")) return Values{};
  return std::nullopt;
}

void vpcs(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateVpc>([&ec2](const Call& call, const w::CreateVpcRequest& input) {
    only<w::CreateVpc>(input, {"CidrBlock", "InstanceTenancy", "TagSpecifications", "AmazonProvidedIpv6CidrBlock"});
    if (input.amazon_provided_ipv6_cidr_block.value_or(false)) {
      throw ApiError("UnsupportedOperation", "This region has no IPv6");
    }
    if (present(input.instance_tenancy) && *input.instance_tenancy != "default") {
      throw ApiError("UnsupportedOperation", "This region has no tenancy but 'default'");
    }
    if (!present(input.cidr_block)) {
      throw ApiError("MissingParameter", "Either 'cidrBlock' or 'ipv4IpamPoolId' must be provided.");
    }
    w::CreateVpcResult answer;
    answer.vpc = to_wire(call, ec2.create_vpc(*input.cidr_block, tags_for(input.tag_specifications, "vpc")));
    return answer;
  });
  handlers.on<w::DeleteVpc>([&ec2](const Call&, const w::DeleteVpcRequest& input) {
    ec2.delete_vpc(input.vpc_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::DescribeVpcs>([&ec2](const Call& call, const w::DescribeVpcsRequest& input) {
    only<w::DescribeVpcs>(input, {"VpcIds", "Filters", "MaxResults", "NextToken"});
    check_names(input.filters, [&](const std::string& name) { return filter_values(call, Vpc{}, name); });
    for (const std::string& id : input.vpc_ids) ec2.vpcs().vpc(id);
    w::DescribeVpcsResult answer;
    Page page(input.max_results, input.next_token);
    for (const auto& [id, vpc] : ec2.vpcs().vpcs()) {
      const auto values = [&call, &one = vpc](const std::string& name) { return filter_values(call, one, name); };
      if (!listed(input.vpc_ids, id) || !matches(input.filters, vpc.tags, values)) continue;
      if (page.takes(id)) answer.vpcs.push_back(to_wire(call, vpc));
    }
    answer.next_token = page.next_token();
    return answer;
  });
  handlers.on<w::DescribeVpcAttribute>([&ec2](const Call&, const w::DescribeVpcAttributeRequest& input) {
    only<w::DescribeVpcAttribute>(input, {"VpcId", "Attribute"});
    const Vpc& vpc = ec2.vpcs().vpc(input.vpc_id.value_or(""));
    const std::string attribute = input.attribute.value_or("");
    w::DescribeVpcAttributeResult answer;
    answer.vpc_id = vpc.id;
    if (attribute == "enableDnsSupport") {
      answer.enable_dns_support.emplace().value = vpc.dns_support;
    } else if (attribute == "enableDnsHostnames") {
      answer.enable_dns_hostnames.emplace().value = vpc.dns_hostnames;
    } else if (attribute == "enableNetworkAddressUsageMetrics") {
      answer.enable_network_address_usage_metrics.emplace().value = false;
    } else {
      throw ApiError("InvalidParameterValue",
                     fmt::format("Value ({}) for parameter attribute is invalid. Unknown attribute.", attribute));
    }
    return answer;
  });
  handlers.on<w::ModifyVpcAttribute>([&ec2](const Call&, const w::ModifyVpcAttributeRequest& input) {
    only<w::ModifyVpcAttribute>(input, {"VpcId", "EnableDnsSupport", "EnableDnsHostnames"});
    if (input.enable_dns_support && input.enable_dns_hostnames) {
      throw ApiError("InvalidParameterCombination",
                     "The parameters enableDnsSupport and enableDnsHostnames cannot be used together");
    }
    const auto value = [](const std::optional<w::AttributeBooleanValue>& from) {
      return from ? from->value : std::nullopt;
    };
    ec2.vpcs().set_dns(input.vpc_id.value_or(""), value(input.enable_dns_support), value(input.enable_dns_hostnames));
    return wire::Empty{};
  });
}

w::Subnet to_wire(const Call& call, const Ec2& ec2, const Subnet& subnet) {
  w::Subnet out;
  out.subnet_id = subnet.id;
  out.vpc_id = subnet.vpc_id;
  out.cidr_block = subnet.cidr;
  out.availability_zone = subnet.zone;
  out.availability_zone_id = subnet.zone_id;
  out.available_ip_address_count = ec2.free_addresses(subnet);
  out.default_for_az = subnet.is_default;
  out.map_public_ip_on_launch = subnet.map_public;
  out.map_customer_owned_ip_on_launch = false;
  out.assign_ipv6_address_on_creation = false;
  out.enable_dns64 = false;
  out.ipv6_native = false;
  out.private_dns_name_options_on_launch.emplace().hostname_type = "ip-name";
  out.private_dns_name_options_on_launch->enable_resource_name_dns_a_record = false;
  out.private_dns_name_options_on_launch->enable_resource_name_dns_aaaa_record = false;
  out.state = "available";
  out.owner_id = call.account;
  out.subnet_arn = fmt::format("arn:aws:ec2:{}:{}:subnet/{}", ec2.options().region, call.account, subnet.id);
  out.tags = kiln::region::ec2::to_wire(subnet.tags);
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSubnets.html
std::optional<Values> filter_values(const Call& call, const Ec2& ec2, const Subnet& subnet, const std::string& name) {
  if (name == "subnet-id") return Values{subnet.id};
  if (name == "vpc-id") return Values{subnet.vpc_id};
  if (name == "availability-zone" || name == "availabilityZone") return Values{subnet.zone};
  if (name == "availability-zone-id" || name == "availabilityZoneId") return Values{subnet.zone_id};
  if (name == "cidr-block" || name == "cidr" || name == "cidrBlock") return Values{subnet.cidr};
  if (name == "available-ip-address-count") return Values{std::to_string(ec2.free_addresses(subnet))};
  if (name == "default-for-az" || name == "defaultForAz") return Values{yes_no(subnet.is_default)};
  if (name == "map-public-ip-on-launch") return Values{yes_no(subnet.map_public)};
  if (name == "state") return Values{"available"};
  if (name == "owner-id") return Values{call.account};
  if (name == "subnet-arn") {
    return Values{fmt::format("arn:aws:ec2:{}:{}:subnet/{}", ec2.options().region, call.account, subnet.id)};
  }
  if (name == "private-dns-name-options-on-launch.hostname-type") return Values{"ip-name"};
  if (name == "enable-dns64" || name == "ipv6-native" || name == "map-customer-owned-ip-on-launch" ||
      name == "private-dns-name-options-on-launch.enable-resource-name-dns-a-record" ||
      name == "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record") {
    return Values{"false"};
  }
  if (name.starts_with("ipv6-cidr-block-association.") || name == "outpost-arn" || name == "customer-owned-ipv4-pool" ||
      name == "enable-lni-at-device-index") {
    return Values{};
  }
  return std::nullopt;
}

void subnets(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateSubnet>([&ec2](const Call& call, const w::CreateSubnetRequest& input) {
    only<w::CreateSubnet>(input, {"VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "TagSpecifications"});
    if (present(input.availability_zone) && present(input.availability_zone_id)) {
      throw ApiError("InvalidParameterCombination",
                     "The parameters availabilityZone and availabilityZoneId cannot be used together");
    }
    const std::string zone =
        present(input.availability_zone) ? *input.availability_zone : input.availability_zone_id.value_or("");
    if (!present(input.cidr_block)) {
      throw ApiError("MissingParameter", "The request must contain the parameter cidrBlock");
    }
    w::CreateSubnetResult answer;
    answer.subnet = to_wire(call, ec2,
                            ec2.vpcs().create_subnet(input.vpc_id.value_or(""), *input.cidr_block, zone,
                                                     tags_for(input.tag_specifications, "subnet")));
    return answer;
  });
  handlers.on<w::DeleteSubnet>([&ec2](const Call&, const w::DeleteSubnetRequest& input) {
    ec2.vpcs().delete_subnet(input.subnet_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::ModifySubnetAttribute>([&ec2](const Call&, const w::ModifySubnetAttributeRequest& input) {
    only<w::ModifySubnetAttribute>(input, {"SubnetId", "MapPublicIpOnLaunch"});
    const Subnet& subnet = ec2.vpcs().subnet(input.subnet_id.value_or(""));
    if (!input.map_public_ip_on_launch) {
      throw ApiError("MissingParameter", "The request must contain an attribute to modify");
    }
    ec2.vpcs().map_public(subnet.id, input.map_public_ip_on_launch->value.value_or(false));
    return wire::Empty{};
  });
  handlers.on<w::DescribeSubnets>([&ec2](const Call& call, const w::DescribeSubnetsRequest& input) {
    only<w::DescribeSubnets>(input, {"SubnetIds", "Filters", "MaxResults", "NextToken"});
    Subnet none;
    check_names(input.filters, [&](const std::string& name) { return filter_values(call, ec2, none, name); });
    for (const std::string& id : input.subnet_ids) ec2.vpcs().subnet(id);
    std::map<std::string, const Subnet*> sorted;
    for (const auto& [id, subnet] : ec2.vpcs().subnets()) sorted[subnet.zone + " " + id] = &subnet;
    w::DescribeSubnetsResult answer;
    Page page(input.max_results, input.next_token);
    for (const auto& [key, subnet] : sorted) {
      const auto values = [&, &one = *subnet](const std::string& name) { return filter_values(call, ec2, one, name); };
      if (!listed(input.subnet_ids, subnet->id) || !matches(input.filters, subnet->tags, values)) continue;
      if (page.takes(key)) answer.subnets.push_back(to_wire(call, ec2, *subnet));
    }
    answer.next_token = page.next_token();
    return answer;
  });
}

}  // namespace

void serve_vpcs(Handlers& handlers, Ec2& ec2) {
  vpcs(handlers, ec2);
  subnets(handlers, ec2);
}

}  // namespace kiln::region::ec2
