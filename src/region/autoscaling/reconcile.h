// Reconciler: looks at a group when something changed, asks the planner, and does what it says.
//
// Events of EC2 and of load balancing, and timers of the loop, mark groups; each marked group is looked at once,
// however many events came, and large groups less often, so that many events stay near-linear. A launch is written down
// in one turn and asked for in a later one: killed in between, the next look asks again with the same token.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "region/autoscaling/books.h"
#include "region/autoscaling/instances.h"
#include "region/autoscaling/reconcile_plan.h"
#include "region/autoscaling/targets.h"

namespace kiln::region::autoscaling {

class Reconciler {
 public:
  // All must outlive it.
  Reconciler(host::Loop& loop, host::Random& random, Books& books, Instances& instances, Targets& targets);
  ~Reconciler();
  // Begins to listen, and looks at every group.
  void start();
  // Looks at the group soon.
  void touch(const std::string& group);

  // What a call does at once, so that its answer can name the activity. They save what they change.
  Activity& take_out(Group& group, Member& member, std::string cause);  // → Terminating
  Activity& enter_standby(Group& group, Member& member, std::string cause);
  Activity& exit_standby(Group& group, Member& member, std::string cause);

 private:
  struct Doing;

  void run_marked();
  void look(Group& group);
  std::vector<Observed> observe(const Group& group) const;
  void apply(Group& group, const Plan& plan);
  void apply_refresh(Doing& doing, const Plan& plan);
  void connect(Doing& doing, const Plan& plan);
  void move_members(Doing& doing, const Plan& plan);
  void end_members(Doing& doing, const Plan& plan);
  void write_launches(Doing& doing, const Plan& plan);
  void ask(Doing& doing, const std::vector<std::size_t>& members);
  void launch_failed(Doing& doing, std::size_t member, const std::string& why);
  void back_off(Group& group);
  void drop_detached(Group& group);
  void leave_targets(Member& member);
  void schedule_look(const std::string& group, const std::optional<Time>& when);
  void tick();

  host::Loop& loop_;
  host::Random& random_;
  Books& books_;
  Instances& instances_;
  Targets& targets_;
  std::set<std::string> marked_;
  bool scheduled_ = false;
  std::set<std::string> unsettled_;
  std::map<std::string, std::pair<Time, host::TimerId>> looks_;
  host::TimerId tick_ = 0;
  int ticks_ = 0;
  std::shared_ptr<Reconciler*> self_;  // null inside once this is gone: listeners and tasks outlive it
};

}  // namespace kiln::region::autoscaling
