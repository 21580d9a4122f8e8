// Elb: its beginning, its journal, and what it tells the data plane.
#include "region/elb/elb.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "region/api_error.h"
#include "region/elb/attributes.h"
#include "region/elb/state.h"
#include "region/journal.h"
#include "region/loopback_pool.h"

namespace kiln::region::elb {

namespace {

constexpr Duration kRetryMost{30'000};
constexpr Duration kSlowStartStep{1'000};
// The first change goes out at once; of a thousand targets that become healthy one after another, many go out together.
constexpr Duration kSendPace{20};
constexpr std::size_t kTagsMost = 50;

}  // namespace

Elb::Elb(host::Loop& loop, host::Random& random, Tables& journal, const Ec2View& ec2, Balancer& balancer,
         Prober& prober, LoopbackPool& addresses, Options options)
    : state_(std::make_unique<State>(loop, random, journal, ec2, balancer, prober, addresses, std::move(options))) {}

Elb::~Elb() = default;

void Elb::open() {
  State& state = *state_;
  for (const auto& [key, text] : state.journal.load(kLoadBalancerTable)) {
    LoadBalancer value = read_load_balancer(text);
    state.addresses.reserve(value.address);
    state.balancers.emplace(value.arn, value);
  }
  for (const auto& [key, text] : state.journal.load(kTargetGroupTable)) {
    Group group;
    group.settings = read_target_group(text);
    state.groups.emplace(group.settings.arn, std::move(group));
  }
  for (const auto& [key, text] : state.journal.load(kListenerTable)) {
    Listener value = read_listener(text);
    state.listeners.emplace(value.arn, value);
  }
  for (const auto& [key, text] : state.journal.load(kTargetTable)) state.resume_target(read_target(text));
  // What changed in EC2 while we were away.
  std::set<std::string> instances;
  for (const auto& [arn, group] : state.groups) {
    for (const auto& [key, target] : group.targets) instances.insert(key.id);
  }
  for (const std::string& id : instances) instance_changed(id);
  state.sync();
}

BalancerState Elb::wanted() const { return state_->wanted(); }

void Elb::on_load_balancer_change(std::function<void()> listener) {
  state_->balancer_listeners.push_back(std::move(listener));
}

LoadBalancer& Elb::State::need(const LoadBalancerArn& arn) {
  auto found = balancers.find(arn);
  if (found == balancers.end()) {
    throw ApiError("LoadBalancerNotFound", fmt::format("Load balancers '[{}]' not found", arn.str()));
  }
  return found->second;
}

Group& Elb::State::need(const TargetGroupArn& arn) {
  auto found = groups.find(arn);
  if (found == groups.end()) {
    throw ApiError("TargetGroupNotFound", fmt::format("Target groups '{}' not found", arn.str()));
  }
  return found->second;
}

Listener& Elb::State::need(const ListenerArn& arn) {
  auto found = listeners.find(arn);
  if (found == listeners.end()) throw ApiError("ListenerNotFound", fmt::format("Listeners '{}' not found", arn.str()));
  return found->second;
}

void Elb::State::save(const LoadBalancer& value) {
  journal.put(kLoadBalancerTable, value.arn.str(), write_record(value));
}
void Elb::State::save(const TargetGroup& value) {
  journal.put(kTargetGroupTable, value.arn.str(), write_record(value));
}
void Elb::State::save(const Listener& value) { journal.put(kListenerTable, value.arn.str(), write_record(value)); }

void Elb::State::save(const TargetGroupArn& group, const Target& target) {
  TargetRecord record{group, target.key, target.progress, target.checking, target.draining, target.drain_until};
  journal.put(kTargetTable, target_record_key(group, target.key), write_record(record));
}

std::string Elb::State::arn(const std::string& kind_and_name) {
  return fmt::format("arn:aws:elasticloadbalancing:{}:{}:{}/{}", options.region, options.account, kind_and_name,
                     random.hex(16));
}

GroupState Elb::State::wanted_group(const TargetGroupArn& arn, const Group& group) const {
  GroupState result;
  const TargetGroupAttributes& attributes = group.settings.attributes;
  result.key = data_plane_key(group.settings.name, arn.str());
  result.vpc = group.settings.vpc_id;
  result.sticky = attributes.sticky;
  result.sticky_seconds = attributes.sticky_seconds;
  if (const LoadBalancer* owner = balancer_of(arn)) result.idle_seconds = idle_seconds(*owner);
  result.least_outstanding = attributes.algorithm == "least_outstanding_requests";
  std::map<TargetKey, TargetState> states;
  bool any_healthy = false;
  for (const auto& [key, target] : group.targets) {
    states[key] = health_of(arn, group, target).state;
    any_healthy = any_healthy || states[key] == TargetState::healthy;
  }
  for (const auto& [key, target] : group.targets) {
    auto instance = ec2.instance(key.id);
    if (!instance || instance->private_address.empty()) continue;
    // ALB fails open: when no target is healthy, the unhealthy ones get the requests.
    TargetState accepts = any_healthy ? TargetState::healthy : TargetState::unhealthy;
    ServerState server{instance->private_address, key.port, ServerMode::closed, 100};
    if (states[key] == accepts) server.mode = ServerMode::accepting;
    if (target.slow_since) {
      server.share_percent =
          slow_start_share(loop.now() - *target.slow_since, std::chrono::seconds(attributes.slow_start_seconds));
    }
    result.servers.push_back(server);
  }
  return result;
}

BalancerState Elb::State::wanted() const {
  BalancerState state;
  std::set<TargetGroupArn> used;
  for (const auto& [arn, listener] : listeners) {
    const LoadBalancer& owner = balancers.at(listener.load_balancer);
    ListenerState front;
    front.key = data_plane_key("listener", arn.str());
    front.address = owner.address;
    front.port = listener.port;
    front.sticky = listener.forward.sticky;
    front.sticky_seconds = listener.forward.sticky_seconds;
    front.idle_seconds = idle_seconds(owner);
    for (const WeightedGroup& one : listener.forward.groups) {
      front.routes.push_back({data_plane_key(groups.at(one.group).settings.name, one.group.str()), one.weight});
      used.insert(one.group);
    }
    state.listeners.push_back(std::move(front));
  }
  for (const TargetGroupArn& arn : used) state.groups.push_back(wanted_group(arn, groups.at(arn)));
  return state;
}

void Elb::State::sync() {
  if (std::exchange(sync_posted_, true)) return;
  auto task = [this, guard = std::weak_ptr<bool>(alive)] {
    if (!guard.expired()) send();
  };
  Duration since = loop.clock().uptime() - last_send_;
  if (version_ == 0 || since >= kSendPace) {
    loop.post(task);
  } else {
    loop.after(kSendPace - since, task);
  }
}

void Elb::State::send() {
  sync_posted_ = false;
  last_send_ = loop.clock().uptime();
  BalancerState next = wanted();
  bool changed = version_ == 0 || resend_ || next != sent_;
  if (changed) {
    resend_ = false;
    sent_ = next;
    ++version_;
  }
  for (auto& [arn, group] : groups) {
    for (auto& [key, target] : group.targets) {
      if (target.draining && !target.drain_until && target.told_in == 0) target.told_in = version_;
    }
  }
  if (slow_start_under_way() && slow_start_timer_ == 0) {
    slow_start_timer_ = loop.after(kSlowStartStep, [this, guard = std::weak_ptr<bool>(alive)] {
      if (guard.expired()) return;
      slow_start_timer_ = 0;
      sync();
    });
  }
  if (!changed) {
    if (confirmed_ >= version_) confirmed(version_);
    return;
  }
  balancer.apply(std::move(next),
                 [this, guard = std::weak_ptr<bool>(alive), version = version_](std::exception_ptr failure) {
                   if (guard.expired()) return;
                   failure ? failed() : confirmed(version);
                 });
}

// Ends what has run its time, so that the timer stops with the last one.
bool Elb::State::slow_start_under_way() const {
  for (const auto& [arn, group] : groups) {
    Duration length = std::chrono::seconds(group.settings.attributes.slow_start_seconds);
    for (const auto& [key, target] : group.targets) {
      if (target.slow_since && loop.now() - *target.slow_since < length) return true;
    }
  }
  return false;
}

// The data plane has said why in its own log. What is wanted then may be something else than now.
void Elb::State::failed() {
  if (retry_timer_ != 0) return;
  retry_timer_ = loop.after(retry_, [this, guard = std::weak_ptr<bool>(alive)] {
    if (guard.expired()) return;
    retry_timer_ = 0;
    resend_ = true;
    sync();
  });
  retry_ = std::min(retry_ * 2, kRetryMost);
}

void check_name(const std::string& name, const std::string& what) {
  auto refuse = [&](const std::string& why) {
    throw ApiError("ValidationError", fmt::format("The {} name '{}' {}", what, name, why));
  };
  if (name.empty() || name.size() > 32) refuse("must be between 1 and 32 characters long");
  bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; });
  if (!plain) refuse("can only contain characters that are alphanumeric characters and hyphens(-)");
  if (name.front() == '-' || name.back() == '-') refuse("cannot begin or end with a hyphen(-)");
  if (what == "load balancer" && name.starts_with("internal-")) refuse("cannot begin with 'internal-'");
}

void check_tags(const Tags& tags) {
  if (tags.size() > kTagsMost)
    throw ApiError("TooManyTags", fmt::format("The maximum number of tags is {}", kTagsMost));
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > 128 || value.size() > 256) {
      throw ApiError("ValidationError",
                     fmt::format("The tag '{}' has a key of 1 to 128 and a value of at most 256 characters", key));
    }
    if (key.starts_with("aws:")) throw ApiError("ValidationError", "Tag keys that begin with 'aws:' are reserved");
  }
}

std::string data_plane_key(const std::string& prefix, const std::string& arn) {
  return prefix + "-" + arn.substr(arn.rfind('/') + 1);
}

}  // namespace kiln::region::elb
