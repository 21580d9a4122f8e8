// Watch: what must hold at every moment of a simulation, checked against the machines themselves and against what the
// balancer has in force, not against what anybody says about them.
//
// An accident is a machine that dies, or turns bad, without having been asked to end. Each excuses one missing target
// until the fleet had time to notice.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "fleet/fleet.h"
#include "host/loop.h"
#include "machine/simulated.h"
#include "region/elb/simulated_balancer.h"

namespace kiln::simulation {

inline constexpr const char* kHealthPath = "/healthz";

// "1.1.0": the image says in its history which version of the app it is.
std::string version_of(const machine::Spec& spec);

class Watch {
 public:
  // All must outlive it. `detection` is how long a target may be bad before it must be taken out.
  Watch(host::Loop& loop, const machine::SimulatedMachines& machines, const region::elb::SimulatedBalancer& balancer,
        Duration detection)
      : loop_(loop), machines_(machines), balancer_(balancer), detection_(detection) {}

  // From now on that many targets must serve, and no more than `most` instances may be in the group.
  void arm(std::size_t least, std::size_t most) {
    least_ = least;
    most_ = most;
  }
  // The user ends the fleet on purpose.
  void disarm() { least_ = most_ = 0; }

  // A machine is about to be ended, because somebody asked for it.
  void ending(const std::string& id);
  // What the deployer saw.
  void seen(const fleet::Fleet& fleet);
  void check();
  // Only when the balancer has changed since the last check.
  void check_changes() {
    if (balancer_.applied() != checked_) check();
  }

  // Machines that get requests and answer them, by version.
  std::map<std::string, std::size_t> serving() const;
  const std::vector<std::string>& violations() const { return violations_; }
  std::size_t accidents() const { return accidents_; }

 private:
  struct Target {
    std::string address;
    int port = 0;
    bool accepting = false;
    std::string id;  // of its machine; empty when there is none any more
    bool good = false;
  };
  std::vector<Target> targets() const;
  void count_accidents(const std::set<std::string>& good_and_accepting, const std::vector<Target>& now);
  void check_route(const Target& target, bool others_serve);
  void violated(const std::string& what);

  host::Loop& loop_;
  const machine::SimulatedMachines& machines_;
  const region::elb::SimulatedBalancer& balancer_;
  const Duration detection_;
  std::size_t least_ = 0;
  std::size_t most_ = 0;
  std::size_t checked_ = 0;
  std::set<std::string> asked_;     // machines that somebody ended
  std::set<std::string> was_good_;  // machines that have answered well while they got requests, ever
  std::set<std::string> serving_;   // at the last check
  std::map<std::string, Time> bad_since_;
  std::size_t accidents_ = 0;
  std::size_t excused_ = 0;
  Time last_accident_{};
  std::vector<std::string> violations_;
};

// The machines as the region has them, watched.
class WatchedMachines final : public machine::Machines {
 public:
  WatchedMachines(machine::SimulatedMachines& machines, Watch& watch) : machines_(machines), watch_(watch) {}

  void launch(const machine::Spec& spec, machine::Done done) override { machines_.launch(spec, std::move(done)); }
  void stop(const std::string& id, Duration deadline, machine::Done done) override {
    watch_.ending(id);
    machines_.stop(id, deadline, std::move(done));
  }
  void start(const std::string& id, machine::Done done) override { machines_.start(id, std::move(done)); }
  void resize(const std::string& id, const machine::Limits& limits) override { machines_.resize(id, limits); }
  void reboot(const std::string& id, Duration deadline, machine::Done done) override {
    machines_.reboot(id, deadline, std::move(done));
  }
  void terminate(const std::string& id, Duration deadline, machine::Done done) override {
    watch_.ending(id);
    machines_.terminate(id, deadline, std::move(done));
  }
  void capture(const std::string& id, machine::Captured done) override { machines_.capture(id, std::move(done)); }
  void run(const std::string& id, const machine::Command& command, machine::CommandDone done) override {
    machines_.run(id, command, std::move(done));
  }
  void cancel(const std::string& id, const std::string& command) override { machines_.cancel(id, command); }
  void make_volume(const std::string& id, std::uint64_t gib, const std::string& origin, machine::Done done) override {
    machines_.make_volume(id, gib, origin, std::move(done));
  }
  void grow_volume(const std::string& id, std::uint64_t gib, machine::Done done) override {
    machines_.grow_volume(id, gib, std::move(done));
  }
  void remove_volume(const std::string& id, machine::Done done) override {
    machines_.remove_volume(id, std::move(done));
  }
  void attach_volume(const std::string& id, const machine::VolumeAt& at, machine::Done done) override {
    machines_.attach_volume(id, at, std::move(done));
  }
  void detach_volume(const std::string& id, const std::string& volume, machine::Done done) override {
    machines_.detach_volume(id, volume, std::move(done));
  }
  void image_of_volume(const std::string& id, const store::ImageConfig& config, machine::Captured done) override {
    machines_.image_of_volume(id, config, std::move(done));
  }
  void keep_volumes(const std::vector<std::string>& ids) override { machines_.keep_volumes(ids); }
  machine::State state(const std::string& id) const override { return machines_.state(id); }
  std::string console(const std::string& id) const override { return machines_.console(id); }
  void on_exit(std::function<void(const machine::Exit&)> listener) override { machines_.on_exit(std::move(listener)); }
  std::vector<std::string> adopt(const std::vector<machine::Spec>& known) override { return machines_.adopt(known); }

 private:
  machine::SimulatedMachines& machines_;
  Watch& watch_;
};

}  // namespace kiln::simulation
