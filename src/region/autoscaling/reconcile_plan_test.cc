// The planner, on random fleets and without anything around it.
#include "region/autoscaling/reconcile_plan.h"

#include <gtest/gtest.h>

#include "host/random.h"
#include "region/autoscaling/refresh_plan.h"

namespace kiln::region::autoscaling {
namespace {

// A fleet that does what plans say, in its own time and order; and fails when it likes to.
class Fleet {
 public:
  explicit Fleet(std::uint64_t seed) : random_(seed) {
    group.name = "web";
    group.launch_template = {"lt-1", "web", "1"};
    group.subnet_zones = {{"s1", "a"}, {"s2", "b"}, {"s3", "c"}};
    group.subnets = {"s1", "s2", "s3"};
    group.desired = static_cast<int>(random_.below(12));
    group.max_size = 1000;
    for (int i = 0; i < group.desired; ++i) add({"lt-1", "web", "1"}, "", "s1", true);
  }

  void begin_refresh() {
    RefreshPreferences preferences;
    preferences.min_healthy = static_cast<int>(random_.below(101));
    if (random_.below(3) != 0) {
      preferences.max_healthy =
          100 + static_cast<int>(random_.below(static_cast<std::uint64_t>(std::min(100, preferences.min_healthy)) + 1));
    }
    preferences.warmup_seconds = static_cast<int>(random_.below(5));
    Refresh begun;
    begun.id = "r-1";
    begun.group = "web";
    begun.started = now;
    begun.last_progress = now;
    begun.preferences = preferences;
    begun.desired = TemplateRef{"lt-1", "web", "2"};
    refresh = begun;
  }

  // Members that serve traffic now.
  int serving() const {
    int count = 0;
    for (std::size_t i = 0; i < group.members.size(); ++i) count += serves(i);
    return count;
  }
  int staying() const {
    int count = 0;
    for (const Member& member : group.members) count += member.state != Lifecycle::terminating;
    return count;
  }
  bool serves(std::size_t i) const {
    return group.members[i].state == Lifecycle::in_service && seen[i].targets_ready &&
           seen[i].status.phase == Phase::running && group.members[i].ailment == Ailment::none;
  }

  void apply(const Plan& plan) {
    if (plan.refresh) refresh = *plan.refresh;
    if (plan.adopt_desired) group.launch_template = *refresh->desired;
    for (std::size_t i : plan.ask) group.members[i].instance_id = "i-" + group.members[i].token;
    for (std::size_t i : plan.in_service) {
      group.members[i].state = Lifecycle::in_service;
      group.members[i].in_service_since = now;
    }
    for (std::size_t i : plan.served) group.members[i].served = true;
    for (const PlannedEnd& end : plan.ends) {
      if (!group.members[end.member].instance_id.empty()) group.members[end.member].state = Lifecycle::terminating;
    }
    for (std::size_t i : plan.terminate) seen[i].status.phase = Phase::terminated;
    std::vector<bool> gone(group.members.size(), false);
    for (std::size_t i : plan.forget) gone[i] = true;
    for (std::size_t i = gone.size(); i-- > 0;) {
      if (!gone[i]) continue;
      group.members.erase(group.members.begin() + static_cast<long>(i));
      seen.erase(seen.begin() + static_cast<long>(i));
    }
    for (const PlannedLaunch& launch : plan.launches) {
      add(launch.from, launch.for_refresh ? refresh->id : "", launch.place.subnet_id, false);
    }
  }

  // Something happens out there: machines boot, targets turn healthy, time passes; with `trouble`, things break.
  void happen(bool trouble) {
    now += Duration(random_.below(2'000));
    for (std::size_t i = 0; i < group.members.size(); ++i) {
      Observed& one = seen[i];
      one.target_present = group.members[i].state == Lifecycle::terminating && random_.below(3) == 0;
      if (group.members[i].instance_id.empty()) continue;
      one.known = true;
      if (one.status.phase == Phase::pending && random_.below(2) == 0) one.status.phase = Phase::running;
      if (group.members[i].state == Lifecycle::in_service && random_.below(2) == 0) one.targets_ready = true;
      if (trouble && random_.below(30) == 0) one.targets_ready = false;
      if (trouble && random_.below(60) == 0) one.status.phase = Phase::stopped;
    }
  }

  void add(TemplateRef from, std::string refresh_id, const std::string& subnet, bool up) {
    Member member;
    member.token = std::to_string(next_++);
    member.subnet_id = subnet;
    member.zone = group.subnet_zones.at(subnet);
    member.launched_from = std::move(from);
    member.refresh_id = std::move(refresh_id);
    member.created = now;
    Observed one;
    one.targets_ready = up;
    if (up) {
      member.instance_id = "i-" + member.token;
      member.state = Lifecycle::in_service;
      member.in_service_since = now;
      member.served = true;
      one.known = true;
      one.status.phase = Phase::running;
    }
    group.members.push_back(std::move(member));
    seen.push_back(one);
  }

  Plan look() const {
    const Refresh* active = refresh && is_active(refresh->status) ? &*refresh : nullptr;
    return plan({group, seen, active, TemplateRef{"lt-1", "web", "2"}}, now);
  }

  Group group;
  std::vector<Observed> seen;
  std::optional<Refresh> refresh;
  Time now{std::chrono::hours(1)};

 private:
  host::SeededRandom random_;
  int next_ = 1;
};

constexpr int fleets = 3'000;
constexpr int looks_most = 3'000;

TEST(PlanOfARefresh, NeverServesWithLessThanTheMinimumNorHoldsMoreThanTheMaximumAndEnds) {
  for (std::uint64_t seed = 1; seed <= fleets; ++seed) {
    Fleet fleet(seed);
    fleet.begin_refresh();
    Bounds bounds = refresh_bounds(fleet.group.desired, fleet.refresh->preferences);
    int looks = 0;
    while (is_active(fleet.refresh->status) || fleet.staying() != fleet.group.desired) {
      fleet.apply(fleet.look());
      ASSERT_GE(fleet.serving(), bounds.min_ready) << "seed " << seed;
      ASSERT_LE(fleet.staying(), bounds.max_total) << "seed " << seed;
      fleet.happen(false);
      ASSERT_LT(++looks, looks_most) << "seed " << seed << " does not end";
    }
    ASSERT_EQ(fleet.refresh->status, RefreshStatus::successful) << "seed " << seed;
    for (const Member& member : fleet.group.members) {
      ASSERT_TRUE(member.state == Lifecycle::terminating || member.launched_from.version == "2") << "seed " << seed;
    }
  }
}

TEST(PlanOfARollback, KeepsTheSameBoundsInReverseWhereverItBegins) {
  host::SeededRandom chance(99);
  for (std::uint64_t seed = 1; seed <= fleets; ++seed) {
    Fleet fleet(seed);
    fleet.begin_refresh();
    Bounds bounds = refresh_bounds(fleet.group.desired, fleet.refresh->preferences);
    for (std::uint64_t i = chance.below(40); i > 0; --i) {
      fleet.apply(fleet.look());
      fleet.happen(false);
    }
    if (!is_active(fleet.refresh->status)) continue;
    start_rollback(*fleet.refresh, "asked", fleet.now);
    int looks = 0;
    while (is_active(fleet.refresh->status)) {
      int before = fleet.serving();
      fleet.apply(fleet.look());
      ASSERT_GE(fleet.serving(), std::min(before, bounds.min_ready)) << "seed " << seed;
      ASSERT_LE(fleet.staying(), bounds.max_total) << "seed " << seed;
      fleet.happen(false);
      ASSERT_LT(++looks, looks_most) << "seed " << seed << " does not end";
    }
    ASSERT_EQ(fleet.refresh->status, RefreshStatus::rollback_successful) << "seed " << seed;
    for (const Member& member : fleet.group.members) {
      ASSERT_TRUE(member.state == Lifecycle::terminating || member.launched_from.version == "1") << "seed " << seed;
    }
  }
}

TEST(PlanOfARefresh, TakesNoServingInstanceBelowTheMinimumWhileInstancesFailAtRandom) {
  for (std::uint64_t seed = 1; seed <= fleets; ++seed) {
    Fleet fleet(seed);
    fleet.begin_refresh();
    Bounds bounds = refresh_bounds(fleet.group.desired, fleet.refresh->preferences);
    for (int look = 0; look < 150; ++look) {
      int before = fleet.serving();
      fleet.apply(fleet.look());
      ASSERT_GE(fleet.serving(), std::min(before, bounds.min_ready)) << "seed " << seed << " look " << look;
      fleet.happen(look < 100);
    }
  }
}

TEST(PlanOfAGroup, ComesToItsDesiredCapacityFromAnywhere) {
  host::SeededRandom chance(3);
  for (std::uint64_t seed = 1; seed <= fleets; ++seed) {
    Fleet fleet(seed);
    for (int look = 0; look < 60; ++look) {
      if (look < 20 && chance.below(4) == 0) fleet.group.desired = static_cast<int>(chance.below(12));
      fleet.apply(fleet.look());
      fleet.happen(look < 20);
    }
    for (int look = 0; look < 200 && !fleet.look().settled; ++look) {
      fleet.apply(fleet.look());
      fleet.happen(false);
    }
    ASSERT_TRUE(fleet.look().settled) << "seed " << seed;
    ASSERT_EQ(static_cast<int>(fleet.group.members.size()), fleet.group.desired) << "seed " << seed;
  }
}

TEST(PlanOfAGroup, TouchesNothingWhenAllIsWell) {
  Fleet fleet(1);
  Plan first = fleet.look();
  EXPECT_TRUE(first.settled);
  EXPECT_TRUE(first.launches.empty());
  EXPECT_TRUE(first.ends.empty());
}

}  // namespace
}  // namespace kiln::region::autoscaling
