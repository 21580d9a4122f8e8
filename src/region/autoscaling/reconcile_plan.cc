// The planner of a group.
#include "region/autoscaling/reconcile_plan.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "region/autoscaling/refresh_plan.h"
#include "region/autoscaling/scale_in.h"

namespace kiln::region::autoscaling {
namespace {

// AWS allows an impaired instance "a few minutes" to recover (Health checks for instances in an Auto Scaling group).
constexpr Duration impaired_limit = std::chrono::minutes(3);

class Planner {
 public:
  Planner(const GroupView& view, Time now) : view_(view), group_(view.group), now_(now) { plan_.settled = true; }

  Plan run() {
    standings_.reserve(group_.members.size());
    for (std::size_t i = 0; i < group_.members.size(); ++i) standings_.push_back(look_at_member(i));
    count();
    step_refresh();
    end_surplus();
    launch_missing();
    plan_.settled = plan_.settled && plan_.ends.empty() && plan_.launches.empty() && plan_.forget.empty();
    return std::move(plan_);
  }

 private:
  void look_at(Time time) {
    if (time > now_ && (!plan_.look_again || time < *plan_.look_again)) plan_.look_again = time;
  }

  // ------------------------------------------------------------------------------------------------ members

  Standing look_at_member(std::size_t index) {
    const Member& member = group_.members[index];
    switch (member.state) {
      case Lifecycle::pending:
        return look_at_pending(index);
      case Lifecycle::in_service:
        connect(index);
        return look_at_in_service(index);
      case Lifecycle::terminating:
        look_at_terminating(index);
        return Standing::gone;
      case Lifecycle::entering_standby:
        plan_.settled = false;
        if (!view_.observed[index].target_present || !running(index)) plan_.standby.push_back(index);
        return look_at_standby(index);
      case Lifecycle::standby:
        return look_at_standby(index);
    }
    return Standing::gone;
  }

  Standing look_at_standby(std::size_t index) {
    if (!group_.deleting) return Standing::standby;
    plan_.ends.push_back({index, EndWhy::scale_in});
    return Standing::gone;
  }

  // AWS: an instance is registered when it is in service, by the group once; who deregisters it by hand is left alone.
  void connect(std::size_t index) {
    const std::vector<std::string>& registered = group_.members[index].registered;
    for (const AttachedTargetGroup& target_group : group_.target_groups) {
      bool there = std::find(registered.begin(), registered.end(), target_group.arn) != registered.end();
      if (there && target_group.removing) plan_.deregister.push_back({index, target_group.arn});
      if (!there && !target_group.removing) plan_.registrations.push_back({index, target_group.arn});
    }
  }

  bool running(std::size_t index) const {
    const Observed& seen = view_.observed[index];
    return seen.known && seen.status.phase == Phase::running;
  }

  Standing look_at_pending(std::size_t index) {
    plan_.settled = false;
    const Observed& seen = view_.observed[index];
    if (group_.members[index].instance_id.empty()) {
      plan_.ask.push_back(index);
      return Standing::coming;
    }
    if (running(index)) {
      plan_.in_service.push_back(index);
      return Standing::coming;
    }
    if (seen.known && seen.status.phase == Phase::pending) return Standing::coming;
    plan_.ends.push_back({index, group_.members[index].leaving_standby ? EndWhy::ec2_state : EndWhy::failed_launch});
    return Standing::gone;
  }

  Standing look_at_in_service(std::size_t index) {
    const Member& member = group_.members[index];
    const Observed& seen = view_.observed[index];
    if (std::optional<EndWhy> why = ailment(member, seen, index)) {
      plan_.ends.push_back({index, *why});
      return Standing::gone;
    }
    if (!seen.targets_ready) return Standing::coming;
    if (!member.served) plan_.served.push_back(index);
    return Standing::serving;
  }

  std::optional<EndWhy> ailment(const Member& member, const Observed& seen, std::size_t index) {
    // AWS: an instance that is not running fails at once, even inside the grace period.
    if (!running(index)) return EndWhy::ec2_state;
    if (member.ailment == Ailment::user) return EndWhy::user;
    if (seen.status.impaired_since) {
      if (now_ - *seen.status.impaired_since >= impaired_limit) return EndWhy::ec2_status;
      look_at(*seen.status.impaired_since + impaired_limit);
    }
    if (group_.elb_health && seen.target_unhealthy) {
      Time end_of_grace = member.in_service_since.value_or(now_) + std::chrono::seconds(group_.grace_seconds);
      if (now_ >= end_of_grace) return EndWhy::elb;
      look_at(end_of_grace);
    }
    return std::nullopt;
  }

  void look_at_terminating(std::size_t index) {
    plan_.settled = false;
    const Member& member = group_.members[index];
    const Observed& seen = view_.observed[index];
    if (member.instance_id.empty() || !seen.known || seen.status.phase == Phase::terminated) {
      plan_.forget.push_back(index);
      return;
    }
    bool drained = member.skip_draining || !seen.target_present || !running(index);
    if (drained && seen.status.phase != Phase::shutting_down) plan_.terminate.push_back(index);
  }

  void count() {
    plan_.capacity = 0;
    for (std::size_t i = 0; i < standings_.size(); ++i) {
      bool counts = standings_[i] == Standing::coming || standings_[i] == Standing::serving;
      // What fails now was capacity until now; it is in the texts of the activities.
      if (counts || group_.members[i].state == Lifecycle::in_service) ++plan_.capacity;
    }
  }

  // ----------------------------------------------------------------------------------------------- capacity

  void step_refresh() {
    if (view_.refresh == nullptr) return;
    RefreshStep step = plan_refresh(*view_.refresh, view_, standings_, now_);
    for (std::size_t index : step.ends) {
      plan_.ends.push_back({index, EndWhy::refresh});
      standings_[index] = Standing::gone;
    }
    surge_ = step.surge;
    stale_ = std::move(step.stale);
    plan_.adopt_desired = step.adopt_desired;
    if (step.look_again) {
      // A turn of the refresh (a rollback that begins) wants another look at once.
      if (*step.look_again <= now_) plan_.look_again = now_;
      look_at(*step.look_again);
    }
    plan_.refresh = std::move(step.next);
  }

  bool stale(std::size_t index) const { return index < stale_.size() && stale_[index]; }
  bool counts(std::size_t index) const {
    return standings_[index] == Standing::coming || standings_[index] == Standing::serving;
  }

  // While a refresh replaces, what is stale leaves by its rules; only the others are scaled in.
  void end_surplus() {
    if (view_.refresh != nullptr && view_.refresh->status == RefreshStatus::cancelling) return;
    std::vector<Candidate> candidates;
    for (std::size_t i = 0; i < standings_.size(); ++i) {
      if (!counts(i) || stale(i)) continue;
      const Member& member = group_.members[i];
      candidates.push_back({i, member.zone, standings_[i] == Standing::serving, false,
                            member.protected_from_scale_in && member.state == Lifecycle::in_service && !group_.deleting,
                            static_cast<long>(parse_int(member.launched_from.version).value_or(0)),
                            member.launched_from.id, member.created});
    }
    int excess = static_cast<int>(candidates.size()) - group_.desired;
    if (excess <= 0) return;
    std::vector<std::size_t> victims =
        choose_victims(candidates, static_cast<std::size_t>(excess), group_.termination_policies);
    for (std::size_t index : victims) {
      plan_.ends.push_back({index, EndWhy::scale_in});
      standings_[index] = Standing::gone;
    }
  }

  void launch_missing() {
    int total = 0;
    bool any_coming = false;
    std::map<std::string, int> staying;  // by subnet: what a refresh takes away does not count for the spread
    for (std::size_t i = 0; i < standings_.size(); ++i) {
      if (!counts(i)) continue;
      const Member& member = group_.members[i];
      ++total;
      any_coming = any_coming || (member.state == Lifecycle::pending && !member.leaving_standby);
      if (!stale(i)) ++staying[member.subnet_id];
    }
    int fill = std::max(0, group_.desired - total);
    int wanted = fill + surge_;
    if (wanted == 0) return;
    plan_.settled = false;
    // The backoff begins when this plan has been done.
    if (launch_failed()) return;
    // After failures one launch at a time shows whether the cause is gone.
    if (group_.launch_failures > 0) {
      if (group_.launch_not_before && now_ < *group_.launch_not_before) return look_at(*group_.launch_not_before);
      if (any_coming) return;
      wanted = 1;
    }
    RefreshStatus status = plan_.refresh ? plan_.refresh->status : RefreshStatus::successful;
    bool for_refresh = status == RefreshStatus::in_progress || status == RefreshStatus::baking;
    const TemplateRef& from = plan_.adopt_desired ? *plan_.refresh->desired
                              : plan_.refresh     ? plan_.refresh->config(group_)
                                                  : group_.launch_template;
    int unhealthy = group_.replacements_owed + owed_now();
    for (Place& place : spread(group_.subnet_zones, staying, static_cast<std::size_t>(wanted))) {
      LaunchWhy why = LaunchWhy::difference;
      if (unhealthy-- > 0) {
        why = LaunchWhy::unhealthy;
      } else if (view_.refresh != nullptr) {
        why = LaunchWhy::refresh;
      }
      plan_.launches.push_back({std::move(place), from, why, for_refresh});
    }
  }

  bool launch_failed() const {
    return std::any_of(plan_.ends.begin(), plan_.ends.end(),
                       [](const PlannedEnd& end) { return end.why == EndWhy::failed_launch; });
  }

  int owed_now() const {
    int owed = 0;
    for (const PlannedEnd& end : plan_.ends) {
      if (end.why != EndWhy::scale_in && end.why != EndWhy::refresh) ++owed;
    }
    return owed;
  }

  const GroupView& view_;
  const Group& group_;
  Time now_;
  Plan plan_;
  std::vector<Standing> standings_;
  std::vector<bool> stale_;
  int surge_ = 0;
};

}  // namespace

Plan plan(const GroupView& view, Time now) { return Planner(view, now).run(); }

}  // namespace kiln::region::autoscaling
