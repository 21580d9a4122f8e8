// Target groups: making, changing and deleting them.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/text.h"
#include "region/api_error.h"
#include "region/elb/attributes.h"
#include "region/elb/state.h"
#include "region/journal.h"

namespace kiln::region::elb {

namespace {

// AWS: target groups per region.
constexpr std::size_t kTargetGroupsMost = 3000;

[[noreturn]] void refuse(const std::string& message) { throw ApiError("ValidationError", message); }

void check_range(const char* what, int value, int least, int most) {
  if (value < least || value > most)
    refuse(fmt::format("{} '{}' must be in the range {} to {}", what, value, least, most));
}

void check_health_check(const HealthCheck& check) {
  check_range("Health check interval", check.interval_seconds, 5, 300);
  check_range("Health check timeout", check.timeout_seconds, 2, 120);
  check_range("Healthy threshold count", check.healthy_threshold, 2, 10);
  check_range("Unhealthy threshold count", check.unhealthy_threshold, 2, 10);
  if (check.timeout_seconds >= check.interval_seconds) {
    refuse(fmt::format("Health check timeout '{}' must be smaller than the interval '{}'", check.timeout_seconds,
                       check.interval_seconds));
  }
  if (!check.enabled) refuse("Health checks cannot be disabled for target groups with target type 'instance'");
  bool plain = std::all_of(check.path.begin(), check.path.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (!check.path.starts_with('/') || check.path.size() > 1024 || !plain) {
    refuse(fmt::format(
        "Health check path '{}' must begin with '/', be at most 1024 characters long and hold none that need escaping",
        check.path));
  }
  if (check.port != "traffic-port") {
    auto port = parse_int(check.port);
    if (!port || *port < 1 || *port > 65'535) {
      refuse(fmt::format("Health check port '{}' must be 'traffic-port' or in the range 1 to 65535", check.port));
    }
  }
  if (!Matcher::parse(check.matcher.text)) {
    refuse(fmt::format("Health check matcher HTTP code '{}' must be within '200-499' inclusive", check.matcher.text));
  }
}

}  // namespace

const TargetGroup& Elb::create_target_group(const NewTargetGroup& wanted) {
  check_name(wanted.name, "target group");
  check_tags(wanted.tags);
  check_range("Port", wanted.port, 1, 65'535);
  check_health_check(wanted.check);
  if (!state_->ec2.vpc_exists(wanted.vpc_id)) refuse(fmt::format("The VPC ID '{}' is not found", wanted.vpc_id));
  for (const auto& [arn, other] : state_->groups) {
    const TargetGroup& there = other.settings;
    if (there.name != wanted.name) continue;
    if (there.vpc_id == wanted.vpc_id && there.port == wanted.port && there.check == wanted.check &&
        (wanted.tags.empty() || wanted.tags == there.tags)) {
      return there;
    }
    throw ApiError(
        "DuplicateTargetGroupName",
        fmt::format("A target group with the same name '{}' exists, but with different settings", wanted.name));
  }
  if (state_->groups.size() >= kTargetGroupsMost) {
    throw ApiError("TooManyTargetGroups", fmt::format("The maximum number of target groups is {}", kTargetGroupsMost));
  }
  Group group;
  group.settings.arn = TargetGroupArn(state_->arn("targetgroup/" + wanted.name));
  group.settings.name = wanted.name;
  group.settings.vpc_id = wanted.vpc_id;
  group.settings.port = wanted.port;
  group.settings.check = wanted.check;
  group.settings.created = state_->loop.now();
  group.settings.tags = wanted.tags;
  state_->save(group.settings);
  TargetGroupArn arn = group.settings.arn;
  return state_->groups.emplace(arn, std::move(group)).first->second.settings;
}

void Elb::modify_health_check(const TargetGroupArn& arn, const HealthCheck& check) {
  Group& group = state_->need(arn);
  check_health_check(check);
  if (group.settings.check == check) return;
  group.settings.check = check;
  state_->save(group.settings);
  state_->restart_checks(arn);
}

void Elb::set_attributes(const TargetGroupArn& arn, const std::map<std::string, std::string>& attributes) {
  Group& group = state_->need(arn);
  apply_attributes(group.settings.attributes, attributes);
  state_->save(group.settings);
  state_->sync();
}

std::map<std::string, std::string> Elb::attributes(const TargetGroupArn& arn) const {
  return all_attributes(state_->need(arn).settings.attributes);
}

void Elb::delete_target_group(const TargetGroupArn& arn) {
  auto found = state_->groups.find(arn);
  if (found == state_->groups.end()) return;  // as AWS: it is gone, which is what was asked
  if (state_->balancer_of(arn) != nullptr) {
    throw ApiError("ResourceInUse",
                   fmt::format("Target group '{}' is currently in use by a listener or a rule", arn.str()));
  }
  std::vector<TargetKey> keys;
  for (const auto& [key, target] : found->second.targets) keys.push_back(key);
  for (const TargetKey& key : keys) state_->remove_target(arn, key);
  state_->groups.erase(arn);
  state_->journal.erase(kTargetGroupTable, arn.str());
}

std::vector<const TargetGroup*> Elb::target_groups() const {
  std::vector<const TargetGroup*> all;
  for (const auto& [arn, group] : state_->groups) all.push_back(&group.settings);
  std::sort(all.begin(), all.end(), [](auto* one, auto* other) { return one->name < other->name; });
  return all;
}

bool Elb::has_target_group(const TargetGroupArn& arn) const { return state_->groups.contains(arn); }

const TargetGroup& Elb::target_group(const TargetGroupArn& arn) const { return state_->need(arn).settings; }

std::vector<LoadBalancerArn> Elb::load_balancers_of(const TargetGroupArn& arn) const {
  const LoadBalancer* owner = state_->balancer_of(arn);
  return owner == nullptr ? std::vector<LoadBalancerArn>{} : std::vector<LoadBalancerArn>{owner->arn};
}

}  // namespace kiln::region::elb
