// Tests of the planner: single decisions, and whole deployments of random fleets in a small model of AWS.
#include "deploy/plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "deploy/internal/checks.h"
#include "host/random.h"

namespace kiln::deploy {
namespace {

using namespace std::chrono_literals;
using fleet::Fleet;
using fleet::Instance;
using ::testing::HasSubstr;

const Time kStart{std::chrono::milliseconds(1'780'000'000'000)};

Wanted wanted_of(const std::string& version, int size = 4) {
  Wanted wanted;
  wanted.names = fleet::names_of("web", "production");
  wanted.fleet.size = wanted.fleet.min = size;
  wanted.fleet.max = 2 * size;
  wanted.fleet.health.path = "/healthz";
  wanted.fleet.health.interval = 5s;
  wanted.fleet.drain = 2s;
  wanted.fleet.grace = 20s;
  wanted.version = version;
  wanted.digest = sha256(version);
  wanted.ami = "ami-" + version;
  return wanted;
}

// What AWS does, as far as the planner can see it, one second at a time. What exists is not made twice, as AWS refuses
// it. Instances of AMIs named in `bad` answer 500.
class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed) {}

  Fleet fleet;
  Time now = kStart;
  std::set<std::string> bad;
  int hidden_looks_max = 0;  // eventual consistency: so many looks may not show what was made
  bool foreign_cancels = false;
  int refused = 0;
  std::function<void(World&)> on_tick;

  // What a look shows now.
  Fleet look() {
    if (hidden_ > 0) {
      --hidden_;
      return shown_;
    }
    shown_ = fleet;
    return shown_;
  }

  void act(const Action& action, const Wanted& wanted) {
    std::visit([&](const auto& a) { on(a, wanted); }, action);
    if (hidden_looks_max > 0) hidden_ = static_cast<int>(random_.below(static_cast<std::uint64_t>(hidden_looks_max)));
  }

  void tick() {
    now += 1s;
    if (on_tick) on_tick(*this);
    if (!fleet.group) return;
    for (Instance& instance : fleet.group->instances) age(instance);
    std::erase_if(fleet.group->instances,
                  [&](const Instance& instance) { return instance.leaving() && now >= gone_at_[instance.id]; });
    step_refresh();
    keep_desired();
  }

  std::size_t healthy() const { return fleet.serving(); }

 private:
  void on(const CreateSecurityGroup& a, const Wanted& wanted) {
    const bool balancer = a.of == SecurityGroupOf::balancer;
    auto& group = balancer ? fleet.balancer_security_group : fleet.instance_security_group;
    if (group) return;
    group = fleet::SecurityGroup{balancer ? "sg-b" : "sg-i",
                                 balancer ? wanted.names.balancer_security_group : wanted.names.instance_security_group,
                                 wanted.names.tags(),
                                 {}};
  }
  void on(const OpenPort& a, const Wanted& wanted) {
    const bool balancer = a.of == SecurityGroupOf::balancer;
    auto& group = balancer ? fleet.balancer_security_group : fleet.instance_security_group;
    group->open_ports = {balancer ? wanted.fleet.listen.port : wanted.fleet.listen.target_port};
  }
  void on(const CreateTargetGroup&, const Wanted& wanted) {
    fleet::TargetGroup group;
    group.arn = "tg";
    group.name = wanted.names.target_group;
    group.port = wanted.fleet.listen.target_port;
    group.tags = wanted.names.tags();
    fleet.target_group = group;
    on(ChangeTargetGroup{}, wanted);
  }
  void on(const ChangeTargetGroup&, const Wanted& wanted) {
    const auto& health = wanted.fleet.health;
    auto& group = *fleet.target_group;
    group.health_path = health.path;
    group.health_interval = health.interval;
    group.health_timeout = health.timeout;
    group.healthy_threshold = health.healthy;
    group.unhealthy_threshold = health.unhealthy;
    group.matcher = health.status;
    group.drain = wanted.fleet.drain;
  }
  void on(const CreateLoadBalancer&, const Wanted& wanted) {
    fleet.load_balancer =
        fleet::LoadBalancer{"lb", wanted.names.load_balancer, "127.77.1.1", "active", wanted.names.tags()};
  }
  void on(const CreateListener&, const Wanted& wanted) {
    fleet.listeners = {{"listener", wanted.fleet.listen.port, {{"tg", 1}}}};
    fleet.target_group->load_balancers = {"lb"};
  }
  void on(const ChangeListener&, const Wanted& wanted) { on(CreateListener{}, wanted); }
  void on(const CreateLaunchTemplate&, const Wanted& wanted) {
    if (fleet.launch_template) return;
    fleet.launch_template = fleet::LaunchTemplate{"lt", wanted.names.launch_template, wanted.names.tags(), 0, {}};
    on(CreateTemplateVersion{}, wanted);
  }
  void on(const CreateTemplateVersion&, const Wanted& wanted) {
    auto& lt = *fleet.launch_template;
    for (const auto& made : lt.versions) {
      if (made.ami == wanted.ami) return;  // the same client token
    }
    fleet::TemplateVersion version;
    version.number = ++lt.latest;
    version.ami = wanted.ami;
    version.instance_type = wanted.fleet.instance_type;
    version.security_groups = {"sg-i"};
    version.image_version = wanted.version;
    version.digest = wanted.digest.str();
    lt.versions.push_back(version);
  }
  void on(const CreateGroup& a, const Wanted& wanted) {
    if (fleet.group) return;
    fleet::Group group;
    group.name = wanted.names.group;
    group.min = wanted.fleet.min;
    group.max = wanted.fleet.max;
    group.desired = wanted.fleet.size;
    group.template_version = a.template_version;
    group.tags = wanted.names.tags();
    group.tags["kiln:size"] = std::to_string(wanted.fleet.size);
    fleet.group = group;
  }
  void on(const ResizeGroup& a, const Wanted& wanted) {
    fleet.group->min = a.min;
    fleet.group->max = a.max;
    fleet.group->desired = a.desired;
    fleet.group->tags["kiln:size"] = std::to_string(wanted.fleet.size);
  }
  void on(const StartRefresh& a, const Wanted&) {
    if (fleet.active_refresh() != nullptr) {
      ++refused;  // InstanceRefreshInProgress
      return;
    }
    ASSERT_GT(a.template_version, 0);
    fleet::Refresh refresh;
    refresh.id = fmt::format("r-{}", ++refreshes_);
    refresh.status = "InProgress";
    refresh.started = now;
    refresh.wanted_version = a.template_version;
    refresh.auto_rollback = a.auto_rollback;
    fleet.refreshes.insert(fleet.refreshes.begin(), refresh);
    bake_ = a.bake;
    baking_since_.reset();
    percent_ = a.max_healthy;
  }
  void on(const RollBackRefresh&, const Wanted&) {
    if (fleet.active_refresh() == nullptr) return;  // ActiveInstanceRefreshNotFound
    fleet.refreshes.front().status = "RollbackInProgress";
  }
  void on(const CancelRefresh&, const Wanted&) {
    if (fleet.active_refresh() == nullptr) return;  // ActiveInstanceRefreshNotFound
    fleet.refreshes.front().status = "Cancelled";
  }
  void on(const DecideToGoBack&, const Wanted&) {}
  void on(const BeginHold&, const Wanted&) {}

  void age(Instance& instance) {
    const Duration lived = now - instance.launched;
    if (instance.leaving()) return;
    if (lived >= 1s) instance.lifecycle = "InService";
    if (!instance.in_service()) return;
    if (bad.contains(instance.ami)) {
      instance.target.state = lived >= 8s ? "unhealthy" : "initial";
      instance.target.reason = lived >= 8s ? "Target.ResponseCodeMismatch" : "";
      instance.target.description = lived >= 8s ? "Health checks failed with these codes: [500]" : "";
      if (lived >= 25s) end(instance);
    } else {
      instance.target.state = lived >= boots_in_[instance.id] ? "healthy" : "initial";
    }
  }

  void launch(std::int64_t version) {
    const auto* lt = fleet.launch_template->version(version);
    ASSERT_NE(lt, nullptr);
    Instance instance;
    instance.id = fmt::format("i-{:017x}", ++instances_);
    instance.lifecycle = "Pending";
    instance.health = "Healthy";
    instance.template_version = version;
    instance.ami = lt->ami;
    instance.launched = now;
    boots_in_[instance.id] = std::chrono::seconds(2 + random_.below(3));
    fleet.group->instances.push_back(instance);
  }

  void end(Instance& instance) {
    instance.lifecycle = "Terminating";
    instance.target.state = "draining";
    gone_at_[instance.id] = now + 2s;
  }

  std::int64_t target_version() const {
    const auto* refresh = fleet.active_refresh();
    if (refresh == nullptr || refresh->status == "RollbackInProgress") return fleet.group->template_version;
    return refresh->wanted_version;
  }

  std::int64_t staying() const {
    return std::ranges::count_if(fleet.group->instances, [](const Instance& i) { return !i.leaving(); });
  }

  void step_refresh() {
    const auto* active = fleet.active_refresh();
    if (active == nullptr) return;
    auto& refresh = fleet.refreshes.front();
    const std::int64_t to = target_version();
    if (foreign_cancels && now - refresh.started > 4s && refresh.status == "InProgress") {
      refresh.status = "Cancelled";
      foreign_cancels = false;
      return;
    }
    auto& group = *fleet.group;
    std::int64_t old = 0;
    std::int64_t ready = 0;
    for (const Instance& i : group.instances) {
      if (i.leaving()) continue;
      old += i.template_version != to;
      ready += i.template_version == to && i.serves();
    }
    if (old == 0 && ready >= group.desired) {
      if (refresh.status == "RollbackInProgress") {
        refresh.status = "RollbackSuccessful";
      } else if (!baking_since_) {
        baking_since_ = now;
        refresh.status = "Baking";
      } else if (now - *baking_since_ >= bake_) {
        refresh.status = "Successful";
        group.template_version = to;
      }
      return;
    }
    while (staying() < group.desired * percent_ / 100 && count_of(to) < group.desired) launch(to);
    for (Instance& i : group.instances) {
      if (i.template_version == to || i.leaving()) continue;
      // An instance that does not serve may always go; one that does only beside enough that do.
      if (i.serves() && static_cast<std::int64_t>(healthy()) <= group.desired) continue;
      if (ready == 0 && i.serves()) continue;
      end(i);
    }
  }

  std::int64_t count_of(std::int64_t version) const {
    return std::ranges::count_if(fleet.group->instances,
                                 [&](const Instance& i) { return !i.leaving() && i.template_version == version; });
  }

  void keep_desired() {
    auto& group = *fleet.group;
    while (staying() < group.desired) launch(target_version());
    if (fleet.active_refresh() != nullptr) return;
    for (const bool foreign_only : {true, false}) {
      for (Instance& i : group.instances) {
        if (staying() <= group.desired) return;
        if (i.leaving() || (foreign_only && i.template_version == group.template_version)) continue;
        if (i.serves() && static_cast<std::int64_t>(healthy()) <= group.desired) continue;
        end(i);
      }
    }
  }

  host::SeededRandom random_;
  Fleet shown_;
  int hidden_ = 0;
  int instances_ = 0;
  int refreshes_ = 0;
  int percent_ = 200;
  Duration bake_{};
  std::optional<Time> baking_since_;
  std::map<std::string, Time> gone_at_;
  std::map<std::string, Duration> boots_in_;
};

// The engine's bookkeeping, without an engine: what it would find in the ledger survives a crash, what it learned does
// not.
struct Driver {
  World& world;
  Wanted wanted;
  Progress progress;
  std::vector<std::string> steps;
  std::size_t least_healthy = SIZE_MAX;

  Driver(World& model, Wanted wish) : world(model), wanted(std::move(wish)) {
    for (const char* ami : {"ami-1.0.0", "ami-1.1.0", "ami-1.2.0"}) {
      world.fleet.images[ami] = fleet::Image{ami, ami, "available", {}};
    }
    world.fleet.subnets = {"subnet-1"};
    progress.id = "d-1";
    progress.started = world.now;
    if (world.fleet.group) {
      progress.from_template_version = world.fleet.group->template_version;
      progress.from_version = world.fleet.image_version(progress.from_template_version);
      progress.from_proven = world.fleet.serving(progress.from_template_version) > 0;
    }
  }

  void record_intent(const Action& action, const Fleet& seen) {
    const std::string step = step_name(action);
    progress.tried[step] = world.now;
    ++progress.tries[step];
    if (const auto* start = std::get_if<StartRefresh>(&action)) {
      (start->going_back ? progress.return_before : progress.refresh_before) =
          seen.refreshes.empty() ? "" : seen.refreshes.front().id;
    }
    if (const auto* decide = std::get_if<DecideToGoBack>(&action)) {
      progress.failing_since = world.now;
      progress.failing_why = decide->why;
    }
    if (std::holds_alternative<BeginHold>(action)) progress.held_since = world.now;
  }

  void forget() {
    progress.witnesses.clear();
    progress.any_healthy = false;
    progress.failed_launches.clear();
  }

  // `crash(step)` says where the engine dies: 1 before the act, 2 after it and before its outcome is recorded.
  Finish run(const std::function<int(const std::string&)>& crash = {}, int limit = 4000) {
    for (int i = 0; i < limit; ++i) {
      const Fleet seen = world.look();
      learn(progress, seen, wanted, world.now);
      const Plan next = plan(wanted, seen, progress, world.now);
      EXPECT_EQ(next.actions.empty() + !next.wait + !next.finish, 2) << "exactly one of the three";
      if (next.finish) return *next.finish;
      if (next.wait) {
        EXPECT_GT(next.wait->until, world.now) << next.wait->reason;
        EXPECT_FALSE(next.wait->reason.empty());
      }
      for (const Action& action : next.actions) {
        const std::string step = step_name(action);
        EXPECT_FALSE(sentence(action, wanted).empty());
        steps.push_back(step);
        record_intent(action, seen);
        const int dies = crash ? crash(step) : 0;
        if (dies == 1) {
          forget();
          break;
        }
        world.act(action, wanted);
        if (dies == 2) {
          forget();
          break;
        }
        progress.done.insert(step);
      }
      world.tick();
      if (world.fleet.group && progress.from_proven) least_healthy = std::min(least_healthy, world.healthy());
    }
    ADD_FAILURE() << "it does not end";
    return {Outcome::stuck, "", ""};
  }
};

// A fleet of 1.0.0 that serves.
void deploy_first(World& world, int size = 4) {
  Driver driver(world, wanted_of("1.0.0", size));
  Finish finish = driver.run();
  ASSERT_EQ(finish.outcome, Outcome::done) << finish.why;
  ASSERT_EQ(world.healthy(), static_cast<std::size_t>(size));
}

TEST(Plan, FirstDeploymentMakesEachThingOnceInAnOrderThatAwsAccepts) {
  World world(1);
  Driver driver(world, wanted_of("1.0.0"));
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::done);
  EXPECT_EQ(finish.why, "1.0.0 serves all traffic on 4 instances");
  EXPECT_EQ(driver.steps, (std::vector<std::string>{"create-security-group-balancer", "create-security-group-instances",
                                                    "create-target-group", "open-port-balancer", "open-port-instances",
                                                    "create-load-balancer", "create-launch-template", "create-listener",
                                                    "create-group"}));
}

TEST(Plan, NextVersionIsATemplateVersionAndARefreshAndNothingElse) {
  World world(2);
  deploy_first(world);
  Driver driver(world, wanted_of("1.1.0"));
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::done);
  EXPECT_EQ(driver.steps, (std::vector<std::string>{"create-template-version", "start-refresh-2"}));
  EXPECT_EQ(world.fleet.serving(2), 4u);
  EXPECT_GE(driver.least_healthy, 4u);
}

TEST(Plan, SameVersionAgainIsNothingToDo) {
  World world(3);
  deploy_first(world);
  Driver driver(world, wanted_of("1.0.0"));
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::done);
  EXPECT_TRUE(driver.steps.empty());
  EXPECT_THAT(finish.why, HasSubstr("nothing to do"));
}

TEST(Plan, BadVersionIsGivenUpInSecondsAndSaysWhyInOneSentence) {
  World world(4);
  deploy_first(world);
  world.bad = {"ami-1.2.0"};
  const Time begun = world.now;
  Driver driver(world, wanted_of("1.2.0"));
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::rolled_back);
  EXPECT_THAT(finish.why, HasSubstr("1.2.0 was rolled back: 4 of its instances answered 500 on /healthz (i-0000000.."));
  EXPECT_THAT(finish.why, HasSubstr("; 1.0.0 serves all traffic on 4 instances"));
  EXPECT_EQ(driver.steps.back(), "roll-back-refresh");
  EXPECT_LT(world.now - begun, 60s);
  EXPECT_EQ(world.fleet.serving(1), 4u);
  EXPECT_GE(driver.least_healthy, 4u);
}

TEST(Plan, BadFirstVersionHasNowhereToGoAndSaysSo) {
  World world(5);
  world.bad = {"ami-1.2.0"};
  Driver driver(world, wanted_of("1.2.0"));
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::stuck);
  EXPECT_THAT(finish.why, HasSubstr("no version before it"));
  EXPECT_THAT(finish.next, HasSubstr("kiln destroy"));
  // The next deployment repairs it, and does not try to go back to what never served.
  Driver repair(world, wanted_of("1.1.0"));
  EXPECT_FALSE(repair.progress.from_proven);
  EXPECT_EQ(repair.run().outcome, Outcome::done);
  EXPECT_EQ(world.fleet.serving(2), 4u);
}

TEST(Plan, BakeIsHeldByTheRefreshAndByKilnWithoutOne) {
  World world(6);
  Wanted first = wanted_of("1.0.0");
  first.deploy.bake = 2min;
  Driver driver(world, first);
  Time begun = world.now;
  EXPECT_EQ(driver.run().outcome, Outcome::done);
  EXPECT_GE(world.now - begun, 2min);
  EXPECT_EQ(driver.steps.back(), "begin-hold");
  Wanted second = wanted_of("1.1.0");
  second.deploy.bake = 2min;
  Driver next(world, second);
  begun = world.now;
  EXPECT_EQ(next.run().outcome, Outcome::done);
  EXPECT_GE(world.now - begun, 2min);
  EXPECT_EQ(next.steps.back(), "start-refresh-2");
}

TEST(Plan, VersionThatBreaksWhileItIsHeldIsRolledBack) {
  World world(7);
  deploy_first(world);
  Wanted wanted = wanted_of("1.1.0");
  wanted.deploy.bake = 10min;
  Driver driver(world, wanted);
  world.on_tick = [](World& w) {
    if (!w.fleet.refreshes.empty() && w.fleet.refreshes.front().status == "Baking") w.bad = {"ami-1.1.0"};
  };
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::rolled_back);
  EXPECT_THAT(finish.why, HasSubstr("answered 500"));
  EXPECT_EQ(world.fleet.serving(1), 4u);
}

TEST(Plan, RefreshThatAStrangerCancelsIsTakenBack) {
  World world(8);
  deploy_first(world);
  world.foreign_cancels = true;
  Driver driver(world, wanted_of("1.1.0"));
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::rolled_back);
  EXPECT_THAT(finish.why, HasSubstr("was cancelled"));
  EXPECT_EQ(world.fleet.serving(1), 4u);
}

TEST(Plan, ManualRollbackStopsAndLeavesTheDecisionToAPerson) {
  World world(9);
  deploy_first(world);
  world.bad = {"ami-1.2.0"};
  Wanted wanted = wanted_of("1.2.0");
  wanted.deploy.rollback = spec::Rollback::manual;
  Driver driver(world, wanted);
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::stuck);
  EXPECT_EQ(driver.steps.back(), "cancel-refresh");
  EXPECT_THAT(finish.next, HasSubstr("kiln rollback"));
  EXPECT_GE(world.healthy(), 4u);
}

TEST(Plan, AskedToGoBackAfterTheRefreshSucceededUsesAnotherRefresh) {
  World world(10);
  deploy_first(world);
  Driver driver(world, wanted_of("1.1.0"));
  ASSERT_EQ(driver.run().outcome, Outcome::done);
  driver.progress.failing_since = world.now;
  driver.progress.failing_why = "somebody asked";
  driver.progress.asked_to_go_back = true;
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::rolled_back);
  EXPECT_EQ(driver.steps.back(), "return-refresh-1");
  EXPECT_EQ(world.fleet.serving(1), 4u);
}

TEST(Plan, WhatAwsRefusesBeforeAnythingChangedIsAFailureThatChangedNothing) {
  World world(11);
  deploy_first(world);
  Driver driver(world, wanted_of("1.1.0"));
  driver.progress.rejected = "adding a version: AWS says no";
  Finish finish = driver.run();
  EXPECT_EQ(finish.outcome, Outcome::failed);
  EXPECT_THAT(finish.why, HasSubstr("1.0.0 was not touched"));
}

TEST(Plan, ResizeComesLastAndNeverTouchesTheTemplate) {
  World world(12);
  deploy_first(world, 2);
  Driver driver(world, wanted_of("1.1.0", 5));
  EXPECT_EQ(driver.run().outcome, Outcome::done);
  EXPECT_EQ(driver.steps, (std::vector<std::string>{"create-template-version", "start-refresh-2", "resize-group"}));
  EXPECT_EQ(world.fleet.serving(2), 5u);
  // A number that somebody set between the bounds stays.
  world.fleet.group->desired = 7;
  Driver again(world, wanted_of("1.1.0", 5));
  EXPECT_EQ(again.run().outcome, Outcome::done);
  EXPECT_EQ(world.fleet.group->desired, 7);
}

TEST(Plan, ChangedHealthCheckIsWrittenOnlyWhenTheNewVersionServes) {
  World world(13);
  deploy_first(world);
  Wanted wanted = wanted_of("1.1.0");
  wanted.fleet.health.path = "/ready";
  Driver driver(world, wanted);
  EXPECT_EQ(driver.run().outcome, Outcome::done);
  EXPECT_EQ(driver.steps.back(), "change-target-group");
  EXPECT_EQ(world.fleet.target_group->health_path, "/ready");
}

TEST(Plan, GivesUpOnARefreshThatNeverEnds) {
  World world(14);
  deploy_first(world);
  Wanted wanted = wanted_of("1.1.0");
  Driver driver(world, wanted);
  Fleet seen = world.look();
  fleet::Refresh refresh;
  seen.launch_template->versions.push_back({2, "ami-1.1.0", "t3.micro", {"sg-i"}, "", "1.1.0", ""});
  refresh.id = "r-9";
  refresh.status = "InProgress";
  refresh.wanted_version = 2;
  seen.refreshes = {refresh};
  driver.progress.refresh_before = "";
  EXPECT_TRUE(plan(wanted, seen, driver.progress, world.now).wait);
  Plan late = plan(wanted, seen, driver.progress, world.now + 31min);
  ASSERT_EQ(late.actions.size(), 1u);
  EXPECT_THAT(std::get<DecideToGoBack>(late.actions[0]).why, HasSubstr("within 30m"));
  driver.progress.failing_since = world.now + 31min;
  Plan turned = plan(wanted, seen, driver.progress, world.now + 31min);
  EXPECT_TRUE(std::holds_alternative<RollBackRefresh>(turned.actions.at(0)));
  Plan over = plan(wanted, seen, driver.progress, world.now + 62min);
  EXPECT_EQ(over.finish->outcome, Outcome::stuck);
}

TEST(Plan, LeavesARefreshOfSomebodyElseAlone) {
  World world(15);
  deploy_first(world);
  Driver driver(world, wanted_of("1.1.0"));
  Fleet seen = world.look();
  fleet::Refresh refresh;
  refresh.id = "r-foreign";
  refresh.status = "InProgress";
  refresh.wanted_version = 1;
  seen.refreshes = {refresh};
  EXPECT_THAT(refusals(driver.wanted, seen), ::testing::Contains(HasSubstr("r-foreign")));
}

TEST(Plan, ARefreshThatSomebodyElseStartsMeanwhileEndsTheDeployment) {
  World world(15);
  deploy_first(world);
  Driver driver(world, wanted_of("1.1.0"));
  Fleet seen = world.look();
  seen.launch_template->versions.push_back({2, "ami-1.1.0", "t3.micro", {"sg-i"}, "", "1.1.0", ""});
  fleet::Refresh refresh;
  refresh.id = "r-foreign";
  refresh.status = "InProgress";
  refresh.wanted_version = 1;
  seen.refreshes = {refresh};
  learn(driver.progress, seen, driver.wanted, world.now);
  const Plan next = plan(driver.wanted, seen, driver.progress, world.now);
  EXPECT_THAT(std::get<DecideToGoBack>(next.actions.at(0)).why, HasSubstr("r-foreign"));
}

// Left over by a refresh that was stopped: the group launches what is wanted, and yet holds others.
TEST(Plan, AGroupOfTheRightVersionThatHoldsOthersIsRefreshed) {
  World world(17);
  deploy_first(world);
  Driver driver(world, wanted_of("1.1.0"));
  Fleet seen = world.look();
  seen.launch_template->versions.push_back({2, "ami-1.1.0", "t3.micro", {"sg-i"}, "", "1.1.0", ""});
  seen.group->template_version = 2;
  learn(driver.progress, seen, driver.wanted, world.now);
  const Plan next = plan(driver.wanted, seen, driver.progress, world.now);
  ASSERT_EQ(next.actions.size(), 1U);
  EXPECT_EQ(std::get<StartRefresh>(next.actions[0]).template_version, 2);
}

TEST(Plan, InstancesThatCannotBeLaunchedFailTheDeployment) {
  World world(16);
  deploy_first(world);
  Wanted wanted = wanted_of("1.1.0");
  Driver driver(world, wanted);
  Fleet seen = world.look();
  seen.launch_template->versions.push_back({2, "ami-1.1.0", "t3.micro", {"sg-i"}, "", "1.1.0", ""});
  for (int i = 0; i < 3; ++i) {
    fleet::Activity activity;
    activity.id = fmt::format("a-{}", i);
    activity.status = "Failed";
    activity.message = "the AMI is broken";
    activity.started = world.now;
    seen.activities.push_back(activity);
  }
  learn(driver.progress, seen, wanted, world.now);
  Plan next = plan(wanted, seen, driver.progress, world.now);
  EXPECT_THAT(std::get<DecideToGoBack>(next.actions.at(0)).why, HasSubstr("the AMI is broken"));
}

TEST(Learn, InstanceThatDiesBetweenTwoLooksHasFailedUnlessTheGroupWasScaledIn) {
  World world(18);
  Wanted wanted = wanted_of("1.1.0");
  deploy_first(world);
  Fleet seen = world.look();
  seen.launch_template->versions.push_back({2, "ami-1.1.0", "t3.micro", {"sg-i"}, "", "1.1.0", ""});
  Instance instance;
  instance.id = "i-1";
  instance.lifecycle = "InService";
  instance.health = "Healthy";
  instance.template_version = 2;
  instance.target.state = "healthy";
  const auto failed = [&](std::int64_t desired_after, bool seen_leaving) {
    Progress progress;
    Fleet look = seen;
    look.group->instances = {instance};
    learn(progress, look, wanted, world.now);
    if (seen_leaving) {
      look.group->instances[0].lifecycle = "Terminating";
      learn(progress, look, wanted, world.now);
    }
    look.group->instances.clear();
    look.group->desired = desired_after;
    learn(progress, look, wanted, world.now);
    look.group->desired = seen.group->desired;
    learn(progress, look, wanted, world.now);
    return !progress.failed_instances().empty();
  };
  EXPECT_TRUE(failed(seen.group->desired, false));
  EXPECT_FALSE(failed(seen.group->desired - 1, false));
  EXPECT_FALSE(failed(seen.group->desired, true));
}

TEST(Learn, ServiceThatIsNotReadyYetHasItsGraceAndAWrongAnswerHasNot) {
  World world(17);
  Wanted wanted = wanted_of("1.1.0");
  deploy_first(world);
  Driver driver(world, wanted);
  Fleet seen = world.look();
  seen.launch_template->versions.push_back({2, "ami-1.1.0", "t3.micro", {"sg-i"}, "", "1.1.0", ""});
  Instance instance;
  instance.id = "i-1";
  instance.lifecycle = "InService";
  instance.health = "Healthy";
  instance.template_version = 2;
  instance.launched = world.now;
  instance.target = {"unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"};
  auto failed_after = [&](const std::string& description, Duration after) {
    Progress progress = driver.progress;
    instance.target.description = description;
    seen.group->instances = {instance};
    learn(progress, seen, wanted, world.now);
    learn(progress, seen, wanted, world.now + after);
    return !progress.failed_instances().empty();
  };
  EXPECT_FALSE(failed_after("Health checks failed with these codes: [503]", 10s));
  EXPECT_TRUE(failed_after("Health checks failed with these codes: [503]", 20s));
  EXPECT_FALSE(failed_after("Health checks failed with these codes: [500]", 4s));
  EXPECT_TRUE(failed_after("Health checks failed with these codes: [500]", 5s));
  EXPECT_TRUE(failed_after("Health checks failed with these codes: [503,404]", 5s));
}

TEST(Refusals, NameEveryImpossibleWish) {
  World world(18);
  deploy_first(world);
  auto refused = [&](const Wanted& wanted, const Fleet& fleet, const std::string& part) {
    EXPECT_THAT(refusals(wanted, fleet), ::testing::Contains(HasSubstr(part)));
  };
  Wanted good = wanted_of("1.1.0");
  Fleet fleet = world.look();
  fleet.images["ami-1.1.0"] = {"ami-1.1.0", "", "available", {{"kiln:digest", good.digest.str()}}};
  EXPECT_THAT(refusals(good, fleet), ::testing::IsEmpty());
  Wanted wish = good;
  wish.fleet.size = wish.fleet.min = 0;
  refused(wish, fleet, "fleet.size is 0");
  wish = good;
  wish.fleet.max = 4;
  refused(wish, fleet, "at least 5");
  wish = good;
  wish.fleet.drain = 1h;
  refused(wish, fleet, "draining takes 1h");
  wish = good;
  wish.fleet.grace = 1h;
  refused(wish, fleet, "may take");
  wish = good;
  wish.deploy.bake = 49h;
  refused(wish, fleet, "48h");
  wish = good;
  wish.fleet.listen.target_port = 8080;
  refused(wish, fleet, "cannot move to 8080");
  wish = good;
  wish.ami = "ami-gone";
  refused(wish, fleet, "ami-gone");
  wish = good;
  wish.template_version = 9;
  refused(wish, fleet, "version 9");
  Fleet other = fleet;
  other.images["ami-1.1.0"].state = "disabled";
  refused(good, other, "is disabled");
  other = fleet;
  other.images["ami-1.1.0"].tags["kiln:digest"] = sha256("else").str();
  refused(good, other, "holds sha256:");
  other = fleet;
  other.load_balancer->tags.clear();
  refused(good, other, "is not this app's");
  other = fleet;
  other.group->template_version = 0;
  other.group->template_version_text = "$Latest";
  refused(good, other, "$Latest");
  refused(good, Fleet{}, "no default VPC");
}

TEST(MaxHealthy, AlwaysLeavesRoomForOneMore) {
  for (int desired = 1; desired <= 60; ++desired) {
    for (int max = desired; max <= 3 * desired + 1; ++max) {
      const int percent = max_healthy_percentage(desired, max);
      EXPECT_LE(percent, 200);
      EXPECT_GE(desired * percent / 100, desired + 1) << desired << " " << max;
      if (max > desired) {
        EXPECT_LE(desired * percent / 100, std::max(max, desired + 1)) << desired << " " << max;
      }
    }
  }
}

// Random fleets, images, consistency and deaths: it always ends, at the right place, and never takes the healthy fleet
// away.
TEST(Plan, AlwaysEndsAtTheRightPlaceWithTheHealthyFleetServing) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    host::SeededRandom random(seed);
    const int size = 1 + static_cast<int>(random.below(6));
    World world(seed * 7);
    deploy_first(world, size);
    world.hidden_looks_max = random.below(2) == 0 ? 0 : 4;
    const bool bad = random.below(2) == 0;
    if (bad) world.bad = {"ami-1.2.0"};
    world.foreign_cancels = random.below(8) == 0;
    const bool cancels = world.foreign_cancels;
    Wanted wanted = wanted_of("1.2.0", size);
    if (random.below(3) == 0) wanted.deploy.bake = std::chrono::seconds(random.below(90));
    Driver driver(world, wanted);
    int deaths = 3;
    Finish finish = driver.run([&](const std::string&) {
      if (deaths == 0 || random.below(3) != 0) return 0;
      --deaths;
      return 1 + static_cast<int>(random.below(2));
    });
    // A stranger may cancel a refresh that nobody has seen yet: then the next one may well succeed.
    if (bad || (cancels && finish.outcome != Outcome::done)) {
      EXPECT_EQ(finish.outcome, Outcome::rolled_back) << finish.why;
      EXPECT_EQ(world.fleet.serving(1), static_cast<std::size_t>(size));
    } else {
      EXPECT_EQ(finish.outcome, Outcome::done) << finish.why;
      EXPECT_EQ(world.fleet.serving(2), static_cast<std::size_t>(size));
      EXPECT_EQ(world.fleet.group->template_version, 2);
    }
    EXPECT_GE(driver.least_healthy, static_cast<std::size_t>(size));
    EXPECT_LE(world.fleet.launch_template->versions.size(), 2u);
    EXPECT_LE(world.refused, 5);
    if (::testing::Test::HasFailure()) break;
  }
}

// The planner must answer whatever it is shown.
TEST(Plan, AnswersForAnyLookAtAFleet) {
  const std::vector<std::string> statuses = {
      "Pending",        "InProgress",         "Successful", "Failed", "Cancelling", "Cancelled", "RollbackInProgress",
      "RollbackFailed", "RollbackSuccessful", "Baking"};
  const std::vector<std::string> states = {"", "initial", "healthy", "unhealthy", "unused", "draining", "unavailable"};
  for (std::uint64_t seed = 1; seed <= 4'000; ++seed) {
    host::SeededRandom random(seed);
    World world(seed);
    Wanted wanted = wanted_of("1.2.0", 1 + static_cast<int>(random.below(4)));
    Fleet& fleet = world.fleet;
    for (const Action& action : std::vector<Action>{
             CreateSecurityGroup{SecurityGroupOf::balancer}, CreateSecurityGroup{SecurityGroupOf::instances},
             CreateTargetGroup{}, OpenPort{SecurityGroupOf::balancer}, OpenPort{SecurityGroupOf::instances},
             CreateLoadBalancer{}, CreateListener{}, CreateLaunchTemplate{}, CreateTemplateVersion{}, CreateGroup{1}}) {
      world.act(action, wanted);
    }
    for (std::uint64_t i = random.below(6); i > 0; --i) {
      Instance instance;
      instance.id = fmt::format("i-{}", i);
      instance.template_version = static_cast<std::int64_t>(random.below(3));
      instance.lifecycle = random.below(2) ? "InService" : "Terminating";
      instance.health = random.below(2) ? "Healthy" : "Unhealthy";
      instance.target.state = states[random.below(states.size())];
      fleet.group->instances.push_back(instance);
    }
    for (std::uint64_t i = random.below(3); i > 0; --i) {
      fleet::Refresh refresh;
      refresh.id = fmt::format("r-{}", i);
      refresh.status = statuses[random.below(statuses.size())];
      refresh.wanted_version = static_cast<std::int64_t>(random.below(4));
      fleet.refreshes.push_back(refresh);
    }
    if (random.below(8) == 0) fleet.group.reset();
    if (random.below(8) == 0) fleet.listeners.clear();
    if (random.below(8) == 0) fleet.target_group.reset();
    if (random.below(8) == 0) fleet.launch_template.reset();
    Progress progress;
    progress.started = kStart;
    progress.from_template_version = static_cast<std::int64_t>(random.below(3));
    progress.from_proven = random.below(2) == 0;
    if (random.below(2)) progress.refresh_before = random.below(2) ? "" : "r-1";
    if (random.below(3) == 0) progress.return_before = random.below(2) ? "" : "r-1";
    if (random.below(3) == 0) progress.failing_since = kStart;
    const Time now = kStart + std::chrono::minutes(random.below(70));
    learn(progress, fleet, wanted, now);
    const Plan next = plan(wanted, fleet, progress, now);
    ASSERT_EQ(next.actions.empty() + !next.wait + !next.finish, 2) << seed;
    if (next.wait) {
      ASSERT_GT(next.wait->until, now) << seed << " " << next.wait->reason;
    }
    for (const Action& action : next.actions) {
      if (const auto* start = std::get_if<StartRefresh>(&action)) {
        ASSERT_EQ(fleet.active_refresh(), nullptr) << seed;
        ASSERT_GT(start->template_version, 0) << seed;
        ASSERT_GT(start->max_healthy, 100) << seed;
      }
      if (std::holds_alternative<CreateGroup>(action)) {
        ASSERT_FALSE(fleet.group) << seed;
      }
    }
  }
}

}  // namespace
}  // namespace kiln::deploy
