// The planner of an instance refresh.
#include "region/autoscaling/refresh_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "region/autoscaling/scale_in.h"

namespace kiln::region::autoscaling {
namespace {

// One look at the group, from the refresh's side.
struct Look {
  int kept = 0;           // alive, and need no replacement: matching, or protected and ignored
  int fresh = 0;          // alive, of the configuration that is rolled out (or back to)
  int fresh_ready = 0;    // of these: serving and warm
  int stale = 0;          // alive, to be replaced
  int stale_blocked = 0;  // of these: protected from scale-in, and the refresh waits for that to end
  int ready = 0;          // that count for the least that must stay
  int standing = 0;       // these, and those that served before and do not at this moment
  int total = 0;          // alive
  int standby_waiting = 0;
  std::vector<std::size_t> never_served;  // stale: their end costs nothing
  std::vector<std::size_t> ailing;        // stale, served before and not at this moment
  std::vector<std::size_t> standby_ends;  // StandbyInstances = Terminate
  std::vector<Candidate> candidates;      // stale and serving
  std::string warming;                    // an example
  std::string awaited;                    // an example that does not serve yet
};

class Planner {
 public:
  Planner(const Refresh& refresh, const GroupView& view, const std::vector<Standing>& standings, Time now)
      : refresh_(refresh), view_(view), group_(view.group), standings_(standings), now_(now) {
    step_.next = refresh;
    step_.stale.assign(group_.members.size(), false);
  }

  RefreshStep run() {
    switch (refresh_.status) {
      case RefreshStatus::pending:
        next().status = RefreshStatus::in_progress;
        next().last_progress = now_;
        next().reason.clear();
        look();
        replace();
        break;
      case RefreshStatus::in_progress:
        look();
        replace();
        break;
      case RefreshStatus::rollback_in_progress:
        look();
        roll_back();
        break;
      case RefreshStatus::baking:
        bake();
        break;
      case RefreshStatus::cancelling:
        cancel();
        break;
      default:
        break;
    }
    return std::move(step_);
  }

 private:
  Refresh& next() { return step_.next; }
  bool rolling_back() const { return refresh_.status == RefreshStatus::rollback_in_progress; }

  void look_at(Time time) {
    if (!step_.look_again || time < *step_.look_again) step_.look_again = time;
  }

  bool matches(const Member& member) const {
    return view_.refresh_exact && member.launched_from.id == view_.refresh_exact->id &&
           member.launched_from.version == view_.refresh_exact->version;
  }

  bool is_stale(const Member& member) const {
    bool ours = member.refresh_id == refresh_.id;
    if (rolling_back()) return ours;
    if (refresh_.preferences.skip_matching.value_or(false) && view_.refresh_exact) return !matches(member);
    return !ours;
  }

  // AWS: the warm-up begins when the instance comes into service. Those that were there before need none.
  bool warm(const Member& member) {
    if (!refresh_.started || member.created < *refresh_.started || !member.in_service_since) return true;
    Time from = *member.in_service_since + std::chrono::seconds(refresh_.warmup_seconds(group_));
    if (now_ >= from) return true;
    look_at(from);
    return false;
  }

  void look() {
    const std::string protection = refresh_.preferences.scale_in_protected.value_or("Wait");
    const std::string standby = refresh_.preferences.standby.value_or("Wait");
    for (std::size_t i = 0; i < group_.members.size(); ++i) {
      const Member& member = group_.members[i];
      Standing standing = standings_[i];
      if (standing == Standing::gone) continue;
      bool stale = is_stale(member);
      if (standing == Standing::standby) {
        if (stale && standby == "Terminate" && member.state == Lifecycle::standby) seen_.standby_ends.push_back(i);
        if (stale && standby == "Wait") ++seen_.standby_waiting;
        continue;
      }
      ++seen_.total;
      bool guarded = member.protected_from_scale_in && member.state == Lifecycle::in_service;
      if (stale && guarded && protection == "Ignore") stale = false;
      step_.stale[i] = stale;
      if (stale) {
        look_at_stale(i, standing, guarded && protection == "Wait");
      } else {
        look_at_fresh(member, standing);
      }
    }
    bounds_ = refresh_bounds(group_.desired, refresh_.preferences);
  }

  void look_at_stale(std::size_t index, Standing standing, bool blocked) {
    const Member& member = group_.members[index];
    ++seen_.stale;
    if (standing == Standing::serving) ++seen_.ready;
    if (standing == Standing::serving || member.served) ++seen_.standing;
    if (blocked) {
      ++seen_.stale_blocked;
      return;
    }
    // Its launch has not been answered: it is ended when its id is known.
    if (member.instance_id.empty()) return;
    if (standing == Standing::coming) {
      (member.served ? seen_.ailing : seen_.never_served).push_back(index);
      return;
    }
    seen_.candidates.push_back({index, member.zone, true, true, false,
                                static_cast<long>(parse_int(member.launched_from.version).value_or(0)),
                                member.launched_from.id, member.created});
  }

  void look_at_fresh(const Member& member, Standing standing) {
    bool ready = standing == Standing::serving && warm(member);
    if (ready) {
      ++seen_.ready;
      ++seen_.standing;
    } else if (standing == Standing::serving) {
      seen_.warming = member.instance_id;
    } else {
      seen_.awaited = member.instance_id;
    }
    if (!rolling_back() && member.refresh_id != refresh_.id) {
      ++seen_.kept;
      return;
    }
    ++seen_.fresh;
    if (ready) ++seen_.fresh_ready;
  }

  // Ends what may go and says how many may come beyond the desired capacity. `limit` of the `to_update` instances may
  // be replaced by now.
  void move(int to_update, int limit) {
    int may_end = std::max(0, seen_.stale - std::max(0, to_update - limit));
    int total = seen_.total;
    auto end_idle = [&](const std::vector<std::size_t>& idle, int most) {
      for (std::size_t index : idle) {
        if (most-- <= 0 || may_end == 0) break;
        step_.ends.push_back(index);
        --may_end;
        --total;
      }
    };
    end_idle(seen_.never_served, may_end);
    // What served until a moment ago may come back: a fleet whose checks fail all at once is not ended all at once.
    std::size_t before = step_.ends.size();
    end_idle(seen_.ailing, std::max(0, seen_.standing - bounds_.min_ready));
    int standing = seen_.standing - static_cast<int>(step_.ends.size() - before);
    int spare = std::max(0, std::min(seen_.ready, standing) - bounds_.min_ready);
    std::vector<std::size_t> victims =
        choose_victims(seen_.candidates, static_cast<std::size_t>(std::min(spare, may_end)), {});
    total -= static_cast<int>(victims.size());
    step_.ends.insert(step_.ends.end(), victims.begin(), victims.end());
    int left = seen_.stale - seen_.stale_blocked - static_cast<int>(step_.ends.size());
    step_.ends.insert(step_.ends.end(), seen_.standby_ends.begin(), seen_.standby_ends.end());

    int fill = std::max(0, group_.desired - total);
    int needed = std::min(limit - seen_.fresh, left + fill);
    step_.surge = std::max(0, std::min(bounds_.max_total - (total + fill), needed - fill));
  }

  void note_progress(int made) {
    if (made <= next().best_ready && next().best_ready >= 0) return;
    next().best_ready = made;
    next().last_progress = now_;
  }

  // ------------------------------------------------------------------------------------------------ forward

  void replace() {
    int to_update = std::max(0, group_.desired - seen_.kept);
    int updated = std::min(seen_.fresh_ready, to_update);
    int percent = to_update == 0 ? 100 : 100 * updated / to_update;
    next().percent_complete = percent;
    next().instances_to_update = to_update - updated;
    note_progress(seen_.fresh_ready);

    int threshold = pass_checkpoints(percent, to_update);
    int limit = (to_update * threshold + 99) / 100;
    move(to_update, limit);
    if (holding()) return;

    bool all = seen_.stale == 0 && updated == to_update && seen_.standby_waiting == 0;
    bool partial = threshold < 100 && percent >= threshold && seen_.total <= group_.desired && seen_.stale > 0;
    if ((all && step_.ends.empty()) || partial) return finish();
    explain_wait();
    if (gave_up()) return;
    look_at(next().last_progress + no_progress_limit);
  }

  // How many percent may be replaced now: the next checkpoint, or 100.
  int pass_checkpoints(int percent, int to_update) {
    const std::vector<int>& marks = refresh_.preferences.checkpoints;
    if (marks.empty()) return 100;
    // AWS: scaling out lowers the share, so the same checkpoint may come again.
    if (to_update > next().checkpoint_total && next().checkpoint_total > 0) {
      int still = 0;
      for (int mark : marks) {
        if (mark <= percent) still = mark;
      }
      next().checkpoint_passed = std::min(next().checkpoint_passed, still);
    }
    next().checkpoint_total = to_update;
    int reached = next().checkpoint_passed;
    for (int mark : marks) {
      if (mark <= percent) reached = std::max(reached, mark);
    }
    if (reached > next().checkpoint_passed) {
      next().checkpoint_passed = reached;
      if (reached != marks.back()) {
        next().hold_until = now_ + std::chrono::seconds(refresh_.preferences.checkpoint_delay_seconds.value_or(3600));
      }
    }
    if (next().hold_until) {
      if (now_ < *next().hold_until) return reached;
      next().hold_until.reset();
      next().last_progress = now_;
    }
    for (int mark : marks) {
      if (mark > reached) return mark;
    }
    return marks.back();
  }

  bool holding() {
    if (!next().hold_until) return false;
    look_at(*next().hold_until);
    next().reason = fmt::format("The checkpoint of {}% was reached. Waiting until {} before continuing.",
                                next().checkpoint_passed, format_iso8601(*next().hold_until));
    return true;
  }

  void explain_wait() {
    std::string& reason = next().reason;
    if (seen_.stale_blocked > 0 && seen_.stale == seen_.stale_blocked) {
      reason = fmt::format("Waiting for {} instances that are protected from scale in.", seen_.stale_blocked);
    } else if (seen_.stale == 0 && seen_.standby_waiting > 0) {
      reason = fmt::format("Waiting for {} instances in Standby.", seen_.standby_waiting);
    } else if (!seen_.warming.empty()) {
      reason = fmt::format("Waiting for instances to warm up before continuing. For example: {} is warming up.",
                           seen_.warming);
    } else if (!seen_.awaited.empty()) {
      reason = fmt::format(
          "Waiting for remaining instances to be available. For example: {} is not ready to be put in service.",
          seen_.awaited);
    } else {
      reason.clear();
    }
  }

  bool gave_up() {
    std::string why;
    if (now_ - next().last_progress >= no_progress_limit) {
      why = "No instance was replaced for 1 hour.";
      if (seen_.stale_blocked > 0) why += " There are instances that are protected from scale in.";
      if (seen_.standby_waiting > 0) why += " There are instances in Standby.";
      if (!seen_.awaited.empty()) why += fmt::format(" For example, {} did not become healthy.", seen_.awaited);
    } else if (refresh_.started && now_ - *refresh_.started >= refresh_limit) {
      why = "It was not done after 14 days.";
    } else {
      return false;
    }
    step_.ends.clear();
    step_.surge = 0;
    if (rolling_back()) {
      close(RefreshStatus::rollback_failed, "The rollback failed. " + why);
    } else if (refresh_.preferences.auto_rollback.value_or(false) && refresh_.desired) {
      begin_rollback("The instance refresh failed. " + why);
    } else {
      close(RefreshStatus::failed, "The instance refresh failed. " + why);
    }
    return true;
  }

  void finish() {
    int seconds = refresh_.preferences.bake_seconds.value_or(0);
    if (seconds > 0) {
      next().status = RefreshStatus::baking;
      next().bake_until = now_ + std::chrono::seconds(seconds);
      next().reason = fmt::format("All instances were replaced. Baking until {}.", format_iso8601(*next().bake_until));
      look_at(*next().bake_until);
      return;
    }
    succeed();
  }

  void succeed() {
    close(RefreshStatus::successful, "");
    step_.adopt_desired = refresh_.desired.has_value();
  }

  void bake() {
    if (!refresh_.bake_until || now_ >= *refresh_.bake_until) return succeed();
    look_at(*refresh_.bake_until);
  }

  void close(RefreshStatus status, std::string reason) {
    next().status = status;
    next().reason = std::move(reason);
    next().ended = now_;
    next().hold_until.reset();
    next().bake_until.reset();
  }

  // ------------------------------------------------------------------------------------------------ backward

  void begin_rollback(const std::string& reason) {
    start_rollback(next(), reason, now_);
    look_at(now_);
  }

  void roll_back() {
    move(group_.desired, group_.desired);
    const RollbackDetails& details = *refresh_.rollback;
    int share = group_.desired == 0 ? 0 : std::min(100, 100 * seen_.stale / group_.desired);
    next().percent_complete = std::min(details.percent_complete, share);
    next().instances_to_update = details.instances_to_update;
    note_progress(std::max(0, group_.desired - seen_.stale) + seen_.fresh_ready);
    if (seen_.stale == 0 && seen_.fresh_ready >= group_.desired) {
      next().percent_complete = 0;
      return close(RefreshStatus::rollback_successful, details.reason);
    }
    if (gave_up()) return;
    look_at(next().last_progress + no_progress_limit);
  }

  void cancel() {
    // WaitForTransitioningInstances: launches and terminations that are under way come to their end first.
    for (const Member& member : group_.members) {
      if (member.state == Lifecycle::pending || member.state == Lifecycle::terminating) return;
    }
    close(RefreshStatus::cancelled, "Cancelled due to user request.");
    look_at(now_);
  }

  const Refresh& refresh_;
  const GroupView& view_;
  const Group& group_;
  const std::vector<Standing>& standings_;
  Time now_;
  RefreshStep step_;
  Look seen_;
  Bounds bounds_;
};

}  // namespace

void start_rollback(Refresh& refresh, const std::string& reason, Time now) {
  refresh.rollback = RollbackDetails{reason, now, refresh.percent_complete, refresh.instances_to_update};
  refresh.status = RefreshStatus::rollback_in_progress;
  refresh.reason = reason;
  refresh.best_ready = -1;
  refresh.last_progress = now;
  refresh.hold_until.reset();
  refresh.bake_until.reset();
}

RefreshStep plan_refresh(const Refresh& refresh, const GroupView& view, const std::vector<Standing>& standings,
                         Time now) {
  return Planner(refresh, view, standings, now).run();
}

}  // namespace kiln::region::autoscaling
