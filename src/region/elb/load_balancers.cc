// Load balancers: making, changing and deleting them.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "region/api_error.h"
#include "region/elb/attributes.h"
#include "region/elb/state.h"
#include "region/journal.h"
#include "region/loopback_pool.h"

namespace kiln::region::elb {

namespace {

// AWS: Application Load Balancers per region, by default 50; and as many loopback addresses are set aside.
constexpr std::size_t kLoadBalancersMost = 50;
// AWS says "provisioning" for minutes; here the address is there at once, so clients see the state and no more.
constexpr Duration kProvisioning{100};

std::vector<Zone> zones_of(const Ec2View& ec2, const std::vector<std::string>& subnets, std::string& vpc_id) {
  std::vector<Zone> zones;
  for (const std::string& id : subnets) {
    auto subnet = ec2.subnet(id);
    if (!subnet) throw ApiError("SubnetNotFound", fmt::format("The subnet ID '{}' does not exist", id));
    if (!vpc_id.empty() && vpc_id != subnet->vpc_id) {
      throw ApiError("InvalidConfigurationRequest", "All subnets must belong to the same VPC");
    }
    vpc_id = subnet->vpc_id;
    for (const Zone& zone : zones) {
      if (zone.name != subnet->zone) continue;
      throw ApiError(
          "InvalidConfigurationRequest",
          fmt::format("A load balancer cannot be attached to multiple subnets in the same Availability Zone ('{}')",
                      zone.name));
    }
    zones.push_back({subnet->zone, id});
  }
  if (zones.size() < 2) {
    throw ApiError("ValidationError", "At least two subnets in two different Availability Zones must be specified");
  }
  std::sort(zones.begin(), zones.end(), [](const Zone& one, const Zone& other) { return one.name < other.name; });
  return zones;
}

std::vector<std::string> groups_of(const Ec2View& ec2, const std::vector<std::string>& wanted,
                                   const std::string& vpc_id) {
  if (wanted.empty()) return {ec2.default_security_group(vpc_id)};
  for (const std::string& id : wanted) {
    auto vpc = ec2.security_group_vpc(id);
    if (!vpc) throw ApiError("InvalidSecurityGroup", fmt::format("The security group '{}' does not exist", id));
    if (*vpc != vpc_id) {
      throw ApiError("InvalidSecurityGroup", fmt::format("The security group '{}' is not in the VPC '{}'", id, vpc_id));
    }
  }
  std::vector<std::string> groups = wanted;
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

}  // namespace

const LoadBalancer& Elb::create_load_balancer(const NewLoadBalancer& wanted) {
  check_name(wanted.name, "load balancer");
  check_tags(wanted.tags);
  if (wanted.scheme != "internet-facing" && wanted.scheme != "internal") {
    throw ApiError("InvalidScheme", fmt::format("The scheme '{}' is not valid", wanted.scheme));
  }
  LoadBalancer made;
  made.name = wanted.name;
  made.scheme = wanted.scheme;
  made.zones = zones_of(state_->ec2, wanted.subnets, made.vpc_id);
  made.security_groups = groups_of(state_->ec2, wanted.security_groups, made.vpc_id);
  for (const auto& [arn, other] : state_->balancers) {
    if (other.name != wanted.name) continue;
    if (other.zones == made.zones && other.security_groups == made.security_groups && other.scheme == made.scheme &&
        (wanted.tags.empty() || wanted.tags == other.tags)) {
      return other;
    }
    throw ApiError(
        "DuplicateLoadBalancerName",
        fmt::format("A load balancer with the same name '{}' exists, but with different settings", wanted.name));
  }
  if (state_->balancers.size() >= kLoadBalancersMost) {
    throw ApiError("TooManyLoadBalancers",
                   fmt::format("The maximum number of load balancers is {}", kLoadBalancersMost));
  }
  made.address = state_->addresses.take(LoopbackPool::Use::load_balancer);
  if (made.address.empty()) {
    throw ApiError("TooManyLoadBalancers", "This region's host has no address left for another load balancer");
  }
  made.arn = LoadBalancerArn(state_->arn("loadbalancer/app/" + wanted.name));
  made.created = state_->loop.now();
  made.tags = wanted.tags;
  state_->save(made);
  const LoadBalancer& kept = state_->balancers.emplace(made.arn, made).first->second;
  for (const auto& listener : state_->balancer_listeners) listener();
  return kept;
}

void Elb::delete_load_balancer(const LoadBalancerArn& arn) {
  auto found = state_->balancers.find(arn);
  if (found == state_->balancers.end()) return;
  if (deletion_protected(found->second)) {
    throw ApiError(
        "OperationNotPermitted",
        fmt::format("Load balancer '{}' cannot be deleted because deletion protection is enabled", arn.str()));
  }
  std::vector<ListenerArn> leaving;
  for (const Listener* listener : listeners(arn)) leaving.push_back(listener->arn);
  for (const ListenerArn& listener : leaving) delete_listener(listener);
  state_->addresses.release(found->second.address);
  state_->balancers.erase(found);
  state_->journal.erase(kLoadBalancerTable, arn.str());
  for (const auto& listener : state_->balancer_listeners) listener();
}

std::vector<const LoadBalancer*> Elb::load_balancers() const {
  std::vector<const LoadBalancer*> all;
  for (const auto& [arn, value] : state_->balancers) all.push_back(&value);
  std::sort(all.begin(), all.end(), [](auto* one, auto* other) { return one->name < other->name; });
  return all;
}

const LoadBalancer& Elb::load_balancer(const LoadBalancerArn& arn) const { return state_->need(arn); }

bool Elb::active(const LoadBalancer& load_balancer) const {
  return state_->loop.now() - load_balancer.created >= kProvisioning;
}

void Elb::set_attributes(const LoadBalancerArn& arn, const std::map<std::string, std::string>& attributes) {
  LoadBalancer& value = state_->need(arn);
  apply_attributes(value, attributes);
  state_->save(value);
  state_->sync();
}

std::map<std::string, std::string> Elb::attributes(const LoadBalancerArn& arn) const {
  return all_attributes(state_->need(arn));
}

bool Elb::uses(const std::string& ec2_id) const {
  return std::any_of(state_->balancers.begin(), state_->balancers.end(), [&](const auto& entry) {
    const LoadBalancer& one = entry.second;
    return one.vpc_id == ec2_id ||
           std::find(one.security_groups.begin(), one.security_groups.end(), ec2_id) != one.security_groups.end() ||
           std::any_of(one.zones.begin(), one.zones.end(), [&](const Zone& zone) { return zone.subnet_id == ec2_id; });
  });
}

const Tags& Elb::tags_of(const std::string& arn) const {
  if (arn.find(":targetgroup/") != std::string::npos) return state_->need(TargetGroupArn(arn)).settings.tags;
  if (arn.find(":listener/") != std::string::npos) return state_->need(ListenerArn(arn)).tags;
  if (arn.find(":loadbalancer/") != std::string::npos) return state_->need(LoadBalancerArn(arn)).tags;
  throw ApiError("ValidationError",
                 fmt::format("'{}' is not a valid load balancer, target group or listener ARN", arn));
}

void Elb::set_tags(const std::string& arn, const Tags& tags) {
  check_tags(tags);
  tags_of(arn);
  auto change = [&](auto& value) {
    value.tags = tags;
    state_->save(value);
  };
  if (arn.find(":targetgroup/") != std::string::npos) return change(state_->need(TargetGroupArn(arn)).settings);
  if (arn.find(":listener/") != std::string::npos) return change(state_->need(ListenerArn(arn)));
  change(state_->need(LoadBalancerArn(arn)));
}

}  // namespace kiln::region::elb
