// SimulatedWorld: an Elb on virtual time, with instances that are entries in a table, for tests.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "region/elb/elb.h"
#include "region/elb/simulated_balancer.h"
#include "region/elb/simulated_prober.h"
#include "region/journal.h"
#include "region/loopback_pool.h"

namespace kiln::region::elb::testing {

class FakeEc2 final : public Ec2View {
 public:
  std::map<std::string, InstanceView> instances;

  std::optional<InstanceView> instance(const std::string& id) const override {
    auto found = instances.find(id);
    return found == instances.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<SubnetView> subnet(const std::string& id) const override {
    if (id == "subnet-a") return SubnetView{"vpc-1", "us-east-1a"};
    if (id == "subnet-b") return SubnetView{"vpc-1", "us-east-1b"};
    if (id == "subnet-a2") return SubnetView{"vpc-1", "us-east-1a"};
    if (id == "subnet-other") return SubnetView{"vpc-2", "us-east-1b"};
    return std::nullopt;
  }
  bool vpc_exists(const std::string& id) const override { return id == "vpc-1" || id == "vpc-2"; }
  std::optional<std::string> security_group_vpc(const std::string& id) const override {
    if (id == "sg-1") return "vpc-1";
    if (id == "sg-2") return "vpc-2";
    return std::nullopt;
  }
  std::string default_security_group(const std::string&) const override { return "sg-default"; }
};

// What outlives the control plane in the first group; what dies with it in `elb` and `prober`.
class SimulatedWorld {
 public:
  SimulatedWorld() { start(); }
  ~SimulatedWorld() { elb.reset(); }

  // The control plane begins (again) on the journal that is there; `kill` ends it as kill -9 does.
  void start() {
    prober = std::make_unique<SimulatedProber>(loop, [this](const Probe& probe) {
      ++probes[probe.address];
      auto found = http.find(probe.address);
      return found == http.end() ? 0 : found->second;
    });
    addresses = std::make_unique<LoopbackPool>([](int number) { return "127.77.0." + std::to_string(number); });
    elb = std::make_unique<Elb>(loop, random, journal, ec2, balancer, *prober, *addresses, Options());
    loop.set_turn_end([this] { journal.commit(); });
    elb->on_target_change([this](const TargetGroupArn&, const TargetKey& key) { changed.push_back(key.id); });
    elb->open();
  }
  void kill() {
    elb.reset();
    prober.reset();
  }

  void run(Duration time) { loop.run_for(time); }
  // An instance at 172.31.0.<number> in zone a (odd) or b, that answers `status` (0: refuses).
  std::string instance(int number, int status = 200) {
    std::string id = "i-" + std::to_string(number);
    std::string address = "172.31.0." + std::to_string(number);
    ec2.instances[id] = {"vpc-1", number % 2 == 1 ? "us-east-1a" : "us-east-1b", address, InstancePhase::running};
    http[address] = status;
    return id;
  }
  void phase(const std::string& id, InstancePhase phase) {
    ec2.instances[id].phase = phase;
    elb->instance_changed(id);
  }
  LoadBalancerArn load_balancer(const std::string& name = "front") {
    return elb->create_load_balancer({name, {"subnet-a", "subnet-b"}, {"sg-1"}, "internet-facing", {}}).arn;
  }
  TargetGroupArn group(const std::string& name = "web") {
    NewTargetGroup wanted;
    wanted.name = name;
    wanted.vpc_id = "vpc-1";
    wanted.check.interval_seconds = 5;
    wanted.check.timeout_seconds = 2;
    return elb->create_target_group(wanted).arn;
  }
  ListenerArn listener(const LoadBalancerArn& owner, std::vector<WeightedGroup> groups, int port = 80) {
    return elb->create_listener(owner, port, {std::move(groups), false, 0}, {}).arn;
  }
  std::string state(const TargetGroupArn& group, const std::string& id) const {
    TargetHealth health = elb->target_health(group, {id, 0});
    return to_string(health.state) + (health.reason.empty() ? "" : "/" + health.reason);
  }
  // Servers that `count` requests to 127.77.0.1:`port` went to, by the last number of their address; 0 is a 503.
  std::map<int, int> requests(int count, int port = 80) {
    std::map<int, int> served;
    for (int i = 0; i < count; ++i) {
      auto server = balancer.route("127.77.0.1", port, random);
      ++served[server ? std::stoi(server->first.substr(server->first.rfind('.') + 1)) : 0];
    }
    return served;
  }

  host::SimulatedLoop loop{parse_iso8601("2026-11-24T03:00:00Z")};
  host::SeededRandom random{7};
  MemoryJournal journal;
  FakeEc2 ec2;
  SimulatedBalancer balancer{loop};
  std::map<std::string, int> http;    // status by address
  std::map<std::string, int> probes;  // by address
  std::vector<std::string> changed;   // instances whose targets changed, in order
  std::unique_ptr<SimulatedProber> prober;
  std::unique_ptr<LoopbackPool> addresses;
  std::unique_ptr<Elb> elb;
};

}  // namespace kiln::region::elb::testing
