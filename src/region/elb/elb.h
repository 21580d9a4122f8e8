// Elb: what ELBv2 does: load balancers, target groups, listeners, targets and their health, by AWS's rules.
//
// It lives on the region's loop. Every change is in the journal before the turn ends; the data plane is told in the
// same turn and confirms later. What a caller did wrong is an ApiError with AWS's code. After a restart `open` reads
// the journal, and targets keep the health that they had, so the data plane changes nothing until a probe says
// otherwise.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "region/elb/balancer.h"
#include "region/elb/ec2_view.h"
#include "region/elb/model.h"
#include "region/elb/prober.h"

namespace kiln::region {
class LoopbackPool;
class Tables;
}  // namespace kiln::region

namespace kiln::region::elb {

struct Options {
  std::string region = "us-east-1";
  std::string account = "123456789012";
  Duration retry{150};  // how soon a new target that is not up yet is asked again
};

struct NewLoadBalancer {
  std::string name;
  std::vector<std::string> subnets;
  std::vector<std::string> security_groups;  // the VPC's default group when empty
  std::string scheme = "internet-facing";
  Tags tags;
};

struct NewTargetGroup {
  std::string name;
  std::string vpc_id;
  int port = 80;
  HealthCheck check;
  Tags tags;
};

struct TargetReport {
  TargetKey target;
  std::string health_check_port;
  TargetHealth health;
};

class Elb {
 public:
  // All must outlive it.
  Elb(host::Loop& loop, host::Random& random, Tables& journal, const Ec2View& ec2, Balancer& balancer, Prober& prober,
      LoopbackPool& addresses, Options options);
  ~Elb();
  // Reads the journal, tells the data plane, begins to probe.
  void open();

  // Load balancers. Making one again with the same settings returns the one that is there.
  const LoadBalancer& create_load_balancer(const NewLoadBalancer& wanted);
  void delete_load_balancer(
      const LoadBalancerArn& arn);  // with its listeners; one that is not there is fine, as in AWS
  std::vector<const LoadBalancer*> load_balancers() const;              // by name
  const LoadBalancer& load_balancer(const LoadBalancerArn& arn) const;  // ApiError LoadBalancerNotFound
  bool active(const LoadBalancer& load_balancer) const;                 // "provisioning" before
  void set_attributes(const LoadBalancerArn& arn, const std::map<std::string, std::string>& attributes);
  std::map<std::string, std::string> attributes(const LoadBalancerArn& arn) const;  // with the defaults
  // Whether a load balancer has this security group, subnet or VPC of EC2's. Rules that name such a
  // group let the data plane's addresses in (machine::balancer_address), and a VPC must be there for the data plane to
  // reach into. `on_load_balancer_change` says when the answer may be another.
  bool uses(const std::string& ec2_id) const;
  void on_load_balancer_change(std::function<void()> listener);

  // Target groups.
  const TargetGroup& create_target_group(const NewTargetGroup& wanted);
  void modify_health_check(const TargetGroupArn& arn, const HealthCheck& check);
  void set_attributes(const TargetGroupArn& arn, const std::map<std::string, std::string>& attributes);
  std::map<std::string, std::string> attributes(const TargetGroupArn& arn) const;
  void delete_target_group(const TargetGroupArn& arn);    // ApiError ResourceInUse when a listener forwards to it
  std::vector<const TargetGroup*> target_groups() const;  // by name
  const TargetGroup& target_group(const TargetGroupArn& arn) const;  // ApiError TargetGroupNotFound
  bool has_target_group(const TargetGroupArn& arn) const;
  std::vector<LoadBalancerArn> load_balancers_of(const TargetGroupArn& arn) const;

  // Targets. A port of 0 is the group's.
  void register_targets(const TargetGroupArn& arn, const std::vector<TargetKey>& targets);
  // Unknown targets are fine, as in AWS. No new request goes there from the moment the data plane confirms; the target
  // reports `draining` until the deregistration delay has passed since then, and is not registered any more afterwards.
  void deregister_targets(const TargetGroupArn& arn, const std::vector<TargetKey>& targets);
  // Of one that is not registered: unused, Target.NotRegistered.
  TargetHealth target_health(const TargetGroupArn& arn, const TargetKey& target) const;
  std::vector<TargetReport> target_reports(const TargetGroupArn& arn) const;  // by id, then port
  // Whether anything of the instance (any port) is in the group still, draining included: ask before terminating it.
  bool has_target(const TargetGroupArn& arn, const std::string& instance_id) const;
  // Called on the loop after a target's state changed, was registered or left; several may listen, none may throw.
  void on_target_change(std::function<void(const TargetGroupArn&, const TargetKey&)> listener);
  // EC2's side calls it when an instance changes phase: stopped → unused (Target.InvalidState); terminated →
  // deregistered.
  void instance_changed(const std::string& instance_id);

  // Listeners.
  const Listener& create_listener(const LoadBalancerArn& load_balancer, int port, const Forward& forward,
                                  const Tags& tags);
  const Listener& modify_listener(const ListenerArn& arn, std::optional<int> port,
                                  const std::optional<Forward>& forward);
  void delete_listener(const ListenerArn& arn);
  std::vector<const Listener*> listeners(const LoadBalancerArn& load_balancer) const;  // by port
  const Listener& listener(const ListenerArn& arn) const;                              // ApiError ListenerNotFound

  // Tags of anything of ELB's, by ARN; the ApiError says which kind was not found.
  const Tags& tags_of(const std::string& arn) const;
  void set_tags(const std::string& arn, const Tags& tags);

  // What the data plane should do now. Pure; for tests and the simulation.
  BalancerState wanted() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region::elb
