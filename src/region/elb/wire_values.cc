// Wire values: ELBv2's things as AWS's structures, and the parts of requests as ours.
#include "region/elb/wire_values.h"

#include <fmt/format.h>

namespace kiln::region::elb {

namespace {

// Of us-east-1; clients use it for alias records, which the region does not serve.
constexpr const char* kHostedZone = "Z35SXDOTRQ7X7K";

int weight_of(const wire::elb::TargetGroupTuple& tuple) {
  std::int64_t weight = tuple.weight.value_or(1);
  return static_cast<int>(std::clamp<std::int64_t>(weight, -1, 1000));  // what is out of range stays so
}

}  // namespace

std::vector<wire::elb::Tag> to_wire(const Tags& tags) {
  std::vector<wire::elb::Tag> result;
  for (const auto& [key, value] : tags) result.push_back({key, value});
  return result;
}

wire::elb::LoadBalancer to_wire(const Elb& elb, const LoadBalancer& value) {
  wire::elb::LoadBalancer result;
  result.load_balancer_arn = value.arn.str();
  result.dns_name = value.address;
  result.canonical_hosted_zone_id = kHostedZone;
  result.created_time = value.created;
  result.load_balancer_name = value.name;
  result.scheme = value.scheme;
  result.vpc_id = value.vpc_id;
  result.state.emplace().code = elb.active(value) ? "active" : "provisioning";
  result.type = "application";
  for (const Zone& zone : value.zones) {
    wire::elb::AvailabilityZone one;
    one.zone_name = zone.name;
    one.subnet_id = zone.subnet_id;
    result.availability_zones.push_back(std::move(one));
  }
  result.security_groups = value.security_groups;
  result.ip_address_type = value.ip_address_type;
  return result;
}

wire::elb::TargetGroup to_wire(const Elb& elb, const TargetGroup& value) {
  wire::elb::TargetGroup result;
  result.target_group_arn = value.arn.str();
  result.target_group_name = value.name;
  result.protocol = "HTTP";
  result.port = value.port;
  result.vpc_id = value.vpc_id;
  result.health_check_protocol = "HTTP";
  result.health_check_port = value.check.port;
  result.health_check_enabled = value.check.enabled;
  result.health_check_interval_seconds = value.check.interval_seconds;
  result.health_check_timeout_seconds = value.check.timeout_seconds;
  result.healthy_threshold_count = value.check.healthy_threshold;
  result.unhealthy_threshold_count = value.check.unhealthy_threshold;
  result.health_check_path = value.check.path;
  result.matcher.emplace().http_code = value.check.matcher.text;
  for (const LoadBalancerArn& arn : elb.load_balancers_of(value.arn)) result.load_balancer_arns.push_back(arn.str());
  result.target_type = "instance";
  result.protocol_version = "HTTP1";
  result.ip_address_type = "ipv4";
  return result;
}

// AWS answers a forward action in both forms when it has one group, and as a ForwardConfig always.
wire::elb::Listener to_wire(const Listener& value) {
  wire::elb::Listener result;
  result.listener_arn = value.arn.str();
  result.load_balancer_arn = value.load_balancer.str();
  result.port = value.port;
  result.protocol = "HTTP";
  wire::elb::Action action;
  action.type = "forward";
  if (value.forward.groups.size() == 1) action.target_group_arn = value.forward.groups[0].group.str();
  wire::elb::ForwardActionConfig& config = action.forward_config.emplace();
  for (const WeightedGroup& one : value.forward.groups) config.target_groups.push_back({one.group.str(), one.weight});
  wire::elb::TargetGroupStickinessConfig& sticky = config.target_group_stickiness_config.emplace();
  sticky.enabled = value.forward.sticky;
  if (value.forward.sticky) sticky.duration_seconds = value.forward.sticky_seconds;
  result.default_actions.push_back(std::move(action));
  return result;
}

Tags read_tags(const std::vector<wire::elb::Tag>& tags) {
  Tags result;
  for (const wire::elb::Tag& tag : tags) {
    if (!result.emplace(tag.key.value_or(""), tag.value.value_or("")).second) {
      throw ApiError("DuplicateTagKeys", fmt::format("The tag key '{}' was specified more than once", *tag.key));
    }
  }
  return result;
}

Forward read_actions(const std::vector<wire::elb::Action>& actions) {
  if (actions.size() != 1) {
    throw ApiError(
        "InvalidLoadBalancerAction",
        fmt::format("Kiln's region serves listeners with exactly one default action, not {}", actions.size()));
  }
  const wire::elb::Action& action = actions[0];
  if (action.type.value_or("") != "forward") {
    throw ApiError(
        "InvalidLoadBalancerAction",
        fmt::format("Kiln's region serves actions of type 'forward' only, not '{}'", action.type.value_or("")));
  }
  if (action.redirect_config || action.fixed_response_config || action.authenticate_cognito_config ||
      action.authenticate_oidc_config || action.jwt_validation_config) {
    throw ApiError("InvalidLoadBalancerAction", "A forward action takes TargetGroupArn or ForwardConfig only");
  }
  Forward forward;
  if (action.forward_config) {
    for (const wire::elb::TargetGroupTuple& tuple : action.forward_config->target_groups) {
      forward.groups.push_back({TargetGroupArn(tuple.target_group_arn.value_or("")), weight_of(tuple)});
    }
    if (const auto& sticky = action.forward_config->target_group_stickiness_config;
        sticky && sticky->enabled.value_or(false)) {
      forward.sticky = true;
      forward.sticky_seconds =
          static_cast<int>(std::clamp<std::int64_t>(sticky->duration_seconds.value_or(0), 0, 1'000'000));
    }
  }
  if (action.target_group_arn) {
    TargetGroupArn single(*action.target_group_arn);
    if (forward.groups.empty()) forward.groups.push_back({single, 1});
    // Both forms at once are fine when they say the same.
    if (forward.groups.size() != 1 || forward.groups[0].group != single) {
      throw ApiError("InvalidLoadBalancerAction",
                     "TargetGroupArn and ForwardConfig of one action name different target groups");
    }
  }
  return forward;
}

}  // namespace kiln::region::elb
