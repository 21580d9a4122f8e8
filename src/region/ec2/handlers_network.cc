// Handlers of EC2: the default network, regions, zones, instance types.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "region/aws_regions.h"
#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;
using Values = std::vector<std::string>;

bool listed(const std::vector<std::string>& wanted, const std::string& id) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), id) != wanted.end();
}

void vpcs_and_subnets(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeVpcs>([&ec2](const Call& call, const w::DescribeVpcsRequest& input) {
    only<w::DescribeVpcs>(input, {"VpcIds", "Filters", "MaxResults", "NextToken"});
    const Vpc& vpc = ec2.vpc();
    for (const std::string& id : input.vpc_ids) {
      if (id != vpc.id) throw ApiError("InvalidVpcID.NotFound", fmt::format("The vpc ID '{}' does not exist", id));
    }
    w::DescribeVpcsResult answer;
    auto values = [&](const std::string& name) -> std::optional<Values> {
      if (name == "vpc-id") return Values{vpc.id};
      if (name == "cidr" || name == "cidr-block-association.cidr-block") return Values{vpc.cidr};
      if (name == "is-default" || name == "isDefault") return Values{"true"};
      if (name == "state") return Values{"available"};
      if (name == "owner-id") return Values{call.account};
      return std::nullopt;
    };
    if (!matches(input.filters, {}, values)) return answer;
    w::Vpc& out = answer.vpcs.emplace_back();
    out.vpc_id = vpc.id;
    out.cidr_block = vpc.cidr;
    out.is_default = true;
    out.state = "available";
    out.owner_id = call.account;
    out.instance_tenancy = "default";
    out.dhcp_options_id = "dopt-" + vpc.id.substr(4);
    w::VpcCidrBlockAssociation& association = out.cidr_block_association_set.emplace_back();
    association.cidr_block = vpc.cidr;
    association.association_id = "vpc-cidr-assoc-" + vpc.id.substr(4);
    association.cidr_block_state.emplace().state = "associated";
    return answer;
  });
  handlers.on<w::DescribeSubnets>([&ec2](const Call& call, const w::DescribeSubnetsRequest& input) {
    only<w::DescribeSubnets>(input, {"SubnetIds", "Filters", "MaxResults", "NextToken"});
    for (const std::string& id : input.subnet_ids) {
      if (ec2.find_subnet(id) == nullptr) {
        throw ApiError("InvalidSubnetID.NotFound", fmt::format("The subnet ID '{}' does not exist", id));
      }
    }
    w::DescribeSubnetsResult answer;
    for (const Subnet& subnet : ec2.subnets()) {
      auto values = [&](const std::string& name) -> std::optional<Values> {
        if (name == "subnet-id") return Values{subnet.id};
        if (name == "vpc-id") return Values{ec2.vpc().id};
        if (name == "availability-zone" || name == "availabilityZone") return Values{subnet.zone};
        if (name == "availability-zone-id" || name == "availabilityZoneId") return Values{subnet.zone_id};
        if (name == "cidr-block" || name == "cidr" || name == "cidrBlock") return Values{subnet.cidr};
        if (name == "default-for-az" || name == "defaultForAz" || name == "map-public-ip-on-launch")
          return Values{"true"};
        if (name == "state") return Values{"available"};
        if (name == "owner-id") return Values{call.account};
        return std::nullopt;
      };
      if (!listed(input.subnet_ids, subnet.id) || !matches(input.filters, {}, values)) continue;
      w::Subnet& out = answer.subnets.emplace_back();
      out.subnet_id = subnet.id;
      out.vpc_id = ec2.vpc().id;
      out.cidr_block = subnet.cidr;
      out.availability_zone = subnet.zone;
      out.availability_zone_id = subnet.zone_id;
      out.available_ip_address_count = ec2.free_addresses(subnet);
      out.default_for_az = true;
      out.map_public_ip_on_launch = true;
      out.assign_ipv6_address_on_creation = false;
      out.state = "available";
      out.owner_id = call.account;
      out.subnet_arn = fmt::format("arn:aws:ec2:{}:{}:subnet/{}", ec2.options().region, call.account, subnet.id);
    }
    return answer;
  });
}

void regions_and_zones(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeRegions>([&ec2](const Call&, const w::DescribeRegionsRequest& input) {
    only<w::DescribeRegions>(input, {"RegionNames", "Filters", "AllRegions"});
    for (const std::string& name : input.region_names) {
      if (find_aws_region(name) == nullptr) {
        throw ApiError("InvalidParameterValue", fmt::format("Invalid region names: [{}]", name));
      }
    }
    w::DescribeRegionsResult answer;
    for (const AwsRegion& region : aws_regions()) {
      // Every account has opted in to the region that it calls.
      const bool opted_in = region.name == ec2.options().region;
      const std::string status = !region.opt_in ? "opt-in-not-required" : opted_in ? "opted-in" : "not-opted-in";
      if (status == "not-opted-in" && !input.all_regions.value_or(false)) continue;
      const std::string name(region.name);
      auto values = [&](const std::string& filter) -> std::optional<Values> {
        if (filter == "region-name") return Values{name};
        if (filter == "endpoint") return Values{"ec2." + name + ".amazonaws.com"};
        if (filter == "opt-in-status") return Values{status};
        return std::nullopt;
      };
      if (!listed(input.region_names, name) || !matches(input.filters, {}, values)) continue;
      w::Region& out = answer.regions.emplace_back();
      out.region_name = name;
      out.endpoint = "ec2." + name + ".amazonaws.com";
      out.opt_in_status = status;
    }
    return answer;
  });
  handlers.on<w::DescribeAvailabilityZones>([&ec2](const Call&, const w::DescribeAvailabilityZonesRequest& input) {
    only<w::DescribeAvailabilityZones>(input, {"ZoneNames", "ZoneIds", "Filters", "AllAvailabilityZones"});
    const auto known = [&](const std::string& one, auto&& name_of) {
      for (const Subnet& subnet : ec2.subnets()) {
        if (name_of(subnet) == one) return;
      }
      throw ApiError("InvalidParameterValue", fmt::format("Invalid availability zone: [{}]", one));
    };
    for (const std::string& name : input.zone_names) known(name, [](const Subnet& subnet) { return subnet.zone; });
    for (const std::string& id : input.zone_ids) known(id, [](const Subnet& subnet) { return subnet.zone_id; });
    w::DescribeAvailabilityZonesResult answer;
    for (const Subnet& subnet : ec2.subnets()) {
      auto values = [&](const std::string& name) -> std::optional<Values> {
        if (name == "zone-name") return Values{subnet.zone};
        if (name == "zone-id") return Values{subnet.zone_id};
        if (name == "region-name" || name == "group-name") return Values{ec2.options().region};
        if (name == "state") return Values{"available"};
        if (name == "zone-type") return Values{"availability-zone"};
        if (name == "opt-in-status") return Values{"opt-in-not-required"};
        return std::nullopt;
      };
      if (!listed(input.zone_names, subnet.zone) || !listed(input.zone_ids, subnet.zone_id)) continue;
      if (!matches(input.filters, {}, values)) continue;
      w::AvailabilityZone& out = answer.availability_zones.emplace_back();
      out.zone_name = subnet.zone;
      out.zone_id = subnet.zone_id;
      out.region_name = ec2.options().region;
      out.group_name = ec2.options().region + "-1";
      out.network_border_group = ec2.options().region;
      out.zone_type = "availability-zone";
      out.opt_in_status = "opt-in-not-required";
      out.state = "available";
    }
    return answer;
  });
}

w::InstanceTypeInfo to_wire(const InstanceType& type) {
  w::InstanceTypeInfo out;
  out.instance_type = std::string(type.name);
  out.current_generation = !type.name.starts_with("t2.");
  out.supported_usage_classes = {"on-demand"};
  out.supported_root_device_types = {"ebs"};
  out.supported_virtualization_types = {"hvm"};
  out.bare_metal = false;
  out.hypervisor = type.name.starts_with("t2.") ? "xen" : "nitro";
  out.processor_info.emplace().supported_architectures = {std::string(type.architecture)};
  out.v_cpu_info.emplace().default_v_cpus = type.vcpus;
  out.memory_info.emplace().size_in_mi_b = type.memory_mib;
  out.instance_storage_supported = false;
  out.burstable_performance_supported = type.burstable;
  return out;
}

void types(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeInstanceTypes>([](const Call&, const w::DescribeInstanceTypesRequest& input) {
    only<w::DescribeInstanceTypes>(input, {"InstanceTypes", "Filters", "MaxResults", "NextToken"});
    for (const std::string& name : input.instance_types) {
      if (find_instance_type(name) == nullptr) {
        throw ApiError("InvalidInstanceType",
                       fmt::format("The following supplied instance types do not exist: [{}]", name));
      }
    }
    std::map<std::string, const InstanceType*> sorted;
    for (const InstanceType& type : instance_types()) sorted[std::string(type.name)] = &type;
    w::DescribeInstanceTypesResult answer;
    Page page(input.max_results, input.next_token, 5, 100);
    for (const auto& [name, type] : sorted) {
      const InstanceType& one = *type;
      auto values = [&](const std::string& filter) -> std::optional<Values> {
        if (filter == "instance-type") return Values{std::string(one.name)};
        if (filter == "current-generation") return Values{one.name.starts_with("t2.") ? "false" : "true"};
        if (filter == "burstable-performance-supported") return Values{one.burstable ? "true" : "false"};
        if (filter == "processor-info.supported-architecture") return Values{std::string(one.architecture)};
        if (filter == "vcpu-info.default-vcpus") return Values{std::to_string(one.vcpus)};
        if (filter == "memory-info.size-in-mib") return Values{std::to_string(one.memory_mib)};
        if (filter == "supported-usage-class") return Values{"on-demand"};
        return std::nullopt;
      };
      if (!listed(input.instance_types, name) || !matches(input.filters, {}, values)) continue;
      if (page.takes(name)) answer.instance_types.push_back(to_wire(one));
    }
    answer.next_token = page.next_token();
    return answer;
  });
  handlers.on<w::DescribeInstanceTypeOfferings>(
      [&ec2](const Call&, const w::DescribeInstanceTypeOfferingsRequest& input) {
        only<w::DescribeInstanceTypeOfferings>(input, {"LocationType", "Filters", "MaxResults", "NextToken"});
        std::string where = input.location_type.value_or("region");
        std::map<std::string, std::pair<std::string, std::string>> offers;
        for (const InstanceType& type : instance_types()) {
          std::string name(type.name);
          if (where == "region") {
            offers[name] = {name, ec2.options().region};
            continue;
          }
          for (const Subnet& subnet : ec2.subnets()) {
            std::string place = where == "availability-zone-id" ? subnet.zone_id : subnet.zone;
            offers[name + " " + place] = {name, place};
          }
        }
        w::DescribeInstanceTypeOfferingsResult answer;
        Page page(input.max_results, input.next_token);
        for (const auto& [key, offer] : offers) {
          const auto& one = offer;
          auto values = [&](const std::string& name) -> std::optional<Values> {
            if (name == "instance-type") return Values{one.first};
            if (name == "location") return Values{one.second};
            return std::nullopt;
          };
          if (!matches(input.filters, {}, values) || !page.takes(key)) continue;
          w::InstanceTypeOffering& out = answer.instance_type_offerings.emplace_back();
          out.instance_type = one.first;
          out.location = one.second;
          out.location_type = where;
        }
        answer.next_token = page.next_token();
        return answer;
      });
}

void account(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeAccountAttributes>([&ec2](const Call&, const w::DescribeAccountAttributesRequest& input) {
    only<w::DescribeAccountAttributes>(input, {"AttributeNames"});
    w::DescribeAccountAttributesResult answer;
    for (auto [name, value] : {std::pair<std::string, std::string>("supported-platforms", "VPC"),
                               {"default-vpc", ec2.vpc().id},
                               {"max-instances", "1000"}}) {
      if (!listed(input.attribute_names, name)) continue;
      w::AccountAttribute& attribute = answer.account_attributes.emplace_back();
      attribute.attribute_name = name;
      attribute.attribute_values.emplace_back().attribute_value = value;
    }
    return answer;
  });
}

}  // namespace

void serve_network(Handlers& handlers, Ec2& ec2) {
  vpcs_and_subnets(handlers, ec2);
  regions_and_zones(handlers, ec2);
  types(handlers, ec2);
  account(handlers, ec2);
}

}  // namespace kiln::region::ec2
