// Targets: registering, probing, draining; who may get requests now.
#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/elb/state.h"
#include "region/journal.h"

namespace kiln::region::elb {

namespace {

// AWS: targets per target group.
constexpr std::size_t kTargetsMost = 1000;
// A new target is asked so often that waiting longer for a connection only delays its first answer.
constexpr Duration kQuickConnect{300};

std::string name_of(InstancePhase phase) {
  switch (phase) {
    case InstancePhase::pending:
      return "pending";
    case InstancePhase::running:
      return "running";
    case InstancePhase::stopping:
      return "stopping";
    case InstancePhase::stopped:
      return "stopped";
    case InstancePhase::shutting_down:
      return "shutting-down";
    case InstancePhase::terminated:
      return "terminated";
  }
  return "unknown";
}

void check_new_targets(const Ec2View& ec2, const TargetGroup& group, const std::vector<TargetKey>& targets) {
  std::vector<std::string> invalid;
  std::vector<std::string> stopped;
  for (const TargetKey& target : targets) {
    if (target.port < 0 || target.port > 65'535) {
      throw ApiError("ValidationError",
                     fmt::format("The port '{}' of target '{}' must be between 1 and 65535", target.port, target.id));
    }
    auto instance = ec2.instance(target.id);
    if (!instance || instance->vpc_id != group.vpc_id) {
      invalid.push_back(target.id);
    } else if (instance->phase != InstancePhase::running) {
      stopped.push_back(target.id);
    }
  }
  if (!invalid.empty()) {
    throw ApiError("InvalidTarget", fmt::format("The following targets are not instances of the VPC '{}': '{}'",
                                                group.vpc_id, join(invalid, "', '")));
  }
  if (!stopped.empty()) {
    throw ApiError("InvalidTarget",
                   fmt::format("The following targets are not in a running state and cannot be registered: '{}'",
                               join(stopped, "', '")));
  }
}

}  // namespace

void Elb::register_targets(const TargetGroupArn& arn, const std::vector<TargetKey>& targets) {
  Group& group = state_->need(arn);
  check_new_targets(state_->ec2, group.settings, targets);
  std::size_t fresh = 0;
  for (const TargetKey& target : targets) {
    fresh += group.targets.contains({target.id, target.port == 0 ? group.settings.port : target.port}) ? 0 : 1;
  }
  if (group.targets.size() + fresh > kTargetsMost) {
    throw ApiError("TooManyTargets", fmt::format("The maximum number of targets per target group is {}", kTargetsMost));
  }
  for (const TargetKey& wanted : targets) {
    TargetKey key{wanted.id, wanted.port == 0 ? group.settings.port : wanted.port};
    auto found = group.targets.find(key);
    if (found != group.targets.end() && !found->second.draining) continue;
    if (found != group.targets.end()) state_->loop.cancel(found->second.timer);
    std::uint64_t epoch = found == group.targets.end() ? 0 : found->second.epoch + 1;
    Target target;
    target.key = key;
    target.epoch = epoch;
    target.progress = begin_checks(state_->loop.now());
    group.targets.insert_or_assign(key, target);
    state_->save(arn, target);
    state_->review(arn, key);
    state_->notify(arn, key);
  }
  state_->sync();
}

void Elb::deregister_targets(const TargetGroupArn& arn, const std::vector<TargetKey>& targets) {
  Group& group = state_->need(arn);
  std::vector<TargetKey> leaving;
  for (const auto& [key, target] : group.targets) {
    bool named = std::any_of(targets.begin(), targets.end(), [&key = key](const TargetKey& one) {
      // Without a port, all of the instance's targets leave.
      return one.id == key.id && (one.port == 0 || one.port == key.port);
    });
    if (named && !target.draining) leaving.push_back(key);
  }
  for (const TargetKey& key : leaving) {
    Target& target = group.targets.at(key);
    auto instance = state_->ec2.instance(key.id);
    bool gone = !instance || instance->phase == InstancePhase::terminated;
    // No request can be under way to a target that no load balancer uses, or that is no more.
    if (gone || state_->balancer_of(arn) == nullptr) {
      state_->remove_target(arn, key);
      continue;
    }
    target.draining = true;
    target.told_in = 0;
    target.drain_until.reset();
    state_->review(arn, key);
    state_->save(arn, target);
    state_->notify(arn, key);
  }
  state_->sync();
}

TargetHealth Elb::target_health(const TargetGroupArn& arn, const TargetKey& key) const {
  const Group& group = state_->need(arn);
  auto found = group.targets.find({key.id, key.port == 0 ? group.settings.port : key.port});
  return found == group.targets.end() ? not_registered() : state_->health_of(arn, group, found->second);
}

std::vector<TargetReport> Elb::target_reports(const TargetGroupArn& arn) const {
  const Group& group = state_->need(arn);
  std::vector<TargetReport> reports;
  for (const auto& [key, target] : group.targets) {
    const std::string& port = group.settings.check.port;
    reports.push_back(
        {key, port == "traffic-port" ? std::to_string(key.port) : port, state_->health_of(arn, group, target)});
  }
  return reports;
}

bool Elb::has_target(const TargetGroupArn& arn, const std::string& instance_id) const {
  const Group& group = state_->need(arn);
  auto found = group.targets.lower_bound({instance_id, 0});
  return found != group.targets.end() && found->first.id == instance_id;
}

void Elb::on_target_change(std::function<void(const TargetGroupArn&, const TargetKey&)> listener) {
  state_->target_listeners.push_back(std::move(listener));
}

void Elb::instance_changed(const std::string& instance_id) {
  auto instance = state_->ec2.instance(instance_id);
  bool gone = !instance || instance->phase == InstancePhase::terminated;
  std::vector<std::pair<TargetGroupArn, TargetKey>> touched;
  for (const auto& [arn, group] : state_->groups) {
    for (auto at = group.targets.lower_bound({instance_id, 0});
         at != group.targets.end() && at->first.id == instance_id; ++at) {
      touched.emplace_back(arn, at->first);
    }
  }
  for (const auto& [arn, key] : touched) {
    if (gone) {
      state_->remove_target(arn, key);
    } else {
      state_->review(arn, key);
      state_->notify(arn, key);
    }
  }
  if (!touched.empty()) state_->sync();
}

// A target group belongs to at most one load balancer (TargetGroupAssociationLimit).
const LoadBalancer* Elb::State::balancer_of(const TargetGroupArn& arn) const {
  for (const auto& [listener_arn, listener] : listeners) {
    for (const WeightedGroup& one : listener.forward.groups) {
      if (one.group == arn) return &balancers.at(listener.load_balancer);
    }
  }
  return nullptr;
}

TargetHealth Elb::State::health_of(const TargetGroupArn& arn, const Group&, const Target& target) const {
  if (target.draining) return deregistering();
  const LoadBalancer* used_by = balancer_of(arn);
  if (used_by == nullptr) return not_in_use();
  auto instance = ec2.instance(target.key.id);
  if (!instance) return invalid_state("terminated");
  if (instance->phase != InstancePhase::running) return invalid_state(name_of(instance->phase));
  bool enabled = std::any_of(used_by->zones.begin(), used_by->zones.end(),
                             [&](const Zone& zone) { return zone.name == instance->zone; });
  if (!enabled) return zone_not_enabled();
  return {target.progress.state, target.progress.reason, target.progress.description};
}

bool Elb::State::should_check(const TargetGroupArn& arn, const Target& target) const {
  TargetState state = health_of(arn, groups.at(arn), target).state;
  return state != TargetState::draining && state != TargetState::unused;
}

void Elb::State::review(const TargetGroupArn& arn, const TargetKey& key) {
  Target& target = groups.at(arn).targets.at(key);
  bool check = should_check(arn, target);
  if (check == target.checking) return;
  target.checking = check;
  ++target.epoch;
  loop.cancel(std::exchange(target.timer, 0));
  target.slow_since.reset();
  target.progress = begin_checks(loop.now());
  if (check) schedule_probe(arn, target, Duration::zero());
  save(arn, target);
}

void Elb::State::review_all(const TargetGroupArn& arn) {
  std::vector<TargetKey> keys;
  for (const auto& [key, target] : groups.at(arn).targets) keys.push_back(key);
  for (const TargetKey& key : keys) {
    bool before = groups.at(arn).targets.at(key).checking;
    review(arn, key);
    // A draining target of a group that no load balancer uses any more has nothing left to finish.
    if (groups.at(arn).targets.at(key).draining && balancer_of(arn) == nullptr) {
      remove_target(arn, key);
    } else if (before != groups.at(arn).targets.at(key).checking) {
      notify(arn, key);
    }
  }
}

void Elb::State::restart_checks(const TargetGroupArn& arn) {
  for (auto& [key, target] : groups.at(arn).targets) {
    if (!target.checking) continue;
    ++target.epoch;
    target.progress.successes = 0;
    target.progress.failures = 0;
    target.progress.counted = loop.now();
    schedule_probe(arn, target, Duration::zero());
  }
}

void Elb::State::schedule_probe(const TargetGroupArn& arn, Target& target, Duration delay) {
  loop.cancel(target.timer);
  target.timer =
      loop.after(delay, [this, guard = std::weak_ptr<bool>(alive), arn, key = target.key, epoch = target.epoch] {
        if (guard.expired()) return;
        auto group = groups.find(arn);
        if (group == groups.end()) return;
        auto found = group->second.targets.find(key);
        if (found == group->second.targets.end() || found->second.epoch != epoch) return;
        found->second.timer = 0;
        probe(arn, key);
      });
}

void Elb::State::probe(const TargetGroupArn& arn, const TargetKey& key) {
  Group& group = groups.at(arn);
  Target& target = group.targets.at(key);
  auto instance = ec2.instance(key.id);
  if (!instance) return;
  const HealthCheck& check = group.settings.check;
  Probe request;
  request.vpc = group.settings.vpc_id;
  request.address = instance->private_address;
  request.port = check.port == "traffic-port" ? key.port : static_cast<int>(parse_int(check.port).value_or(key.port));
  request.path = check.path;
  request.timeout = std::chrono::seconds(check.timeout_seconds);
  request.connect_timeout = target.progress.state == TargetState::initial ? kQuickConnect : request.timeout;
  std::string reason = target.progress.reason;
  on_probe_sent(target.progress);
  if (target.progress.reason != reason) notify(arn, key);
  prober.probe(request,
               [this, guard = std::weak_ptr<bool>(alive), arn, key, epoch = target.epoch](const ProbeResult& result) {
                 if (guard.expired()) return;
                 auto now_group = groups.find(arn);
                 if (now_group == groups.end()) return;
                 auto found = now_group->second.targets.find(key);
                 if (found != now_group->second.targets.end() && found->second.epoch == epoch) probed(arn, key, result);
               });
}

void Elb::State::probed(const TargetGroupArn& arn, const TargetKey& key, const ProbeResult& result) {
  Group& group = groups.at(arn);
  Target& target = group.targets.at(key);
  CheckProgress before = target.progress;
  Duration wait = on_probe_result(target.progress, group.settings.check, result, loop.now(), options.retry);
  // Spread, so that a thousand targets that were registered together are not asked together for ever.
  if (wait >= Duration(1'000))
    wait -= Duration(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(wait.count() / 20))));
  schedule_probe(arn, target, wait);
  if (before.state == target.progress.state && before.reason == target.progress.reason &&
      before.description == target.progress.description) {
    return;
  }
  enter_or_leave_slow_start(arn, group, target, before.state);
  save(arn, target);
  notify(arn, key);
  sync();
}

// ALB: only when the group has a healthy target already that is not in slow start itself; so a fresh group has none.
void Elb::State::enter_or_leave_slow_start(const TargetGroupArn& arn, Group& group, Target& target,
                                           TargetState before) {
  bool was = before == TargetState::healthy;
  bool is = target.progress.state == TargetState::healthy;
  if (!is) target.slow_since.reset();
  if (was || !is || group.settings.attributes.slow_start_seconds == 0) return;
  Duration length = std::chrono::seconds(group.settings.attributes.slow_start_seconds);
  for (const auto& [key, other] : group.targets) {
    if (key == target.key || health_of(arn, group, other).state != TargetState::healthy) continue;
    if (!other.slow_since || loop.now() - *other.slow_since >= length) {
      target.slow_since = loop.now();
      return;
    }
  }
}

void Elb::State::wait_for_drain(const TargetGroupArn& arn, Target& target) {
  loop.cancel(target.timer);
  Duration left = std::max(Duration::zero(), *target.drain_until - loop.now());
  target.timer =
      loop.after(left, [this, guard = std::weak_ptr<bool>(alive), arn, key = target.key, epoch = target.epoch] {
        if (guard.expired()) return;
        auto group = groups.find(arn);
        if (group == groups.end()) return;
        auto found = group->second.targets.find(key);
        if (found == group->second.targets.end() || found->second.epoch != epoch || !found->second.draining) return;
        remove_target(arn, key);
        sync();
      });
}

void Elb::State::remove_target(const TargetGroupArn& arn, const TargetKey& key) {
  Group& group = groups.at(arn);
  auto found = group.targets.find(key);
  if (found == group.targets.end()) return;
  loop.cancel(found->second.timer);
  group.targets.erase(found);
  journal.erase(kTargetTable, target_record_key(arn, key));
  notify(arn, key);
}

void Elb::State::resume_target(const TargetRecord& record) {
  auto group = groups.find(record.group);
  if (group == groups.end()) return;
  Target target;
  target.key = record.key;
  target.progress = record.progress;
  target.checking = record.checking;
  target.draining = record.draining;
  target.drain_until = record.drain_until;
  Target& kept = group->second.targets.insert_or_assign(record.key, target).first->second;
  if (kept.draining && kept.drain_until) wait_for_drain(record.group, kept);
  if (kept.checking) schedule_probe(record.group, kept, Duration::zero());
}

void Elb::State::notify(const TargetGroupArn& arn, const TargetKey& key) {
  loop.post([this, guard = std::weak_ptr<bool>(alive), arn, key] {
    if (guard.expired()) return;
    for (const auto& listener : target_listeners) listener(arn, key);
  });
}

void Elb::State::confirmed(std::uint64_t version) {
  confirmed_ = std::max(confirmed_, version);
  retry_ = Duration(1'000);
  for (auto& [arn, group] : groups) {
    for (auto& [key, target] : group.targets) {
      if (!target.draining || target.drain_until || target.told_in == 0 || target.told_in > confirmed_) continue;
      target.drain_until = loop.now() + std::chrono::seconds(group.settings.attributes.deregistration_delay_seconds);
      save(arn, target);
      wait_for_drain(arn, target);
    }
  }
}

}  // namespace kiln::region::elb
