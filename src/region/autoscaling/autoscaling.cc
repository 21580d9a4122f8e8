// Autoscaling: the calls.
#include "region/autoscaling/autoscaling.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "region/api_error.h"
#include "region/autoscaling/books.h"
#include "region/autoscaling/reconcile.h"
#include "region/autoscaling/refresh_plan.h"
#include "region/autoscaling/settings.h"

namespace kiln::region::autoscaling {
namespace {

template <typename... Args>
[[noreturn]] void invalid(fmt::format_string<Args...> text, Args&&... args) {
  throw ApiError("ValidationError", fmt::format(text, std::forward<Args>(args)...));
}

// AWS's limit of target groups of one group, and of tags.
constexpr std::size_t target_groups_most = 50;
constexpr std::size_t tags_most = 50;

// The members that were named, all of them in that state.
std::vector<Member*> members_in(Lifecycle state, Group& group, const std::vector<std::string>& instance_ids) {
  std::vector<Member*> members;
  for (const std::string& id : instance_ids) {
    Member* member = Books::member(group, id);
    if (member == nullptr) invalid("The instance {} is not part of Auto Scaling group {}.", id, group.name);
    if (member->state != state) {
      invalid("The instance {} is not in {}. It is in {}.", id, to_string(state), to_string(member->state));
    }
    if (std::find(members.begin(), members.end(), member) != members.end()) invalid("{} is named twice", id);
    members.push_back(member);
  }
  return members;
}

}  // namespace

struct Autoscaling::State {
  State(host::Loop& on, host::Random& chance, Records& records, Instances& ec2, Targets& elb, Options given)
      : loop(on),
        random(chance),
        instances(ec2),
        targets(elb),
        options(std::move(given)),
        books(records, chance),
        reconciler(on, chance, books, ec2, elb) {}

  Group& find(const std::string& name) {
    Group* group = books.find(name);
    if (group == nullptr) invalid("AutoScalingGroup name not found - AutoScalingGroup '{}' not found", name);
    return *group;
  }
  Group& find_live(const std::string& name) {
    Group& group = find(name);
    if (group.deleting) {
      throw ApiError("ScalingActivityInProgress", fmt::format("AutoScalingGroup '{}' is pending delete", name));
    }
    return group;
  }
  std::pair<Group&, Member&> find_instance(const std::string& instance_id) {
    const std::string* name = books.group_of(instance_id);
    if (name == nullptr) {
      invalid("Instance Id not found - No managed instance found for instance ID: {}", instance_id);
    }
    Group& group = find(*name);
    return {group, *Books::member(group, instance_id)};
  }
  void changed(const Group& group) {
    books.save(group);
    reconciler.touch(group.name);
  }
  // What a caller asks for begins anew: failures of before do not slow it down.
  static void forget_failures(Group& group) {
    group.launch_failures = 0;
    group.launch_not_before.reset();
  }
  std::vector<AttachedTargetGroup> checked_target_groups(const std::vector<std::string>& arns) const {
    std::vector<AttachedTargetGroup> list;
    for (const std::string& arn : arns) {
      if (!targets.exists(arn)) {
        invalid("Provided Target Groups may not be valid. Please ensure they exist and try again. ({})", arn);
      }
      list.push_back({arn, false});
    }
    return list;
  }

  host::Loop& loop;
  host::Random& random;
  Instances& instances;
  Targets& targets;
  Options options;
  Books books;
  Reconciler reconciler;
};

Autoscaling::Autoscaling(host::Loop& loop, host::Random& random, Records& records, Instances& instances,
                         Targets& targets, Options options)
    : state_(std::make_unique<State>(loop, random, records, instances, targets, std::move(options))) {}
Autoscaling::~Autoscaling() = default;

void Autoscaling::open() {
  state_->books.load();
  state_->reconciler.start();
}

void Autoscaling::on_event(std::function<void(const Activity&)> activity, std::function<void(const Refresh&)> refresh) {
  state_->books.listen(std::move(activity), std::move(refresh));
}

// ---------------------------------------------------------------------------------------------------------- groups

void Autoscaling::create(const std::string& name, const GroupSettings& settings,
                         const std::vector<std::string>& target_groups, const std::vector<Tag>& tags) {
  State& s = *state_;
  if (name.empty() || name.size() > 255) invalid("AutoScalingGroupName must have 1 to 255 characters");
  if (s.books.find(name) != nullptr) {
    throw ApiError("AlreadyExists", fmt::format("AutoScalingGroup by this name already exists - A group with the name "
                                                "{} already exists",
                                                name));
  }
  if (!settings.launch_template) {
    invalid(
        "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or "
        "MixedInstancesPolicy parameter. Of these LaunchTemplate is served.");
  }
  if (!settings.min_size || !settings.max_size) invalid("MinSize and MaxSize are required");
  if (target_groups.size() > target_groups_most) invalid("More than {} target groups", target_groups_most);
  if (tags.size() > tags_most) invalid("More than {} tags", tags_most);
  Group group;
  group.name = name;
  group.arn = fmt::format("arn:aws:autoscaling:{}:{}:autoScalingGroup:{}:autoScalingGroupName/{}", s.options.region,
                          s.options.account, s.random.uuid(), name);
  group.created = s.loop.now();
  merge_settings(group, settings, s.instances);
  group.target_groups = s.checked_target_groups(target_groups);
  for (const Tag& tag : tags) check_tag(tag);
  group.tags = tags;
  std::sort(group.tags.begin(), group.tags.end(), [](const Tag& a, const Tag& b) { return a.key < b.key; });
  if (group.desired > 0) group.request = cause::created(group.created, group.desired);
  s.books.groups().emplace(name, group);
  s.changed(s.find(name));
}

void Autoscaling::update(const std::string& name, const GroupSettings& settings) {
  State& s = *state_;
  Group& group = s.find_live(name);
  if (settings.launch_template) {
    Refresh* refresh = s.books.active_refresh(name);
    if (refresh != nullptr && refresh->desired) {
      invalid(
          "An active instance refresh with a desired configuration exists. All configuration options derived from the "
          "desired configuration are not available for update while the instance refresh is active.");
    }
  }
  int before = group.desired;
  merge_settings(group, settings, s.instances);
  if (group.desired != before) {
    group.request = cause::updated(s.loop.now(), group.min_size, group.max_size, group.desired, before, group.desired);
  }
  State::forget_failures(group);
  s.changed(group);
}

void Autoscaling::remove(const std::string& name, bool force) {
  State& s = *state_;
  Group& group = s.find(name);
  if (group.members.empty()) {
    s.books.erase(name);
    return;
  }
  if (!force) {
    bool held = std::any_of(group.members.begin(), group.members.end(),
                            [](const Member& member) { return member.state != Lifecycle::terminating; });
    if (held) {
      throw ApiError("ResourceInUse",
                     "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance "
                     "request(s) still in the group.");
    }
    throw ApiError("ScalingActivityInProgress",
                   "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that "
                   "group.");
  }
  if (Refresh* refresh = s.books.active_refresh(name)) {
    Refresh ended = *refresh;
    ended.status = RefreshStatus::cancelled;
    ended.reason = "The Auto Scaling group was deleted.";
    ended.ended = s.loop.now();
    s.books.save(ended);
  }
  if (!group.deleting) group.request = cause::force_deleted(s.loop.now(), group.desired);
  group.deleting = true;
  group.min_size = group.desired = 0;
  for (Member& member : group.members) {
    member.skip_draining = true;
    s.books.save(group, member);
  }
  s.changed(group);
}

std::vector<const Group*> Autoscaling::groups() const {
  std::vector<const Group*> list;
  for (const auto& [name, group] : state_->books.groups()) list.push_back(&group);
  return list;
}

const Group& Autoscaling::group(const std::string& name) const { return state_->find(name); }

const Group* Autoscaling::group_of(const std::string& instance_id) const {
  const std::string* name = state_->books.group_of(instance_id);
  return name == nullptr ? nullptr : state_->books.find(*name);
}

void Autoscaling::set_desired(const std::string& name, int desired, bool honor_cooldown) {
  State& s = *state_;
  Group& group = s.find_live(name);
  if (desired < group.min_size) {
    invalid("New SetDesiredCapacity value {} is below min value {} for the AutoScalingGroup.", desired, group.min_size);
  }
  if (desired > group.max_size) {
    invalid("New SetDesiredCapacity value {} is above max value {} for the AutoScalingGroup.", desired, group.max_size);
  }
  if (honor_cooldown) {
    bool moving = std::any_of(group.members.begin(), group.members.end(), [](const Member& member) {
      return member.state == Lifecycle::pending || member.state == Lifecycle::terminating;
    });
    bool cooling =
        group.last_scaling && s.loop.now() < *group.last_scaling + std::chrono::seconds(group.default_cooldown_seconds);
    if (moving || cooling) {
      throw ApiError(
          "ScalingActivityInProgress",
          fmt::format("A scaling activity of {} is in progress or cools down and blocks this action.", name));
    }
  }
  if (desired != group.desired) group.request = cause::set_desired(s.loop.now(), group.desired, desired);
  group.desired = desired;
  State::forget_failures(group);
  s.changed(group);
}

// ------------------------------------------------------------------------------------------------------- instances

Activity Autoscaling::terminate_instance(const std::string& instance_id, bool decrement) {
  State& s = *state_;
  auto [group, member] = s.find_instance(instance_id);
  if (member.state == Lifecycle::terminating) {
    if (const Activity* activity = s.books.activity(member.activity_id)) return *activity;
    invalid("Instance {} is not in a state to be terminated", instance_id);
  }
  bool counted = member.state == Lifecycle::pending || member.state == Lifecycle::in_service;
  decrement = decrement && counted;
  if (decrement && group.desired <= group.min_size) {
    invalid(
        "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's min "
        "size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
        group.min_size);
  }
  std::string cause = cause::ended_by_user(s.loop.now(), instance_id, decrement, group.desired);
  if (decrement) --group.desired;
  Activity activity = s.reconciler.take_out(group, member, std::move(cause));
  s.changed(group);
  return activity;
}

std::vector<Activity> Autoscaling::enter_standby(const std::string& name, const std::vector<std::string>& instance_ids,
                                                 bool decrement) {
  State& s = *state_;
  Group& group = s.find_live(name);
  const std::vector<Member*> members = members_in(Lifecycle::in_service, group, instance_ids);
  int count = static_cast<int>(members.size());
  if (decrement && group.desired - count < group.min_size) {
    invalid(
        "AutoScalingGroup {} has min-size={}, max-size={}, and desired-size={}. To place into standby {} instance, "
        "please update the AutoScalingGroup sizes appropriately.",
        name, group.min_size, group.max_size, group.desired, count);
  }
  std::vector<Activity> activities;
  for (Member* member : members) {
    std::string cause = cause::entered_standby(s.loop.now(), member->instance_id, decrement, group.desired);
    if (decrement) --group.desired;
    activities.push_back(s.reconciler.enter_standby(group, *member, std::move(cause)));
  }
  s.changed(group);
  return activities;
}

std::vector<Activity> Autoscaling::exit_standby(const std::string& name, const std::vector<std::string>& instance_ids) {
  State& s = *state_;
  Group& group = s.find_live(name);
  const std::vector<Member*> members = members_in(Lifecycle::standby, group, instance_ids);
  int count = static_cast<int>(members.size());
  if (group.desired + count > group.max_size) {
    invalid(
        "AutoScalingGroup {} has min-size={}, max-size={}, and desired-size={}. To take {} instance out of standby, "
        "please update the AutoScalingGroup sizes appropriately.",
        name, group.min_size, group.max_size, group.desired, count);
  }
  std::vector<Activity> activities;
  for (Member* member : members) {
    std::string cause = cause::left_standby(s.loop.now(), member->instance_id, group.desired);
    ++group.desired;
    activities.push_back(s.reconciler.exit_standby(group, *member, std::move(cause)));
  }
  s.changed(group);
  return activities;
}

void Autoscaling::set_instance_health(const std::string& instance_id, bool healthy, bool respect_grace) {
  State& s = *state_;
  auto [group, member] = s.find_instance(instance_id);
  if (!healthy && respect_grace) {
    bool in_grace =
        !member.in_service_since || s.loop.now() < *member.in_service_since + std::chrono::seconds(group.grace_seconds);
    if (in_grace) return;
  }
  if (member.state == Lifecycle::terminating) return;
  member.ailment = healthy ? Ailment::none : Ailment::user;
  s.books.save(group, member);
  s.reconciler.touch(group.name);
}

std::vector<const Activity*> Autoscaling::activities(const std::optional<std::string>& group,
                                                     bool of_deleted_groups) const {
  const Group* live = group ? state_->books.find(*group) : nullptr;
  if (group && live == nullptr && !of_deleted_groups) state_->find(*group);  // says that there is none
  std::vector<const Activity*> list;
  const auto& all = state_->books.activities();
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    const Activity& activity = it->second;
    if (activity.group_deleted && !of_deleted_groups) continue;
    if (!group || activity.group == *group) list.push_back(&activity);
  }
  std::stable_partition(list.begin(), list.end(), [](const Activity* activity) { return !is_over(activity->status); });
  return list;
}

// ------------------------------------------------------------------------------------------------------- refreshes

std::string Autoscaling::start_refresh(const std::string& name, const std::optional<TemplateRef>& desired,
                                       const RefreshPreferences& preferences) {
  State& s = *state_;
  Group& group = s.find_live(name);
  if (s.books.active_refresh(name) != nullptr) {
    throw ApiError("InstanceRefreshInProgress",
                   "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.");
  }
  Refresh refresh;
  if (desired) refresh.desired = exact_template(*desired, s.instances);
  check_refresh(group, refresh.desired, preferences, s.instances);
  refresh.id = s.random.uuid();
  refresh.group = name;
  refresh.started = s.loop.now();
  refresh.last_progress = s.loop.now();
  refresh.preferences = preferences;
  refresh.original = group.launch_template;
  refresh.instances_to_update = group.desired;
  s.books.add(refresh);
  State::forget_failures(group);
  s.changed(group);
  return refresh.id;
}

std::string Autoscaling::cancel_refresh(const std::string& name, bool wait) {
  State& s = *state_;
  Group& group = s.find(name);
  Refresh* active = s.books.active_refresh(name);
  if (active == nullptr) {
    throw ApiError("ActiveInstanceRefreshNotFound",
                   fmt::format("No in progress or pending Instance Refresh found for Auto Scaling group {}", name));
  }
  Refresh refresh = *active;
  refresh.status = wait ? RefreshStatus::cancelling : RefreshStatus::cancelled;
  refresh.reason = "Cancelled due to user request.";
  refresh.hold_until.reset();
  refresh.bake_until.reset();
  if (!wait) refresh.ended = s.loop.now();
  s.books.save(refresh);
  s.changed(group);
  return refresh.id;
}

std::string Autoscaling::roll_back_refresh(const std::string& name) {
  State& s = *state_;
  Group& group = s.find(name);
  Refresh* active = s.books.active_refresh(name);
  if (active == nullptr || active->status == RefreshStatus::cancelling) {
    throw ApiError("ActiveInstanceRefreshNotFound",
                   fmt::format("No in progress or pending Instance Refresh found for Auto Scaling group {}", name));
  }
  // Asked for again (an answer was lost): it goes on.
  if (active->status == RefreshStatus::rollback_in_progress) return active->id;
  if (std::string why = irreversible(group, active->desired.has_value(), s.instances); !why.empty()) {
    throw ApiError("IrreversibleInstanceRefresh",
                   fmt::format("The instance refresh of {} cannot be rolled back: {}.", name, why));
  }
  Refresh refresh = *active;
  start_rollback(refresh, "Rollback due to user request.", s.loop.now());
  s.books.save(refresh);
  State::forget_failures(group);
  s.changed(group);
  return refresh.id;
}

std::vector<const Refresh*> Autoscaling::refreshes(const std::string& name) const {
  state_->find(name);
  std::vector<const Refresh*> list;
  const std::vector<Refresh>& all = state_->books.refreshes(name);
  for (auto it = all.rbegin(); it != all.rend(); ++it) list.push_back(&*it);
  return list;
}

// ------------------------------------------------------------------------------------------- tags and target groups

void Autoscaling::put_tags(const std::vector<GroupTag>& tags) {
  std::map<std::string, std::vector<Tag>> wanted;
  for (const GroupTag& one : tags) {
    std::vector<Tag>& own = wanted.try_emplace(one.group, state_->find(one.group).tags).first->second;
    check_tag(one.tag);
    auto it = std::find_if(own.begin(), own.end(), [&](const Tag& old) { return old.key >= one.tag.key; });
    if (it != own.end() && it->key == one.tag.key) {
      *it = one.tag;
    } else {
      if (own.size() >= tags_most) throw ApiError("LimitExceeded", "A group has at most 50 tags.");
      own.insert(it, one.tag);
    }
  }
  for (auto& [name, own] : wanted) {
    Group& group = state_->find(name);
    group.tags = std::move(own);
    state_->books.save(group);
  }
}

void Autoscaling::delete_tags(const std::vector<GroupTag>& tags) {
  for (const GroupTag& one : tags) state_->find(one.group);
  for (const GroupTag& one : tags) {
    Group& group = state_->find(one.group);
    std::erase_if(group.tags, [&](const Tag& tag) { return tag.key == one.tag.key; });
    state_->books.save(group);
  }
}

void Autoscaling::attach(const std::string& name, const std::vector<std::string>& arns) {
  Group& group = state_->find_live(name);
  for (const AttachedTargetGroup& added : state_->checked_target_groups(arns)) {
    auto it = std::find_if(group.target_groups.begin(), group.target_groups.end(),
                           [&](const AttachedTargetGroup& old) { return old.arn == added.arn; });
    if (it != group.target_groups.end()) {
      it->removing = false;
      continue;
    }
    if (group.target_groups.size() >= target_groups_most) {
      throw ApiError("LimitExceeded", fmt::format("A group has at most {} target groups.", target_groups_most));
    }
    group.target_groups.push_back(added);
  }
  state_->changed(group);
}

void Autoscaling::detach(const std::string& name, const std::vector<std::string>& arns) {
  Group& group = state_->find_live(name);
  for (const std::string& arn : arns) {
    bool attached = std::any_of(group.target_groups.begin(), group.target_groups.end(),
                                [&](const AttachedTargetGroup& old) { return old.arn == arn; });
    if (!attached) invalid("Trying to remove Target Groups that are not part of the group: {}", arn);
  }
  for (AttachedTargetGroup& target_group : group.target_groups) {
    if (std::find(arns.begin(), arns.end(), target_group.arn) != arns.end()) target_group.removing = true;
  }
  state_->changed(group);
}

std::vector<AttachedState> Autoscaling::target_group_states(const std::string& name) const {
  const Group& group = state_->find(name);
  std::vector<AttachedState> list;
  for (const AttachedTargetGroup& target_group : group.target_groups) {
    bool all = true;
    bool healthy = false;
    for (const Member& member : group.members) {
      if (member.state != Lifecycle::in_service) continue;
      TargetState state = state_->targets.state(target_group.arn, member.instance_id);
      all = all && state != TargetState::absent;
      healthy = healthy || state == TargetState::healthy;
    }
    const char* text = target_group.removing ? "Removing" : healthy ? "InService" : all ? "Added" : "Adding";
    list.push_back({target_group.arn, text});
  }
  return list;
}

}  // namespace kiln::region::autoscaling
