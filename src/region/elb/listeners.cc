// Listeners: ports of load balancers and the target groups that they forward to.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "region/api_error.h"
#include "region/elb/state.h"
#include "region/journal.h"

namespace kiln::region::elb {

namespace {

// AWS: listeners per load balancer; target groups per forward action.
constexpr std::size_t kListenersMost = 50;
constexpr std::size_t kGroupsMost = 5;

std::set<TargetGroupArn> groups_of(const Forward& forward) {
  std::set<TargetGroupArn> groups;
  for (const WeightedGroup& one : forward.groups) groups.insert(one.group);
  return groups;
}

}  // namespace

void Elb::State::check_forward(const LoadBalancer& owner, const Forward& forward) const {
  if (forward.groups.empty() || forward.groups.size() > kGroupsMost) {
    throw ApiError("ValidationError", fmt::format("A forward action takes 1 to {} target groups, not {}", kGroupsMost,
                                                  forward.groups.size()));
  }
  bool any_sticky = false;
  std::set<TargetGroupArn> seen;
  for (const WeightedGroup& one : forward.groups) {
    auto found = groups.find(one.group);
    if (found == groups.end()) {
      throw ApiError("TargetGroupNotFound", fmt::format("Target groups '{}' not found", one.group.str()));
    }
    if (!seen.insert(one.group).second) {
      throw ApiError("ValidationError", fmt::format("Target group '{}' is named twice in one action", one.group.str()));
    }
    if (one.weight < 0 || one.weight > 999) {
      throw ApiError("ValidationError",
                     fmt::format("The weight '{}' of target group '{}' must be in the range 0 to 999", one.weight,
                                 one.group.str()));
    }
    if (found->second.settings.vpc_id != owner.vpc_id) {
      throw ApiError(
          "InvalidConfigurationRequest",
          fmt::format("Target group '{}' is not in the VPC '{}' of the load balancer", one.group.str(), owner.vpc_id));
    }
    const LoadBalancer* user = balancer_of(one.group);
    if (user != nullptr && user->arn != owner.arn) {
      throw ApiError(
          "TargetGroupAssociationLimit",
          fmt::format("The following target groups cannot be associated with more than one load balancer: {}",
                      one.group.str()));
    }
    any_sticky = any_sticky || found->second.settings.attributes.sticky;
  }
  if (forward.sticky && (forward.sticky_seconds < 1 || forward.sticky_seconds > 604'800)) {
    throw ApiError("ValidationError",
                   fmt::format("Target group stickiness duration '{}' must be in the range 1 to 604800 seconds",
                               forward.sticky_seconds));
  }
  if (forward.groups.size() > 1 && any_sticky && !forward.sticky) {
    throw ApiError(
        "InvalidConfigurationRequest",
        "You must enable group stickiness on an action if you enabled target stickiness on one of its target groups");
  }
}

void Elb::State::check_port(const LoadBalancer& owner, int port) const {
  if (port < 1 || port > 65'535) {
    throw ApiError("ValidationError", fmt::format("The port '{}' must be in the range 1 to 65535", port));
  }
  try {
    balancer.check_free(owner.address, port);
  } catch (const Error& error) {
    // Of this machine, not of AWS: ELBv2 has no code for it.
    throw ApiError("ResourceInUse", fmt::format("{}. {}", error.message(), error.next()));
  }
}

const Listener& Elb::create_listener(const LoadBalancerArn& load_balancer, int port, const Forward& forward,
                                     const Tags& tags) {
  const LoadBalancer& owner = state_->need(load_balancer);
  check_tags(tags);
  state_->check_forward(owner, forward);
  for (const Listener* other : listeners(load_balancer)) {
    if (other->port != port) continue;
    if (other->forward == forward) return *other;
    throw ApiError("DuplicateListener",
                   fmt::format("A listener already exists on this port ({}) for this load balancer '{}'", port,
                               load_balancer.str()));
  }
  if (listeners(load_balancer).size() >= kListenersMost) {
    throw ApiError("TooManyListeners",
                   fmt::format("The maximum number of listeners per load balancer is {}", kListenersMost));
  }
  state_->check_port(owner, port);
  Listener made;
  const std::string& owner_arn = load_balancer.str();
  made.arn = ListenerArn(state_->arn("listener" + owner_arn.substr(owner_arn.find("/app/"))));
  made.load_balancer = load_balancer;
  made.port = port;
  made.forward = forward;
  made.tags = tags;
  state_->save(made);
  const Listener& kept = state_->listeners.emplace(made.arn, made).first->second;
  for (const TargetGroupArn& group : groups_of(forward)) state_->review_all(group);
  state_->sync();
  return kept;
}

const Listener& Elb::modify_listener(const ListenerArn& arn, std::optional<int> port,
                                     const std::optional<Forward>& forward) {
  Listener& listener = state_->need(arn);
  const LoadBalancer& owner = state_->need(listener.load_balancer);
  if (forward) state_->check_forward(owner, *forward);
  if (port && *port != listener.port) {
    for (const Listener* other : listeners(listener.load_balancer)) {
      if (other->port == *port) {
        throw ApiError("DuplicateListener",
                       fmt::format("A listener already exists on this port ({}) for this load balancer '{}'", *port,
                                   owner.arn.str()));
      }
    }
    state_->check_port(owner, *port);
    listener.port = *port;
  }
  std::set<TargetGroupArn> touched = groups_of(listener.forward);
  if (forward) {
    listener.forward = *forward;
    touched.merge(groups_of(*forward));
  }
  state_->save(listener);
  for (const TargetGroupArn& group : touched) state_->review_all(group);
  state_->sync();
  return listener;
}

void Elb::delete_listener(const ListenerArn& arn) {
  Listener& listener = state_->need(arn);
  std::set<TargetGroupArn> touched = groups_of(listener.forward);
  state_->listeners.erase(arn);
  state_->journal.erase(kListenerTable, arn.str());
  for (const TargetGroupArn& group : touched) state_->review_all(group);
  state_->sync();
}

std::vector<const Listener*> Elb::listeners(const LoadBalancerArn& load_balancer) const {
  std::vector<const Listener*> all;
  for (const auto& [arn, listener] : state_->listeners) {
    if (listener.load_balancer == load_balancer) all.push_back(&listener);
  }
  std::sort(all.begin(), all.end(), [](auto* one, auto* other) { return one->port < other->port; });
  return all;
}

const Listener& Elb::listener(const ListenerArn& arn) const { return state_->need(arn); }

}  // namespace kiln::region::elb
