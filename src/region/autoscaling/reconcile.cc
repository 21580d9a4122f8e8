// Reconciler: does what the planner says.
#include "region/autoscaling/reconcile.h"

#include <fmt/format.h>

#include <algorithm>

#include "region/api_error.h"

namespace kiln::region::autoscaling {
namespace {

// A safety net under the events: groups with something under way every second, the others every half minute.
constexpr Duration tick_interval = std::chrono::seconds(1);
constexpr int settled_ticks = 30;
// Events of a large group are gathered: one look for each 100 instances and millisecond.
constexpr std::size_t gather_per_ms = 100;
// Failing launches: 1 s, doubled each time, at most a minute, with up to a quarter more at random.
constexpr Duration backoff_first = std::chrono::seconds(1);
constexpr int backoff_doublings = 6;

std::string details(const Member& member) {
  return fmt::format(R"({{"Subnet ID":"{}","Availability Zone":"{}"}})", member.subnet_id, member.zone);
}

Ailment ailment_of(EndWhy why) {
  switch (why) {
    case EndWhy::ec2_state:
      return Ailment::ec2_state;
    case EndWhy::ec2_status:
      return Ailment::ec2_status;
    case EndWhy::elb:
      return Ailment::elb;
    case EndWhy::user:
      return Ailment::user;
    case EndWhy::failed_launch:
      return Ailment::ec2_state;
    case EndWhy::scale_in:
    case EndWhy::refresh:
      return Ailment::none;
  }
  return Ailment::none;
}

}  // namespace

// One application of a plan: the group, what of it changed, and texts.
struct Reconciler::Doing {
  Group& group;
  Time now;
  int capacity;
  std::vector<bool> changed;
  std::vector<std::string> forgotten;
  bool group_changed = false;
  bool anything = false;

  Member& member(std::size_t index) {
    changed[index] = true;
    anything = true;
    return group.members[index];
  }
  std::string with_request(std::string cause) const {
    return group.request.empty() ? cause : group.request + "  " + cause;
  }
};

Reconciler::Reconciler(host::Loop& loop, host::Random& random, Books& books, Instances& instances, Targets& targets)
    : loop_(loop),
      random_(random),
      books_(books),
      instances_(instances),
      targets_(targets),
      self_(std::make_shared<Reconciler*>(this)) {}

Reconciler::~Reconciler() {
  *self_ = nullptr;
  if (tick_ != 0) loop_.cancel(tick_);
  for (const auto& [group, look] : looks_) loop_.cancel(look.second);
}

void Reconciler::start() {
  auto mark = [self = self_](const std::string& instance_id) {
    if (*self == nullptr) return;
    if (const std::string* group = (*self)->books_.group_of(instance_id)) (*self)->touch(*group);
  };
  instances_.on_change(mark);
  targets_.on_change(mark);
  for (const auto& [name, group] : books_.groups()) touch(name);
  tick_ = loop_.after(tick_interval, [this] { tick(); });
}

void Reconciler::tick() {
  tick_ = loop_.after(tick_interval, [this] { tick(); });
  if (++ticks_ % settled_ticks == 0) {
    for (const auto& [name, group] : books_.groups()) touch(name);
  } else {
    for (const std::string& name : unsettled_) touch(name);
  }
}

void Reconciler::touch(const std::string& name) {
  marked_.insert(name);
  if (scheduled_) return;
  scheduled_ = true;
  Group* group = books_.find(name);
  Duration gather(group == nullptr ? 0 : group->members.size() / gather_per_ms);
  auto run = [self = self_] {
    if (*self != nullptr) (*self)->run_marked();
  };
  if (gather.count() == 0) {
    loop_.post(run);
  } else {
    loop_.after(gather, run);
  }
}

void Reconciler::run_marked() {
  scheduled_ = false;
  std::set<std::string> marked = std::move(marked_);
  marked_.clear();
  for (const std::string& name : marked) {
    if (Group* group = books_.find(name)) look(*group);
  }
}

std::vector<Observed> Reconciler::observe(const Group& group) const {
  std::vector<Observed> all(group.members.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Member& member = group.members[i];
    Observed& seen = all[i];
    if (member.instance_id.empty()) continue;
    if (std::optional<InstanceStatus> status = instances_.status(member.instance_id)) {
      seen.known = true;
      seen.status = *status;
    }
    if (member.state == Lifecycle::pending || member.state == Lifecycle::standby) continue;
    for (const AttachedTargetGroup& target_group : group.target_groups) {
      TargetState state = targets_.state(target_group.arn, member.instance_id);
      if (state != TargetState::absent) seen.target_present = true;
      if (target_group.removing) continue;
      if (state != TargetState::healthy && state != TargetState::unused) seen.targets_ready = false;
      if (state == TargetState::unhealthy) seen.target_unhealthy = true;
    }
  }
  return all;
}

void Reconciler::look(Group& group) {
  const std::string name = group.name;
  Time now = loop_.now();
  std::vector<Observed> observed = observe(group);
  GroupView view{group, observed, books_.active_refresh(name), std::nullopt};
  if (view.refresh != nullptr && view.refresh->preferences.skip_matching.value_or(false)) {
    try {
      view.refresh_exact = instances_.resolve(view.refresh->config(group)).exact;
    } catch (const ApiError&) {
      // The template or its version is gone: what this refresh launched counts as new, and nothing else.
    }
  }
  Plan plan = autoscaling::plan(view, now);
  apply(group, plan);
  if (books_.find(name) == nullptr) {
    unsettled_.erase(name);
    schedule_look(name, std::nullopt);
    return;
  }
  if (plan.settled) {
    unsettled_.erase(name);
  } else {
    unsettled_.insert(name);
  }
  schedule_look(name, plan.look_again);
}

void Reconciler::schedule_look(const std::string& group, const std::optional<Time>& when) {
  auto it = looks_.find(group);
  if (it != looks_.end()) {
    if (when && it->second.first == *when) return;
    loop_.cancel(it->second.second);
    looks_.erase(it);
  }
  if (!when) return;
  Duration delay = std::max(Duration(0), *when - loop_.now());
  looks_[group] = {*when, loop_.after(delay, [this, group] {
                     looks_.erase(group);
                     touch(group);
                   })};
}

void Reconciler::apply(Group& group, const Plan& plan) {
  Doing doing{group, loop_.now(), plan.capacity, std::vector<bool>(group.members.size(), false), {}, false, false};
  apply_refresh(doing, plan);
  connect(doing, plan);
  move_members(doing, plan);
  end_members(doing, plan);
  ask(doing, plan.ask);
  for (std::size_t i = 0; i < doing.changed.size(); ++i) {
    if (doing.changed[i]) books_.save(group, group.members[i]);
  }
  write_launches(doing, plan);
  if (!doing.forgotten.empty()) books_.forget(group, doing.forgotten);
  drop_detached(group);
  if (plan.settled && !doing.anything && !group.request.empty()) {
    group.request.clear();
    doing.group_changed = true;
  }
  if (doing.group_changed) books_.save(group);
  if (group.deleting && group.members.empty()) {
    books_.erase(group.name);
  } else if (doing.anything) {
    touch(group.name);
  }
}

void Reconciler::apply_refresh(Doing& doing, const Plan& plan) {
  if (!plan.refresh) return;
  Refresh* active = books_.active_refresh(doing.group.name);
  if (active->status != plan.refresh->status) doing.anything = true;
  if (plan.adopt_desired) {
    doing.group.launch_template = *plan.refresh->desired;
    doing.group_changed = true;
  }
  if (plan.refresh->status == RefreshStatus::rollback_in_progress && active->status != plan.refresh->status) {
    // The other configuration's failures say nothing of this one's.
    doing.group.launch_failures = 0;
    doing.group.launch_not_before.reset();
    doing.group_changed = true;
  }
  books_.save(*plan.refresh);
}

void Reconciler::connect(Doing& doing, const Plan& plan) {
  for (const TargetChange& change : plan.registrations) {
    Member& member = doing.group.members[change.member];
    if (!targets_.exists(change.target_group)) continue;
    try {
      targets_.register_instance(change.target_group, member.instance_id);
    } catch (const ApiError&) {
      continue;  // it stopped running meanwhile, or the group is full: the next look finds out
    }
    doing.member(change.member).registered.push_back(change.target_group);
  }
  for (const TargetChange& change : plan.deregister) {
    Member& member = doing.member(change.member);
    if (targets_.exists(change.target_group)) {
      targets_.deregister_instance(change.target_group, member.instance_id);
    }
    std::erase(member.registered, change.target_group);
  }
}

void Reconciler::move_members(Doing& doing, const Plan& plan) {
  for (std::size_t index : plan.in_service) {
    Member& member = doing.member(index);
    member.state = Lifecycle::in_service;
    member.in_service_since = doing.now;
    member.leaving_standby = false;
    books_.finish(member.activity_id, ActivityStatus::successful, doing.now);
    doing.group.last_scaling = doing.now;
    doing.group.launch_failures = 0;
    doing.group.launch_not_before.reset();
    doing.group_changed = true;
  }
  for (std::size_t index : plan.served) doing.member(index).served = true;
  for (std::size_t index : plan.standby) {
    Member& member = doing.member(index);
    member.state = Lifecycle::standby;
    books_.finish(member.activity_id, ActivityStatus::successful, doing.now);
  }
  for (std::size_t index : plan.terminate) {
    Member& member = doing.member(index);
    instances_.terminate(member.instance_id);
    if (Activity* activity = books_.activity(member.activity_id);
        activity != nullptr && activity->status == ActivityStatus::waiting_for_draining) {
      activity->status = ActivityStatus::in_progress;
      books_.save(*activity);
    }
  }
  for (std::size_t index : plan.forget) {
    Member& member = doing.member(index);
    books_.finish(member.activity_id, ActivityStatus::successful, doing.now);
    doing.forgotten.push_back(member.token);
    doing.group.last_scaling = doing.now;
    doing.group_changed = true;
  }
}

void Reconciler::end_members(Doing& doing, const Plan& plan) {
  int capacity = doing.capacity;
  for (const PlannedEnd& end : plan.ends) {
    // EC2 may have launched it already without our knowing: it is ended when its id is known.
    if (doing.group.members[end.member].instance_id.empty()) continue;
    Member& member = doing.member(end.member);
    member.ailment = ailment_of(end.why);
    member.skip_draining = doing.group.deleting;
    if (end.why == EndWhy::failed_launch) {
      std::optional<InstanceStatus> status = instances_.status(member.instance_id);
      books_.finish(member.activity_id, ActivityStatus::failed, doing.now,
                    "Instance became unhealthy while waiting for instance to be in InService state. Termination "
                    "Reason: " +
                        (status && !status->reason.empty() ? status->reason : std::string("unknown")));
      member.state = Lifecycle::terminating;
      back_off(doing.group);
      doing.group_changed = true;
      continue;
    }
    std::string cause;
    switch (end.why) {
      case EndWhy::ec2_state:
        cause = cause::ended_for_state(doing.now);
        break;
      case EndWhy::ec2_status:
        cause = cause::ended_for_status(doing.now);
        break;
      case EndWhy::elb:
        cause = cause::ended_for_elb(doing.now);
        break;
      case EndWhy::user:
        cause = cause::ended_for_user_health(doing.now);
        break;
      case EndWhy::refresh:
        cause = cause::ended_for_refresh(doing.now);
        break;
      default:
        cause = doing.with_request(
            cause::ended_for_difference(doing.now, capacity, std::max(0, capacity - 1), member.instance_id));
    }
    if (end.why != EndWhy::scale_in && end.why != EndWhy::refresh) ++doing.group.replacements_owed;
    capacity = std::max(0, capacity - 1);
    take_out(doing.group, member, std::move(cause));
    doing.group_changed = true;
  }
  doing.capacity = capacity;
}

void Reconciler::write_launches(Doing& doing, const Plan& plan) {
  Group& group = doing.group;
  int to = doing.capacity + static_cast<int>(plan.launches.size());
  for (const PlannedLaunch& launch : plan.launches) {
    Member member;
    member.token = random_.uuid();
    member.order = group.members.empty() ? 1 : group.members.back().order + 1;
    member.zone = launch.place.zone;
    member.subnet_id = launch.place.subnet_id;
    member.launched_from = launch.from;
    member.protected_from_scale_in = group.protect_new;
    member.created = doing.now;
    if (launch.for_refresh) member.refresh_id = plan.refresh->id;
    std::string cause;
    switch (launch.why) {
      case LaunchWhy::unhealthy:
        cause = cause::started_for_unhealthy(doing.now);
        group.replacements_owed = std::max(0, group.replacements_owed - 1);
        break;
      case LaunchWhy::refresh:
        cause = cause::started_for_refresh(doing.now);
        break;
      case LaunchWhy::difference:
        cause = doing.with_request(cause::started_for_difference(doing.now, doing.capacity, to));
        break;
    }
    Activity& activity =
        books_.begin(group, doing.now, "Launching a new EC2 instance", std::move(cause), details(member));
    activity.status = ActivityStatus::pre_in_service;
    activity.progress = 30;
    books_.save(activity);
    member.activity_id = activity.id;
    books_.save(group, member);
    group.members.push_back(std::move(member));
    doing.anything = doing.group_changed = true;
  }
}

void Reconciler::ask(Doing& doing, const std::vector<std::size_t>& members) {
  std::map<std::string, std::string> tags;
  for (const Tag& tag : doing.group.tags) {
    if (tag.propagate) tags[tag.key] = tag.value;
  }
  tags["aws:autoscaling:groupName"] = doing.group.name;
  for (auto it = members.begin(); it != members.end(); ++it) {
    Member& member = doing.member(*it);
    try {
      Launched launched = instances_.launch({member.token, member.launched_from, member.subnet_id, tags});
      member.instance_id = launched.instance_id;
      member.instance_type = launched.instance_type;
      member.image_id = launched.image_id;
      member.launched_from = launched.from;
      if (Activity* activity = books_.activity(member.activity_id)) {
        activity->description = "Launching a new EC2 instance: " + member.instance_id;
        books_.save(*activity);
      }
    } catch (const ApiError& error) {
      launch_failed(doing, *it, error.message());
      // What has just failed would fail for the others too: they are planned again, one at a time.
      for (++it; it != members.end(); ++it) {
        Member& other = doing.member(*it);
        books_.finish(other.activity_id, ActivityStatus::cancelled, doing.now, "Another launch of this group failed.");
        doing.forgotten.push_back(other.token);
      }
      return;
    }
  }
}

void Reconciler::launch_failed(Doing& doing, std::size_t index, const std::string& why) {
  Member& member = doing.member(index);
  std::string message = why;
  if (!message.empty() && message.back() != '.') message += ".";
  books_.finish(member.activity_id, ActivityStatus::failed, doing.now, message + " Launching EC2 instance failed.");
  doing.forgotten.push_back(member.token);
  back_off(doing.group);
  doing.group_changed = true;
}

void Reconciler::back_off(Group& group) {
  Duration delay = backoff_first * (1 << std::min(group.launch_failures, backoff_doublings));
  delay = std::min<Duration>(delay, std::chrono::minutes(1));
  delay += Duration(random_.below(static_cast<std::uint64_t>(delay.count() / 4)));
  ++group.launch_failures;
  group.launch_not_before = loop_.now() + delay;
}

void Reconciler::drop_detached(Group& group) {
  std::size_t before = group.target_groups.size();
  std::erase_if(group.target_groups, [&](const AttachedTargetGroup& target_group) {
    if (!target_group.removing) return false;
    return std::none_of(group.members.begin(), group.members.end(), [&](const Member& member) {
      return !member.instance_id.empty() && targets_.state(target_group.arn, member.instance_id) != TargetState::absent;
    });
  });
  if (group.target_groups.size() != before) books_.save(group);
}

void Reconciler::leave_targets(Member& member) {
  for (const std::string& arn : member.registered) {
    if (targets_.exists(arn)) targets_.deregister_instance(arn, member.instance_id);
  }
  member.registered.clear();
}

Activity& Reconciler::take_out(Group& group, Member& member, std::string cause) {
  // A launch or a move that was under way ends here.
  books_.finish(member.activity_id, ActivityStatus::cancelled, loop_.now());
  bool drains = !member.registered.empty() && !member.skip_draining;
  leave_targets(member);
  member.state = Lifecycle::terminating;
  Activity& activity = books_.begin(group, loop_.now(), "Terminating EC2 instance: " + member.instance_id,
                                    std::move(cause), details(member));
  activity.status = drains ? ActivityStatus::waiting_for_draining : ActivityStatus::in_progress;
  activity.progress = drains ? 10 : 50;
  books_.save(activity);
  member.activity_id = activity.id;
  books_.save(group, member);
  return activity;
}

Activity& Reconciler::enter_standby(Group& group, Member& member, std::string cause) {
  leave_targets(member);
  member.state = Lifecycle::entering_standby;
  Activity& activity = books_.begin(group, loop_.now(), "Moving EC2 instance to Standby: " + member.instance_id,
                                    std::move(cause), details(member));
  activity.progress = 50;
  books_.save(activity);
  member.activity_id = activity.id;
  books_.save(group, member);
  return activity;
}

Activity& Reconciler::exit_standby(Group& group, Member& member, std::string cause) {
  member.state = Lifecycle::pending;
  member.leaving_standby = true;
  member.ailment = Ailment::none;
  Activity& activity = books_.begin(group, loop_.now(), "Moving EC2 instance out of Standby: " + member.instance_id,
                                    std::move(cause), details(member));
  activity.status = ActivityStatus::pre_in_service;
  activity.progress = 30;
  books_.save(activity);
  member.activity_id = activity.id;
  books_.save(group, member);
  return activity;
}

}  // namespace kiln::region::autoscaling
