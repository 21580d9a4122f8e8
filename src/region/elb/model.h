// Model: what ELBv2 keeps: load balancers, target groups, listeners and their settings. Values only, no wire types.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/time.h"

namespace kiln::region::elb {

struct LoadBalancerTag;
struct TargetGroupTag;
struct ListenerTag;
using LoadBalancerArn = kiln::Id<LoadBalancerTag>;
using TargetGroupArn = kiln::Id<TargetGroupTag>;
using ListenerArn = kiln::Id<ListenerTag>;

// In order of key, as the tests expect; AWS promises no order.
using Tags = std::map<std::string, std::string>;

struct Zone {
  std::string name;       // "us-east-1a"
  std::string subnet_id;  // "subnet-..."
  bool operator==(const Zone&) const = default;
};

struct LoadBalancer {
  LoadBalancerArn arn;
  std::string name;
  std::string scheme;  // "internet-facing" or "internal"
  std::string vpc_id;
  std::vector<Zone> zones;
  std::vector<std::string> security_groups;
  std::string ip_address_type = "ipv4";
  std::string address;  // its DNSName: "127.77.3.1"
  Time created{};
  Tags tags;
  std::map<std::string, std::string> attributes;  // only those that were set
};

// "200", "200-299", "200,302": which answers are a success. AWS allows 200 to 499.
struct Matcher {
  std::string text = "200";
  bool matches(int status) const;
  // Nullopt when `text` is not a matcher that AWS accepts.
  static std::optional<Matcher> parse(const std::string& text);
  bool operator==(const Matcher&) const = default;
};

// Defaults are those of the API for an HTTP target group.
struct HealthCheck {
  bool enabled = true;
  std::string port = "traffic-port";  // or a number
  std::string path = "/";
  int interval_seconds = 30;    // 5 to 300
  int timeout_seconds = 5;      // 2 to 120, shorter than the interval
  int healthy_threshold = 5;    // 2 to 10
  int unhealthy_threshold = 2;  // 2 to 10
  Matcher matcher;
  bool operator==(const HealthCheck&) const = default;
};

struct TargetGroupAttributes {
  int deregistration_delay_seconds = 300;  // 0 to 3600
  int slow_start_seconds = 0;              // 0, or 30 to 900
  bool sticky = false;                     // lb_cookie: AWSALB
  int sticky_seconds = 86'400;             // 1 to 604,800
  std::string algorithm = "round_robin";   // or "least_outstanding_requests"
  bool operator==(const TargetGroupAttributes&) const = default;
};

// AWS: the same instance may be registered on several ports; each is a target of its own.
struct TargetKey {
  std::string id;  // "i-..."
  int port = 0;
  auto operator<=>(const TargetKey&) const = default;
};

struct TargetGroup {
  TargetGroupArn arn;
  std::string name;
  std::string vpc_id;
  int port = 80;
  HealthCheck check;
  TargetGroupAttributes attributes;
  Time created{};
  Tags tags;
};

struct WeightedGroup {
  TargetGroupArn group;
  int weight = 1;  // 0 to 999, relative to the sum
  bool operator==(const WeightedGroup&) const = default;
};

// A forward action. What the caller wrote as a single TargetGroupArn is kept as one group of weight 1, as AWS answers
// it.
struct Forward {
  std::vector<WeightedGroup> groups;  // 1 to 5, each once
  bool sticky = false;                // AWSALBTG
  int sticky_seconds = 0;             // 1 to 604,800 when `sticky`
  bool operator==(const Forward&) const = default;
};

struct Listener {
  ListenerArn arn;
  LoadBalancerArn load_balancer;
  int port = 80;
  Forward forward;
  Tags tags;
};

enum class TargetState { initial, healthy, unhealthy, unused, draining, unavailable };
// As the API writes it.
std::string to_string(TargetState state);

// `reason` and `description` are AWS's; empty for a healthy target.
struct TargetHealth {
  TargetState state = TargetState::unused;
  std::string reason;
  std::string description;
  bool operator==(const TargetHealth&) const = default;
};

}  // namespace kiln::region::elb
