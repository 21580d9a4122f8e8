// State: what Elb holds in memory, and the steps that its parts share. Private to this folder.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "region/elb/elb.h"
#include "region/elb/record.h"

namespace kiln::region::elb {

struct Target {
  TargetKey key;
  CheckProgress progress;
  bool checking = false;
  bool draining = false;
  std::uint64_t told_in = 0;        // the first state sent to the data plane that closes it; 0: not sent yet
  std::optional<Time> drain_until;  // set once the data plane has confirmed that
  std::optional<Time> slow_since;   // in slow start
  host::TimerId timer = 0;          // the next probe, or the end of draining
  std::uint64_t epoch = 0;          // an answer to an older probe is ignored
};

struct Group {
  TargetGroup settings;
  std::map<TargetKey, Target> targets;
};

struct Elb::State {
  State(host::Loop& on, host::Random& chance, Tables& book, const Ec2View& view, Balancer& data_plane, Prober& asker,
        LoopbackPool& pool, Options with)
      : loop(on),
        random(chance),
        journal(book),
        ec2(view),
        balancer(data_plane),
        prober(asker),
        addresses(pool),
        options(std::move(with)) {}

  host::Loop& loop;
  host::Random& random;
  Tables& journal;
  const Ec2View& ec2;
  Balancer& balancer;
  Prober& prober;
  LoopbackPool& addresses;
  Options options;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);

  std::map<LoadBalancerArn, LoadBalancer> balancers;
  std::map<TargetGroupArn, Group> groups;
  std::map<ListenerArn, Listener> listeners;
  std::vector<std::function<void(const TargetGroupArn&, const TargetKey&)>> target_listeners;
  std::vector<std::function<void()>> balancer_listeners;

  // Found or an ApiError.
  LoadBalancer& need(const LoadBalancerArn& arn);
  Group& need(const TargetGroupArn& arn);
  Listener& need(const ListenerArn& arn);
  void save(const LoadBalancer& value);
  void save(const TargetGroup& value);
  void save(const Listener& value);
  void save(const TargetGroupArn& group, const Target& target);
  std::string arn(const std::string& kind_and_name);

  // Targets (targets.cc). `review` begins or ends health checks as the group's use and the instance's phase ask for.
  const LoadBalancer* balancer_of(const TargetGroupArn& arn) const;
  TargetHealth health_of(const TargetGroupArn& arn, const Group& group, const Target& target) const;
  void review(const TargetGroupArn& arn, const TargetKey& key);
  void review_all(const TargetGroupArn& arn);
  void restart_checks(const TargetGroupArn& arn);  // after its settings changed
  void remove_target(const TargetGroupArn& arn, const TargetKey& key);
  void resume_target(const TargetRecord& record);
  void notify(const TargetGroupArn& arn, const TargetKey& key);

  // Listeners (listeners.cc): ApiError when AWS would refuse it.
  void check_forward(const LoadBalancer& owner, const Forward& forward) const;
  void check_port(const LoadBalancer& owner, int port) const;

  // The data plane (elb.cc). `sync` tells it what is wanted, once for all changes of a turn.
  BalancerState wanted() const;
  void sync();

 private:
  void schedule_probe(const TargetGroupArn& arn, Target& target, Duration delay);
  void probe(const TargetGroupArn& arn, const TargetKey& key);
  void probed(const TargetGroupArn& arn, const TargetKey& key, const ProbeResult& result);
  void enter_or_leave_slow_start(const TargetGroupArn& arn, Group& group, Target& target, TargetState before);
  bool should_check(const TargetGroupArn& arn, const Target& target) const;
  void wait_for_drain(const TargetGroupArn& arn, Target& target);
  GroupState wanted_group(const TargetGroupArn& arn, const Group& group) const;
  bool slow_start_under_way() const;
  void send();
  void confirmed(std::uint64_t version);
  void failed();

  BalancerState sent_;
  std::uint64_t version_ = 0;
  std::uint64_t confirmed_ = 0;
  bool sync_posted_ = false;
  Duration last_send_{0};
  bool resend_ = false;
  Duration retry_{1'000};
  host::TimerId retry_timer_ = 0;
  host::TimerId slow_start_timer_ = 0;
};

// Names and tags by ELBv2's rules; ApiError otherwise. `what`: "load balancer", "target group".
void check_name(const std::string& name, const std::string& what);
void check_tags(const Tags& tags);
// Of a group or listener, unique in the data plane: the name and the last part of the ARN.
std::string data_plane_key(const std::string& prefix, const std::string& arn);

}  // namespace kiln::region::elb
