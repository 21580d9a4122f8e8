// Plan: the rolling strategy by launch template version and instance refresh.
//
// Forward: what is missing is made, a refresh moves the group, the rest is brought into shape, all is checked.
// Backward: the refresh is rolled back, or where that is no longer possible another refresh goes back. Which of the two
// it is was decided once, and is in the progress.
#include "deploy/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "deploy/internal/checks.h"

namespace kiln::deploy {
namespace {

using fleet::Fleet;
using fleet::Refresh;

// A step that AWS took and that had no effect is asked for again, but not for ever.
constexpr int kTriesMax = 5;
// Going back must end too; less than this would give up on machines that need minutes to start.
constexpr Duration kGoingBackMin = std::chrono::minutes(10);
// What AWS launches in vain before the deployment is given up; its own patience is an hour.
constexpr std::size_t kFailedLaunchesMax = 3;

Plan take(Action action) { return {{std::move(action)}, std::nullopt, std::nullopt}; }
Plan wait(std::string reason, Time since, Time until) {
  return {{}, Wait{std::move(reason), since, until}, std::nullopt};
}
Plan end(Outcome outcome, std::string why, std::string next = {}) {
  return {{}, std::nullopt, Finish{outcome, std::move(why), std::move(next)}};
}

class Planner {
 public:
  Planner(const Wanted& wanted, const Fleet& fleet, const Progress& progress, Time now)
      : wanted_(wanted), fleet_(fleet), progress_(progress), now_(now), version_(matching_version(wanted, fleet)) {}

  Plan run() {
    if (progress_.failing_since) return way_back();
    if (auto why = failing()) return give_up(*why);
    if (auto missing = foundations()) return *missing;
    if (!fleet_.group) return need(CreateGroup{version_}, "the Auto Scaling group " + wanted_.names.group);
    if (!fleet_.group->status.empty()) return pause("the group " + wanted_.names.group + " is being deleted");
    return forward();
  }

 private:
  // Forward.
  std::optional<Plan> foundations();
  Plan need(Action action, const std::string& thing);
  Plan forward();
  Plan start_refresh();
  Plan watch(const Refresh& refresh);
  Plan finishing();
  Plan hold();
  // Failing.
  std::optional<std::string> failing() const;
  std::string complaint() const;
  Plan give_up(const std::string& why);
  // Backward.
  Plan way_back();
  Plan nowhere_to_go();
  Plan stop_and_leave(const std::string& why, const std::string& next);
  Plan turn_refresh(const Refresh& refresh);
  Plan return_by_refresh();
  Plan settle_back();

  Plan pause(std::string reason);
  const Refresh* ours(const std::optional<std::string>& before, std::int64_t version) const;
  Time deadline() const { return progress_.started + wanted_.deploy.timeout + wanted_.deploy.bake; }
  Time back_deadline() const {
    return *progress_.failing_since + std::max<Duration>(kGoingBackMin, wanted_.deploy.timeout);
  }
  bool first() const { return progress_.from_template_version == 0; }
  bool done(const std::string& step) const { return progress_.done.contains(step); }
  int tries(const std::string& step) const {
    auto found = progress_.tries.find(step);
    return found == progress_.tries.end() ? 0 : found->second;
  }
  Time tried(const std::string& step) const {
    auto found = progress_.tried.find(step);
    return found == progress_.tried.end() ? now_ : found->second;
  }
  std::string was() const { return progress_.from_version.empty() ? "the version before it" : progress_.from_version; }
  std::string serving_sentence(const std::string& version) const {
    return fmt::format("{} serves all traffic on {}", version, counted(fleet_.group->desired, "instance"));
  }
  bool on_trial() const { return version_ != 0 && version_ != progress_.from_template_version; }

  const Wanted& wanted_;
  const Fleet& fleet_;
  const Progress& progress_;
  const Time now_;
  const std::int64_t version_;  // of the launch template; 0 while it is not there
};

// What a group stands on, in the order in which one needs the other. Things that do not need each other come together.
std::optional<Plan> Planner::foundations() {
  const auto& names = wanted_.names;
  Plan missing;
  auto also = [&](Action action, const std::string& thing) -> bool {
    Plan next = need(std::move(action), thing);
    if (next.actions.empty()) {
      missing = std::move(next);
      return false;
    }
    missing.actions.push_back(std::move(next.actions.front()));
    return true;
  };
  auto opened = [](const std::optional<fleet::SecurityGroup>& group, int port) {
    return group && std::ranges::find(group->open_ports, port) != group->open_ports.end();
  };
  if (!fleet_.balancer_security_group &&
      !also(CreateSecurityGroup{SecurityGroupOf::balancer}, "the security group " + names.balancer_security_group)) {
    return missing;
  }
  if (!fleet_.instance_security_group &&
      !also(CreateSecurityGroup{SecurityGroupOf::instances}, "the security group " + names.instance_security_group)) {
    return missing;
  }
  if (!fleet_.target_group && !also(CreateTargetGroup{}, "the target group " + names.target_group)) return missing;
  if (!missing.actions.empty()) return missing;

  if (!opened(fleet_.balancer_security_group, wanted_.fleet.listen.port) &&
      !also(OpenPort{SecurityGroupOf::balancer}, "the load balancer's open port")) {
    return missing;
  }
  if (!opened(fleet_.instance_security_group, wanted_.fleet.listen.target_port) &&
      !also(OpenPort{SecurityGroupOf::instances}, "the instances' open port")) {
    return missing;
  }
  if (!fleet_.load_balancer && !also(CreateLoadBalancer{}, "the load balancer " + names.load_balancer)) return missing;
  if (!fleet_.launch_template) {
    if (!also(CreateLaunchTemplate{}, "the launch template " + names.launch_template)) return missing;
  } else if (version_ == 0) {
    if (!also(CreateTemplateVersion{}, "the new version of the launch template " + names.launch_template))
      return missing;
  }
  if (!missing.actions.empty()) return missing;

  if (fleet_.listeners.empty())
    return need(CreateListener{}, fmt::format("the listener on port {}", wanted_.fleet.listen.port));
  // While nothing sends to the target group, its targets are not even checked: then the listener cannot wait for the
  // end.
  if (fleet_.target_group->load_balancers.empty()) {
    if (auto changes = listener_changes(wanted_, fleet_); !changes.empty()) {
      return need(ChangeListener{changes}, "the listener's change");
    }
  }
  return std::nullopt;
}

// An action for something that is not there; or a wait, when AWS said that it is made and does not show it yet.
Plan Planner::need(Action action, const std::string& thing) {
  const std::string step = step_name(action);
  if (done(step) && now_ < tried(step) + kVisibleBudget) {
    return wait(fmt::format("{} was made and is not visible yet", thing), tried(step), tried(step) + kVisibleBudget);
  }
  if (tries(step) >= kTriesMax) {
    return give_up(fmt::format("{} was asked for {} times and is not there", thing, tries(step)));
  }
  return take(std::move(action));
}

Plan Planner::forward() {
  const auto& group = *fleet_.group;
  const Refresh* refresh = ours(progress_.refresh_before, version_);
  const Refresh* active = fleet_.active_refresh();
  if (active != nullptr && active != refresh) {
    return give_up(fmt::format("somebody else started an instance refresh of {} ({}, {})", group.name, active->id,
                               active->status));
  }
  if (refresh != nullptr && refresh->status != "Successful") return watch(*refresh);
  if (group.template_version != version_) {
    if (refresh != nullptr) return pause(fmt::format("the refresh succeeded and {} does not say so yet", group.name));
    return start_refresh();
  }
  const bool mixed = std::ranges::any_of(group.instances, [&](const fleet::Instance& instance) {
    return instance.template_version != version_ && !instance.leaving();
  });
  // The group launches what is wanted and yet holds others: left over by a refresh that was stopped.
  if (mixed && refresh == nullptr) return start_refresh();
  return finishing();
}

Plan Planner::start_refresh() {
  StartRefresh start;
  start.template_version = version_;
  start.max_healthy = max_healthy_percentage(fleet_.group->desired, wanted_.fleet.max);
  start.auto_rollback = wanted_.deploy.rollback == spec::Rollback::automatic && progress_.from_proven && on_trial();
  start.bake = wanted_.deploy.bake;
  return need(start, "the instance refresh");
}

Plan Planner::watch(const Refresh& refresh) {
  if (refresh.going_back()) {
    return give_up(refresh.rollback_reason.empty() ? "AWS took its refresh back"
                                                   : "AWS took its refresh back: " + refresh.rollback_reason);
  }
  if (refresh.status == "Failed") return give_up("its refresh failed: " + refresh.reason);
  if (refresh.status == "Cancelled" || refresh.status == "Cancelling") return give_up("its refresh was cancelled");
  if (refresh.status == "Baking") {
    return pause(fmt::format("{} must hold for {}", wanted_.version, format_duration(wanted_.deploy.bake)));
  }
  auto why = unsettled(wanted_, fleet_, version_);
  return pause(why ? *why : fmt::format("all are healthy, {} % replaced", refresh.percentage));
}

// The group is on the wanted version: the rest follows, then all is looked at as a whole.
Plan Planner::finishing() {
  if (auto changes = target_group_changes(wanted_, fleet_); !changes.empty()) {
    return need(ChangeTargetGroup{changes}, "the target group's change");
  }
  if (auto changes = listener_changes(wanted_, fleet_); !changes.empty()) {
    return need(ChangeListener{changes}, "the listener's change");
  }
  if (auto size = resize(wanted_, fleet_)) return need(*size, "the group's new size");
  if (auto why = unsettled(wanted_, fleet_, version_)) return pause(*why);
  // A refresh has held the new version itself; a new group has no refresh.
  if (first() && wanted_.deploy.bake > Duration::zero()) return hold();
  if (progress_.done.empty()) return end(Outcome::done, serving_sentence(wanted_.version) + " already: nothing to do");
  return end(Outcome::done, serving_sentence(wanted_.version));
}

Plan Planner::hold() {
  if (!progress_.held_since) return take(BeginHold{});
  const Time until = *progress_.held_since + wanted_.deploy.bake;
  if (now_ < until) {
    return wait(fmt::format("{} must hold for {}", wanted_.version, format_duration(wanted_.deploy.bake)),
                *progress_.held_since, until);
  }
  return end(Outcome::done, serving_sentence(wanted_.version));
}

// Why the deployment must be given up, by what was seen of the new instances. AWS itself would try for an hour.
std::optional<std::string> Planner::failing() const {
  if (progress_.rejected) return *progress_.rejected;
  if (!on_trial() || !fleet_.group) return std::nullopt;
  const std::size_t bound =
      std::min<std::size_t>(kFailuresMax, static_cast<std::size_t>(std::max<std::int64_t>(1, fleet_.group->desired)));
  if (progress_.failed_instances().size() >= bound) return complaint();
  if (progress_.failed_launches.size() >= kFailedLaunchesMax && !progress_.any_healthy) {
    std::string message;
    for (const auto& activity : fleet_.activities) {
      if (message.empty() && progress_.failed_launches.contains(activity.id)) message = activity.message;
    }
    return fmt::format("its instances could not be launched ({} times): {}", progress_.failed_launches.size(), message);
  }
  return std::nullopt;
}

// "3 of its instances answered 500 on /healthz (i-0ab1234.., i-0cd1234.., i-0ef1234..)"
std::string Planner::complaint() const {
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const auto& [id, witness] : progress_.witnesses) {
    if (witness.failed) by_reason[witness.why].push_back(short_id(id));
  }
  const auto most = std::ranges::max_element(by_reason, {}, [](const auto& entry) { return entry.second.size(); });
  constexpr std::size_t kNamed = 3;
  std::vector<std::string> ids = most->second;
  const std::size_t count = ids.size();
  if (count > kNamed) ids.resize(kNamed);
  return fmt::format("{} of its instances {} ({}{})", count, most->first, fmt::join(ids, ", "),
                     count > kNamed ? ", .." : "");
}

// The decision is recorded first, so that after a crash nobody goes forward again.
Plan Planner::give_up(const std::string& why) {
  if (progress_.failing_since)
    return end(Outcome::stuck, fmt::format("{} failed: {}; going back failed too", wanted_.version, why));
  return take(DecideToGoBack{why});
}

Plan Planner::pause(std::string reason) {
  if (now_ < deadline()) return wait(std::move(reason), progress_.started, deadline());
  return give_up(fmt::format("it was not finished within {}: {}", format_duration(wanted_.deploy.timeout), reason));
}

Plan Planner::way_back() {
  if (!fleet_.group || first()) return nowhere_to_go();
  const Refresh* refresh = ours(progress_.refresh_before, version_);
  if (now_ >= back_deadline()) {
    auto why = unsettled(wanted_, fleet_, progress_.from_template_version);
    return end(
        Outcome::stuck,
        fmt::format("{} failed: {}; going back to {} did not end within {}: {}", wanted_.version, progress_.failing_why,
                    was(), format_duration(back_deadline() - *progress_.failing_since), why.value_or("it was slow")),
        "`kiln status` shows the fleet; what is healthy goes on serving.");
  }
  const bool moving = refresh != nullptr && refresh->active() && refresh->status != "RollbackInProgress";
  if (wanted_.deploy.rollback == spec::Rollback::manual && !progress_.asked_to_go_back) {
    if (moving) return turn_refresh(*refresh);
    return stop_and_leave("going back is manual", "`kiln rollback` takes it back.");
  }
  if (!progress_.from_proven) {
    if (moving) return turn_refresh(*refresh);
    return stop_and_leave(fmt::format("{} did not serve before either", was()), "Deploy an image that works.");
  }
  if (refresh != nullptr && refresh->active()) return turn_refresh(*refresh);
  return settle_back();
}

// There is no version before it.
Plan Planner::nowhere_to_go() {
  const bool served = fleet_.group && fleet_.serving() > 0;
  const Outcome outcome = fleet_.group ? Outcome::stuck : Outcome::failed;
  std::string why =
      fmt::format("{} failed: {}; there is no version before it to go back to", wanted_.version, progress_.failing_why);
  if (served) why += fmt::format(", {} of its instances serve", fleet_.serving());
  return end(outcome, why, "Deploy an image that works, or end all of it with `kiln destroy`.");
}

Plan Planner::stop_and_leave(const std::string& why, const std::string& next) {
  return end(Outcome::stuck, fmt::format("{} failed: {}; {}", wanted_.version, progress_.failing_why, why), next);
}

// A refresh that is under way is rolled back by AWS: it knows the configuration that the group had, and launches before
// it ends. Where there is nothing worth going back to, it is only stopped.
Plan Planner::turn_refresh(const Refresh& refresh) {
  const auto waiting = [&](const std::string& reason) {
    return wait(reason, *progress_.failing_since, back_deadline());
  };
  if (refresh.status == "RollbackInProgress") {
    auto why = unsettled(wanted_, fleet_, progress_.from_template_version);
    return waiting(fmt::format("going back to {}: {}", was(), why.value_or(fmt::format("{} %", refresh.percentage))));
  }
  if (refresh.status == "Cancelling") return waiting("the refresh is being stopped");
  const bool back = (wanted_.deploy.rollback == spec::Rollback::automatic || progress_.asked_to_go_back) &&
                    progress_.from_proven && fleet_.group->template_version == progress_.from_template_version;
  const Action turn =
      back && tries(step_name(RollBackRefresh{})) < kTriesMax ? Action(RollBackRefresh{}) : Action(CancelRefresh{});
  const std::string step = step_name(turn);
  if (done(step) && now_ < tried(step) + kVisibleBudget) return waiting("the refresh is being turned");
  if (tries(step) >= kTriesMax)
    return stop_and_leave("its refresh could not be stopped",
                          "Stop it with `aws autoscaling cancel-instance-refresh`.");
  return take(turn);
}

// No refresh of ours is moving any more: either all is as it was, or another refresh must bring it there.
Plan Planner::settle_back() {
  const std::int64_t back = progress_.from_template_version;
  auto why = unsettled(wanted_, fleet_, back);
  const bool on_it = fleet_.group->template_version == back;
  const bool mixed = std::ranges::any_of(fleet_.group->instances, [&](const fleet::Instance& instance) {
    return instance.template_version != back && !instance.leaving();
  });
  const bool moved = progress_.refresh_before.has_value() || progress_.return_before.has_value();
  if (on_it && !moved) {
    return end(Outcome::failed, fmt::format("{} was not deployed: {}; {} was not touched", wanted_.version,
                                            progress_.failing_why, was()));
  }
  if (on_it && !why) {
    return end(Outcome::rolled_back, fmt::format("{} was rolled back: {}; {}", wanted_.version, progress_.failing_why,
                                                 serving_sentence(was())));
  }
  if (on_it && !mixed) {
    return wait(fmt::format("going back to {}: {}", was(), *why), *progress_.failing_since, back_deadline());
  }
  return return_by_refresh();
}

Plan Planner::return_by_refresh() {
  const std::int64_t back = progress_.from_template_version;
  const Refresh* refresh = ours(progress_.return_before, back);
  const Refresh* active = fleet_.active_refresh();
  if (refresh == nullptr && active != nullptr) {
    return stop_and_leave(fmt::format("another refresh ({}, {}) is in the way", active->id, active->status),
                          "Wait for it or cancel it, then run `kiln rollback`.");
  }
  if (refresh == nullptr) {
    StartRefresh start;
    start.template_version = back;
    start.max_healthy = max_healthy_percentage(fleet_.group->desired, wanted_.fleet.max);
    start.going_back = true;
    return need(start, "the refresh that goes back");
  }
  if (refresh->active() || refresh->status == "Successful") {
    auto why = unsettled(wanted_, fleet_, back);
    return wait(fmt::format("going back to {}: {}", was(), why.value_or("almost there")), *progress_.failing_since,
                back_deadline());
  }
  return stop_and_leave(fmt::format("going back to {} failed too: {} {}", was(), refresh->status, refresh->reason),
                        "`kiln status` shows the fleet; `kiln rollback` tries again.");
}

// The newest refresh to that version that began after ours was asked for.
const Refresh* Planner::ours(const std::optional<std::string>& before, std::int64_t version) const {
  if (!before || version == 0) return nullptr;
  for (const Refresh& refresh : fleet_.refreshes) {
    if (refresh.id == *before) return nullptr;
    if (refresh.wanted_version == version) return &refresh;
  }
  return nullptr;
}

}  // namespace

Plan plan(const Wanted& wanted, const Fleet& fleet, const Progress& progress, Time now) {
  return Planner(wanted, fleet, progress, now).run();
}

std::int64_t matching_version(const Wanted& wanted, const Fleet& fleet) {
  if (!fleet.launch_template) return 0;
  if (wanted.template_version) {
    return fleet.launch_template->version(*wanted.template_version) != nullptr ? *wanted.template_version : 0;
  }
  if (!fleet.instance_security_group) return 0;
  const auto& versions = fleet.launch_template->versions;
  const auto found = std::find_if(versions.rbegin(), versions.rend(), [&](const fleet::TemplateVersion& version) {
    return version.ami == wanted.ami && version.instance_type == wanted.fleet.instance_type &&
           version.image_version == wanted.version &&
           version.security_groups == std::vector<std::string>{fleet.instance_security_group->id};
  });
  return found == versions.rend() ? 0 : found->number;
}

}  // namespace kiln::deploy
