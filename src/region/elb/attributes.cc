// Attributes: the named settings of load balancers and target groups, checked and explained as ELBv2 does.
#include "region/elb/attributes.h"

#include <fmt/format.h>

#include "base/text.h"
#include "region/api_error.h"

namespace kiln::region::elb {

namespace {

// Settings that AWS has and the region keeps at AWS's default only.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html
const Attributes& fixed_group_attributes() {
  static const Attributes fixed{
      {"stickiness.type", "lb_cookie"},
      {"stickiness.app_cookie.cookie_name", ""},
      {"stickiness.app_cookie.duration_seconds", "86400"},
      {"load_balancing.cross_zone.enabled", "use_load_balancer_configuration"},
      {"load_balancing.algorithm.anomaly_mitigation", "off"},
      {"target_group_health.dns_failover.minimum_healthy_targets.count", "1"},
      {"target_group_health.dns_failover.minimum_healthy_targets.percentage", "off"},
      {"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1"},
      {"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off"},
  };
  return fixed;
}

// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html
const Attributes& fixed_balancer_attributes() {
  static const Attributes fixed{
      {"access_logs.s3.enabled", "false"},
      {"access_logs.s3.bucket", ""},
      {"access_logs.s3.prefix", ""},
      {"client_keep_alive.seconds", "3600"},
      {"connection_logs.s3.enabled", "false"},
      {"connection_logs.s3.bucket", ""},
      {"connection_logs.s3.prefix", ""},
      {"health_check_logs.s3.enabled", "false"},
      {"health_check_logs.s3.bucket", ""},
      {"health_check_logs.s3.prefix", ""},
      {"ipv6.deny_all_igw_traffic", "false"},
      {"load_balancing.cross_zone.enabled", "true"},
      {"routing.http.desync_mitigation_mode", "defensive"},
      {"routing.http.drop_invalid_header_fields.enabled", "false"},
      {"routing.http.preserve_host_header.enabled", "false"},
      {"routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false"},
      {"routing.http.xff_client_port.enabled", "false"},
      {"routing.http.xff_header_processing.mode", "append"},
      {"routing.http2.enabled", "true"},
      {"waf.fail_open.enabled", "false"},
      {"zonal_shift.config.enabled", "false"},
  };
  return fixed;
}

[[noreturn]] void refuse(const std::string& message) { throw ApiError("InvalidConfigurationRequest", message); }

int number(const std::string& key, const std::string& value, int least, int most) {
  auto parsed = parse_int(value);
  if (!parsed || *parsed < least || *parsed > most) {
    refuse(fmt::format("The value '{}' of attribute '{}' must be between {} and {}", value, key, least, most));
  }
  return static_cast<int>(*parsed);
}

bool boolean(const std::string& key, const std::string& value) {
  if (value != "true" && value != "false")
    refuse(fmt::format("The value '{}' of attribute '{}' must be true or false", value, key));
  return value == "true";
}

void check_fixed(const Attributes& fixed, const std::string& kind, const std::string& key, const std::string& value) {
  auto found = fixed.find(key);
  if (found == fixed.end()) refuse(fmt::format("{} attribute key '{}' is not recognized", kind, key));
  if (found->second != value) {
    refuse(fmt::format("Kiln's region serves the {} attribute '{}' with its default '{}' only, not with '{}'",
                       to_lower(kind), key, found->second, value));
  }
}

void apply_one(TargetGroupAttributes& attributes, const std::string& key, const std::string& value) {
  if (key == "deregistration_delay.timeout_seconds") {
    attributes.deregistration_delay_seconds = number(key, value, 0, 3600);
  } else if (key == "slow_start.duration_seconds") {
    attributes.slow_start_seconds = value == "0" ? 0 : number(key, value, 30, 900);
  } else if (key == "stickiness.enabled") {
    attributes.sticky = boolean(key, value);
  } else if (key == "stickiness.lb_cookie.duration_seconds") {
    attributes.sticky_seconds = number(key, value, 1, 604'800);
  } else if (key == "load_balancing.algorithm.type") {
    if (value != "round_robin" && value != "least_outstanding_requests") {
      refuse(fmt::format(
          "Kiln's region serves the load balancing algorithms round_robin and least_outstanding_requests, not '{}'",
          value));
    }
    attributes.algorithm = value;
  } else {
    check_fixed(fixed_group_attributes(), "Target group", key, value);
  }
}

}  // namespace

void apply_attributes(TargetGroupAttributes& attributes, const Attributes& changes) {
  TargetGroupAttributes next = attributes;
  for (const auto& [key, value] : changes) apply_one(next, key, value);
  if (next.slow_start_seconds > 0 && next.algorithm != "round_robin") {
    refuse("Slow start mode cannot be used with the least_outstanding_requests algorithm");
  }
  attributes = next;
}

Attributes all_attributes(const TargetGroupAttributes& attributes) {
  Attributes all = fixed_group_attributes();
  all["deregistration_delay.timeout_seconds"] = std::to_string(attributes.deregistration_delay_seconds);
  all["slow_start.duration_seconds"] = std::to_string(attributes.slow_start_seconds);
  all["stickiness.enabled"] = attributes.sticky ? "true" : "false";
  all["stickiness.lb_cookie.duration_seconds"] = std::to_string(attributes.sticky_seconds);
  all["load_balancing.algorithm.type"] = attributes.algorithm;
  return all;
}

void apply_attributes(LoadBalancer& load_balancer, const Attributes& changes) {
  Attributes next = load_balancer.attributes;
  for (const auto& [key, value] : changes) {
    if (key == "idle_timeout.timeout_seconds") {
      number(key, value, 1, 4000);
    } else if (key == "deletion_protection.enabled") {
      boolean(key, value);
    } else {
      check_fixed(fixed_balancer_attributes(), "Load balancer", key, value);
    }
    next[key] = value;
  }
  load_balancer.attributes = next;
}

Attributes all_attributes(const LoadBalancer& load_balancer) {
  Attributes all = fixed_balancer_attributes();
  all["idle_timeout.timeout_seconds"] = "60";
  all["deletion_protection.enabled"] = "false";
  for (const auto& [key, value] : load_balancer.attributes) all[key] = value;
  return all;
}

int idle_seconds(const LoadBalancer& load_balancer) {
  auto found = load_balancer.attributes.find("idle_timeout.timeout_seconds");
  return found == load_balancer.attributes.end() ? 60 : static_cast<int>(parse_int(found->second).value_or(60));
}

bool deletion_protected(const LoadBalancer& load_balancer) {
  auto found = load_balancer.attributes.find("deletion_protection.enabled");
  return found != load_balancer.attributes.end() && found->second == "true";
}

}  // namespace kiln::region::elb
