// Fakes: a small EC2 and ELBv2 for the tests of Auto Scaling, in virtual time; and records that can be lost.
//
// They outlive the Autoscaling under test: killing it loses what it had not committed, and nothing of what it had
// already asked its neighbours to do. They are strict: a token used twice with other parameters, a registration of an
// instance that does not run, an unknown target group are failures of the test.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "region/api_error.h"
#include "region/autoscaling/autoscaling.h"

namespace kiln::region::autoscaling {

class FakeRecords final : public Records {
 public:
  void put(std::string_view table, std::string_view key, std::string text) override {
    staged_.emplace_back(std::pair(std::string(table), std::string(key)), std::move(text));
  }
  void erase(std::string_view table, std::string_view key) override {
    staged_.emplace_back(std::pair(std::string(table), std::string(key)), std::nullopt);
  }
  std::vector<std::pair<std::string, std::string>> load(std::string_view table) override {
    std::vector<std::pair<std::string, std::string>> rows;
    for (const auto& [key, text] : kept_) {
      if (key.first == table) rows.emplace_back(key.second, text);
    }
    return rows;
  }
  bool dirty() const { return !staged_.empty(); }
  void commit() {
    for (auto& [key, text] : staged_) {
      if (text) {
        kept_[key] = *text;
      } else {
        kept_.erase(key);
      }
    }
    staged_.clear();
  }
  void lose() { staged_.clear(); }

 private:
  std::vector<std::pair<std::pair<std::string, std::string>, std::optional<std::string>>> staged_;
  std::map<std::pair<std::string, std::string>, std::string> kept_;
};

// What instances of one template version are like.
struct Kind {
  Duration boot{800};
  Duration serve{300};  // running → its target is healthy
  bool healthy = true;  // else its target turns unhealthy after `serve`
  bool image_missing = false;
  bool dies_at_boot = false;
};

class FakeInstances final : public Instances {
 public:
  struct Machine {
    std::string token;
    std::string subnet;
    long version = 1;
    InstanceStatus status;
    std::optional<Time> running_since;
    std::map<std::string, std::string> tags;
  };

  explicit FakeInstances(host::Loop& loop) : loop_(loop) {}

  ResolvedTemplate resolve(const TemplateRef& ref) const override {
    if (ref.id != template_id && ref.name != "web") {
      throw ApiError("InvalidLaunchTemplateId.NotFound", "no template " + ref.id);
    }
    long version = ref.version == "$Latest" ? static_cast<long>(kinds.size()) : default_version;
    if (ref.numbered()) version = std::stol(ref.version);
    if (version < 1 || version > static_cast<long>(kinds.size())) {
      throw ApiError("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version " + ref.version);
    }
    return {
        {template_id, "web", std::to_string(version)}, "ami-" + std::to_string(version), "t3.micro", from_parameter};
  }
  Launched launch(const Launch& launch) override {
    ++launch_calls;
    if (on_launch) on_launch();
    ResolvedTemplate resolved = resolve(launch.from);
    long version = std::stol(resolved.exact.version);
    const Kind kind = kinds[static_cast<std::size_t>(version - 1)];
    if (kind.image_missing) {
      throw ApiError("InvalidAMIID.NotFound", "The image id '[" + resolved.image_id + "]' does not exist");
    }
    std::string& id = by_token_[launch.token];
    if (id.empty()) {
      id = "i-" + std::to_string(100000 + machines.size());
      machines[id] = {launch.token, launch.subnet_id, version, {}, std::nullopt, launch.tags};
      loop_.after(kind.boot, [this, name = id, kind] {
        Machine& machine = machines[name];
        if (machine.status.phase != Phase::pending) return;
        machine.status.phase = kind.dies_at_boot ? Phase::terminated : Phase::running;
        machine.status.reason = kind.dies_at_boot ? "Server.InternalError: it did not boot" : "";
        machine.running_since = loop_.now();
        tell(name);
      });
    }
    EXPECT_EQ(machines[id].version, version) << "the same token for something else";
    return {id, resolved.instance_type, resolved.image_id, resolved.exact};
  }
  void terminate(const std::string& id) override {
    Machine& machine = machines.at(id);
    if (machine.status.phase == Phase::terminated || machine.status.phase == Phase::shutting_down) return;
    machine.status.phase = Phase::shutting_down;
    tell(id);
    loop_.after(Duration(300), [this, id] {
      machines[id].status.phase = Phase::terminated;
      tell(id);
    });
  }
  std::optional<InstanceStatus> status(const std::string& id) const override {
    ++status_calls;
    auto it = machines.find(id);
    if (it == machines.end()) return std::nullopt;
    return it->second.status;
  }
  std::optional<std::string> subnet_zone(const std::string& subnet) const override {
    static const std::map<std::string, std::string> zones{
        {"subnet-a", "us-east-1a"}, {"subnet-b", "us-east-1b"}, {"subnet-c", "us-east-1c"}};
    auto it = zones.find(subnet);
    if (it == zones.end()) return std::nullopt;
    return it->second;
  }
  std::optional<std::string> default_subnet(const std::string& zone) const override {
    if (zone.size() != 10) return std::nullopt;
    return "subnet-" + zone.substr(9);
  }
  void on_change(std::function<void(const std::string&)> listener) override { listener_ = std::move(listener); }

  void set_phase(const std::string& id, Phase phase) {
    machines.at(id).status.phase = phase;
    tell(id);
  }
  void tell(const std::string& id) {
    if (also) also(id);
    if (listener_) listener_(id);
  }
  std::vector<std::string> live() const {
    std::vector<std::string> ids;
    for (const auto& [id, machine] : machines) {
      if (machine.status.phase == Phase::pending || machine.status.phase == Phase::running) ids.push_back(id);
    }
    return ids;
  }

  const std::string template_id = "lt-1";
  long default_version = 1;
  bool from_parameter = false;
  std::vector<Kind> kinds{Kind{}};  // by version from 1
  std::map<std::string, Machine> machines;
  std::size_t launch_calls = 0;
  mutable std::size_t status_calls = 0;
  std::function<void(const std::string&)> also;
  std::function<void()> on_launch;

 private:
  host::Loop& loop_;
  std::map<std::string, std::string> by_token_;
  std::function<void(const std::string&)> listener_;
};

class FakeTargets final : public Targets {
 public:
  FakeTargets(host::Loop& loop, FakeInstances& instances) : loop_(loop), instances_(instances) {
    instances.also = [this](const std::string& id) {
      const auto& machine = instances_.machines.at(id);
      if (machine.status.phase != Phase::terminated) return;
      for (const std::string& arn : arns) states_.erase({arn, id});
    };
  }

  bool exists(const std::string& arn) const override { return arns.contains(arn); }
  void register_instance(const std::string& arn, const std::string& id) override {
    EXPECT_TRUE(exists(arn));
    const auto& machine = instances_.machines.at(id);
    EXPECT_EQ(machine.status.phase, Phase::running) << id;
    auto [it, added] = states_.emplace(std::pair(arn, id), TargetState::initial);
    if (!added) return;
    Kind kind = instances_.kinds[static_cast<std::size_t>(machine.version - 1)];
    Duration up = loop_.now() - machine.running_since.value_or(loop_.now());
    loop_.after(std::max(Duration(50), kind.serve - up), [this, arn, id, kind] {
      if (state(arn, id) == TargetState::initial) {
        set(arn, id, kind.healthy ? TargetState::healthy : TargetState::unhealthy);
      }
    });
  }
  void deregister_instance(const std::string& arn, const std::string& id) override {
    EXPECT_TRUE(exists(arn));
    auto it = states_.find({arn, id});
    if (it == states_.end() || it->second == TargetState::draining) return;
    set(arn, id, TargetState::draining);
    loop_.after(drain, [this, arn, id] {
      states_.erase({arn, id});
      if (listener_) listener_(id);
    });
  }
  TargetState state(const std::string& arn, const std::string& id) const override {
    auto it = states_.find({arn, id});
    return it == states_.end() ? TargetState::absent : it->second;
  }
  void on_change(std::function<void(const std::string&)> listener) override { listener_ = std::move(listener); }

  void set(const std::string& arn, const std::string& id, TargetState state) {
    states_[{arn, id}] = state;
    if (listener_) listener_(id);
  }
  int healthy(const std::string& arn) const {
    int count = 0;
    for (const auto& [key, state] : states_) count += key.first == arn && state == TargetState::healthy;
    return count;
  }

  std::set<std::string> arns{"tg-1"};
  Duration drain{2'000};

 private:
  host::Loop& loop_;
  FakeInstances& instances_;
  std::map<std::pair<std::string, std::string>, TargetState> states_;
  std::function<void(const std::string&)> listener_;
};

// A region of these three, and the Autoscaling under test, which may be killed and started again.
class World {
 public:
  explicit World(std::uint64_t seed = 1) : random(seed), instances(loop), targets(loop, instances) {
    loop.set_turn_end([this] { end_turn(); });
    start();
  }
  ~World() { loop.set_turn_end({}); }

  void start() {
    api = std::make_unique<Autoscaling>(loop, random, records, instances, targets, Options{});
    api->open();
  }
  // As by kill -9: what the present turn changed is lost.
  void restart() {
    api.reset();
    records.lose();
    killed_now_ = false;
    start();
  }
  // Kills when the `number`th commit from now is due, before or after it.
  void kill_at(int number, bool after_commit) {
    kill_in_ = number;
    kill_after_commit_ = after_commit;
  }
  bool killed() const { return killed_; }
  // Runs until `done`, restarting after a kill.
  bool run_until(const std::function<bool()>& done, Duration budget) {
    Time end = loop.now() + budget;
    while (true) {
      bool reached = loop.run_while_not([&] { return killed_now_ || done(); }, end - loop.now());
      if (!killed_now_) return reached;
      restart();
    }
  }

  // A group "web" of `count`, on version 1, behind tg-1, all in service and healthy.
  void make_group(int count, const std::function<void(GroupSettings&)>& change = {}, bool with_targets = true) {
    GroupSettings settings;
    settings.launch_template = TemplateRef{instances.template_id, "", "1"};
    settings.min_size = 0;
    settings.max_size = std::max(1, 4 * count);
    settings.desired = count;
    settings.subnets = {"subnet-a", "subnet-b", "subnet-c"};
    if (change) change(settings);
    api->create("web", settings, with_targets ? std::vector<std::string>{"tg-1"} : std::vector<std::string>{}, {});
    ASSERT_TRUE(run_until([&] { return steady(count); }, std::chrono::minutes(5)));
  }
  const Group& group() { return api->group("web"); }
  bool steady(int count) {
    int serving = 0;
    for (const Member& member : group().members) {
      if (member.state != Lifecycle::in_service || member.ailment != Ailment::none) return false;
      bool healthy = group().target_groups.empty() || targets.state("tg-1", member.instance_id) == TargetState::healthy;
      serving += healthy;
    }
    return serving == count && static_cast<int>(group().members.size()) == count;
  }
  int of_version(const std::string& version) {
    int count = 0;
    for (const Member& member : group().members) {
      count += member.state == Lifecycle::in_service && member.launched_from.version == version;
    }
    return count;
  }
  TemplateRef version(const std::string& number) const { return {instances.template_id, "", number}; }
  const Refresh& refresh() { return *api->refreshes("web").front(); }
  bool refresh_over() { return !is_active(refresh().status); }

  host::SimulatedLoop loop{Time(std::chrono::hours(500'000))};
  host::SeededRandom random;
  FakeRecords records;
  FakeInstances instances;
  FakeTargets targets;
  std::unique_ptr<Autoscaling> api;
  std::function<void()> check;  // after every turn

 private:
  void end_turn() {
    if (check && !killed_now_ && api) check();
    if (!records.dirty()) return;
    bool kill = kill_in_ > 0 && --kill_in_ == 0;
    if (kill) killed_ = killed_now_ = true;
    if (kill && !kill_after_commit_) {
      records.lose();
      return;
    }
    records.commit();
  }

  int kill_in_ = 0;
  bool kill_after_commit_ = false;
  bool killed_ = false;
  bool killed_now_ = false;
};

}  // namespace kiln::region::autoscaling
