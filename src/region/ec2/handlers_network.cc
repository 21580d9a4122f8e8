// Handlers of EC2: regions, zones, instance types.
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
    const std::vector<Zone> zones = zones_of(ec2.options().region);
    const auto known = [&](const std::string& one, std::string Zone::*field) {
      if (std::any_of(zones.begin(), zones.end(), [&](const Zone& zone) { return zone.*field == one; })) return;
      throw ApiError("InvalidParameterValue", fmt::format("Invalid availability zone: [{}]", one));
    };
    for (const std::string& name : input.zone_names) known(name, &Zone::name);
    for (const std::string& id : input.zone_ids) known(id, &Zone::id);
    w::DescribeAvailabilityZonesResult answer;
    for (const Zone& zone : zones) {
      auto values = [&](const std::string& name) -> std::optional<Values> {
        if (name == "zone-name") return Values{zone.name};
        if (name == "zone-id") return Values{zone.id};
        if (name == "region-name" || name == "group-name") return Values{ec2.options().region};
        if (name == "state") return Values{"available"};
        if (name == "zone-type") return Values{"availability-zone"};
        if (name == "opt-in-status") return Values{"opt-in-not-required"};
        return std::nullopt;
      };
      if (!listed(input.zone_names, zone.name) || !listed(input.zone_ids, zone.id)) continue;
      if (!matches(input.filters, {}, values)) continue;
      w::AvailabilityZone& out = answer.availability_zones.emplace_back();
      out.zone_name = zone.name;
      out.zone_id = zone.id;
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
        std::string where = present(input.location_type) ? *input.location_type : "region";
        if (where != "region" && where != "availability-zone" && where != "availability-zone-id") {
          throw ApiError(
              "InvalidParameterValue",
              fmt::format("The location type '{}' is not supported by this region, which has no Outposts", where));
        }
        std::map<std::string, std::pair<std::string, std::string>> offers;
        for (const InstanceType& type : instance_types()) {
          std::string name(type.name);
          if (where == "region") {
            offers[name] = {name, ec2.options().region};
            continue;
          }
          for (const Zone& zone : zones_of(ec2.options().region)) {
            std::string place = where == "availability-zone-id" ? zone.id : zone.name;
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
                               {"default-vpc", ec2.vpcs().default_vpc_id()},
                               {"max-instances", "1000"},
                               {"vpc-max-security-groups-per-interface", "5"},
                               {"max-elastic-ips", "5"},
                               {"vpc-max-elastic-ips", "5"}}) {
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
  regions_and_zones(handlers, ec2);
  types(handlers, ec2);
  account(handlers, ec2);
}

}  // namespace kiln::region::ec2
