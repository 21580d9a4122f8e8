// Handlers of ELBv2's target groups and targets.
#include "region/elb/handlers_targets.h"

#include <fmt/format.h>

#include "region/elb/wire_values.h"

namespace kiln::region::elb {

namespace {

namespace w = wire::elb;

[[noreturn]] void only_value(const char* what, const char* served, const std::string& value) {
  throw ApiError("InvalidConfigurationRequest",
                 fmt::format("Kiln's region serves the {} '{}' only, not '{}'", what, served, value));
}

int narrow(std::int64_t value) { return static_cast<int>(std::clamp<std::int64_t>(value, -1, 100'000)); }

// CreateTargetGroup and ModifyTargetGroup name a health check's settings alike.
template <typename Input>
HealthCheck read_check(const Input& input, HealthCheck check) {
  if (input.health_check_protocol.value_or("HTTP") != "HTTP") {
    only_value("health check protocol", "HTTP", *input.health_check_protocol);
  }
  if (input.matcher && input.matcher->grpc_code) {
    throw ApiError("InvalidConfigurationRequest", "Kiln's region serves HTTP matchers only, no GrpcCode");
  }
  if (input.health_check_enabled) check.enabled = *input.health_check_enabled;
  if (input.health_check_port) check.port = *input.health_check_port;
  if (input.health_check_path) check.path = *input.health_check_path;
  if (input.health_check_interval_seconds) check.interval_seconds = narrow(*input.health_check_interval_seconds);
  if (input.health_check_timeout_seconds) check.timeout_seconds = narrow(*input.health_check_timeout_seconds);
  if (input.healthy_threshold_count) check.healthy_threshold = narrow(*input.healthy_threshold_count);
  if (input.unhealthy_threshold_count) check.unhealthy_threshold = narrow(*input.unhealthy_threshold_count);
  if (input.matcher && input.matcher->http_code) check.matcher.text = *input.matcher->http_code;
  return check;
}

w::CreateTargetGroupOutput create_target_group(Elb& elb, const w::CreateTargetGroupInput& input) {
  only<w::CreateTargetGroup>(
      input, {"Name", "Protocol", "ProtocolVersion", "Port", "VpcId", "HealthCheckProtocol", "HealthCheckPort",
              "HealthCheckEnabled", "HealthCheckPath", "HealthCheckIntervalSeconds", "HealthCheckTimeoutSeconds",
              "HealthyThresholdCount", "UnhealthyThresholdCount", "Matcher", "TargetType", "Tags", "IpAddressType"});
  if (input.target_type.value_or("instance") != "instance") only_value("target type", "instance", *input.target_type);
  if (!input.protocol) throw ApiError("ValidationError", "A protocol must be specified");
  if (*input.protocol != "HTTP") only_value("target group protocol", "HTTP", *input.protocol);
  if (input.protocol_version.value_or("HTTP1") != "HTTP1")
    only_value("protocol version", "HTTP1", *input.protocol_version);
  if (input.ip_address_type.value_or("ipv4") != "ipv4") only_value("IP address type", "ipv4", *input.ip_address_type);
  if (!input.port) throw ApiError("ValidationError", "A port must be specified");
  if (!input.vpc_id) throw ApiError("ValidationError", "A VPC ID must be specified");
  NewTargetGroup wanted;
  wanted.name = input.name.value_or("");
  wanted.vpc_id = *input.vpc_id;
  wanted.port = narrow(*input.port);
  wanted.check = read_check(input, {});
  wanted.tags = read_tags(input.tags);
  w::CreateTargetGroupOutput output;
  output.target_groups.push_back(to_wire(elb, elb.create_target_group(wanted)));
  return output;
}

w::DescribeTargetGroupsOutput describe_target_groups(Elb& elb, const w::DescribeTargetGroupsInput& input) {
  only<w::DescribeTargetGroups>(input, {"LoadBalancerArn", "TargetGroupArns", "Names", "Marker", "PageSize"});
  int ways =
      (input.load_balancer_arn ? 1 : 0) + (input.target_group_arns.empty() ? 0 : 1) + (input.names.empty() ? 0 : 1);
  if (ways > 1) {
    throw ApiError("ValidationError",
                   "Target group ARNs, names and a load balancer ARN cannot be specified at the same time");
  }
  std::vector<const TargetGroup*> all;
  if (input.load_balancer_arn) elb.load_balancer(LoadBalancerArn(*input.load_balancer_arn));
  std::size_t found_names = 0;
  for (const TargetGroup* one : elb.target_groups()) {
    auto holds = [&](const std::vector<std::string>& list, const std::string& value) {
      return std::find(list.begin(), list.end(), value) != list.end();
    };
    if (input.load_balancer_arn) {
      auto owners = elb.load_balancers_of(one->arn);
      if (owners.empty() || owners[0].str() != *input.load_balancer_arn) continue;
    }
    if (!input.names.empty() && !holds(input.names, one->name)) continue;
    found_names += input.names.empty() ? 0 : 1;
    if (!input.target_group_arns.empty() && !holds(input.target_group_arns, one->arn.str())) continue;
    all.push_back(one);
  }
  for (const std::string& arn : input.target_group_arns) elb.target_group(TargetGroupArn(arn));
  if (found_names < input.names.size()) throw ApiError("TargetGroupNotFound", "One or more target groups not found");
  w::DescribeTargetGroupsOutput output;
  for (const TargetGroup* one :
       page(all, input.marker, input.page_size, output.next_marker, [](auto* item) { return item->name; })) {
    output.target_groups.push_back(to_wire(elb, *one));
  }
  return output;
}

std::vector<TargetKey> read_targets(const std::vector<w::TargetDescription>& targets) {
  std::vector<TargetKey> keys;
  for (const w::TargetDescription& target : targets) {
    if (target.availability_zone || target.quic_server_id) {
      throw ApiError("ValidationError", "A target that is an instance takes an Id and a Port only");
    }
    keys.push_back({target.id.value_or(""), narrow(target.port.value_or(0))});
  }
  return keys;
}

w::TargetHealthDescription to_wire(const TargetReport& report) {
  w::TargetHealthDescription result;
  w::TargetDescription& target = result.target.emplace();
  target.id = report.target.id;
  target.port = report.target.port;
  if (!report.health_check_port.empty()) result.health_check_port = report.health_check_port;
  w::TargetHealth& health = result.target_health.emplace();
  health.state = to_string(report.health.state);
  if (!report.health.reason.empty()) health.reason = report.health.reason;
  if (!report.health.description.empty()) health.description = report.health.description;
  return result;
}

w::DescribeTargetHealthOutput describe_target_health(Elb& elb, const w::DescribeTargetHealthInput& input) {
  only<w::DescribeTargetHealth>(input, {"TargetGroupArn", "Targets"});
  TargetGroupArn arn(input.target_group_arn.value_or(""));
  std::vector<TargetReport> reports = elb.target_reports(arn);
  w::DescribeTargetHealthOutput output;
  if (input.targets.empty()) {
    for (const TargetReport& report : reports) output.target_health_descriptions.push_back(to_wire(report));
  }
  for (TargetKey key : read_targets(input.targets)) {
    if (key.port == 0) key.port = elb.target_group(arn).port;
    auto found =
        std::find_if(reports.begin(), reports.end(), [&](const TargetReport& report) { return report.target == key; });
    TargetReport report{key, "", elb.target_health(arn, key)};
    output.target_health_descriptions.push_back(to_wire(found == reports.end() ? report : *found));
  }
  return output;
}

void serve_attributes(Handlers& handlers, Elb& elb) {
  handlers.on<w::DescribeTargetGroupAttributes>([&elb](const Call&, const auto& input) {
    w::DescribeTargetGroupAttributesOutput output;
    for (const auto& [key, value] : elb.attributes(TargetGroupArn(input.target_group_arn.value_or("")))) {
      output.attributes.push_back({key, value});
    }
    return output;
  });
  handlers.on<w::ModifyTargetGroupAttributes>([&elb](const Call&, const auto& input) {
    TargetGroupArn arn(input.target_group_arn.value_or(""));
    std::map<std::string, std::string> changes;
    for (const auto& one : input.attributes) changes[one.key.value_or("")] = one.value.value_or("");
    elb.set_attributes(arn, changes);
    w::ModifyTargetGroupAttributesOutput output;
    for (const auto& [key, value] : elb.attributes(arn)) output.attributes.push_back({key, value});
    return output;
  });
}

}  // namespace

void serve_targets(Handlers& handlers, Elb& elb) {
  handlers.on<w::CreateTargetGroup>([&elb](const Call&, const auto& input) { return create_target_group(elb, input); });
  handlers.on<w::DescribeTargetGroups>(
      [&elb](const Call&, const auto& input) { return describe_target_groups(elb, input); });
  handlers.on<w::ModifyTargetGroup>([&elb](const Call&, const auto& input) {
    TargetGroupArn arn(input.target_group_arn.value_or(""));
    elb.modify_health_check(arn, read_check(input, elb.target_group(arn).check));
    w::ModifyTargetGroupOutput output;
    output.target_groups.push_back(to_wire(elb, elb.target_group(arn)));
    return output;
  });
  handlers.on<w::DeleteTargetGroup>([&elb](const Call&, const auto& input) {
    elb.delete_target_group(TargetGroupArn(input.target_group_arn.value_or("")));
    return w::DeleteTargetGroupOutput{};
  });
  handlers.on<w::RegisterTargets>([&elb](const Call&, const auto& input) {
    elb.register_targets(TargetGroupArn(input.target_group_arn.value_or("")), read_targets(input.targets));
    return w::RegisterTargetsOutput{};
  });
  handlers.on<w::DeregisterTargets>([&elb](const Call&, const auto& input) {
    elb.deregister_targets(TargetGroupArn(input.target_group_arn.value_or("")), read_targets(input.targets));
    return w::DeregisterTargetsOutput{};
  });
  // Only for targets that are named: who asks for all of them wants to see where they stand.
  handlers.when<w::DescribeTargetHealth>([&elb](const w::DescribeTargetHealthInput& input) {
    if (input.targets.empty()) return true;
    const auto named = describe_target_health(elb, input).target_health_descriptions;
    return std::none_of(named.begin(), named.end(), [](const w::TargetHealthDescription& one) {
      return one.target_health->state == "initial" || one.target_health->state == "draining";
    });
  });
  handlers.on<w::DescribeTargetHealth>(
      [&elb](const Call&, const auto& input) { return describe_target_health(elb, input); });
  serve_attributes(handlers, elb);
}

}  // namespace kiln::region::elb
