// Autoscaling: what EC2 Auto Scaling does: groups of instances that keep their number and health, and their replacement
// by instance refreshes.
//
// It lives on the region's loop. Every change is written down in the turn that makes it; after a restart `open` reads
// it and goes on where it was, at any point of a launch, a drain or a refresh. What a caller did wrong is an ApiError
// with AWS's code. Not served, and refused by name: launch configurations, mixed instances policies, lifecycle hooks,
// warm pools, maintenance policies, suspended processes, alarms of a refresh. Zones are kept even at launch and at
// scale-in; running instances are not rebalanced.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "region/autoscaling/activities.h"
#include "region/autoscaling/group.h"
#include "region/autoscaling/instances.h"
#include "region/autoscaling/record.h"
#include "region/autoscaling/refresh.h"
#include "region/autoscaling/targets.h"

namespace kiln::region::autoscaling {

struct Options {
  std::string region = "us-east-1";
  std::string account = "123456789012";
};

// Of CreateAutoScalingGroup and UpdateAutoScalingGroup; what is absent keeps its value or gets AWS's default.
struct GroupSettings {
  std::optional<TemplateRef> launch_template;  // by id or by name
  std::optional<int> min_size;
  std::optional<int> max_size;
  std::optional<int> desired;
  std::optional<int> default_cooldown_seconds;
  std::vector<std::string> subnets;
  std::vector<std::string> zones;
  std::optional<std::string> health_check_type;  // "EC2", "ELB"
  std::optional<int> grace_seconds;
  std::vector<std::string> termination_policies;
  std::optional<bool> protect_new;
  std::optional<int> default_warmup_seconds;  // -1 clears it
};

struct AttachedState {
  std::string target_group;
  std::string state;  // Adding, Added, InService, Removing
};

class Autoscaling {
 public:
  // All must outlive it.
  Autoscaling(host::Loop& loop, host::Random& random, Records& records, Instances& instances, Targets& targets,
              Options options);
  ~Autoscaling();
  void open();
  // For the log: an activity has begun or is over; a refresh is as it is now, changed or not. Neither may throw.
  void on_event(std::function<void(const Activity&)> activity, std::function<void(const Refresh&)> refresh);

  void create(const std::string& name, const GroupSettings& settings, const std::vector<std::string>& target_groups,
              const std::vector<Tag>& tags);
  void update(const std::string& name, const GroupSettings& settings);
  void remove(const std::string& name, bool force);
  std::vector<const Group*> groups() const;  // by name
  const Group& group(const std::string& name) const;
  const Group* group_of(const std::string& instance_id) const;

  void set_desired(const std::string& name, int desired, bool honor_cooldown);
  Activity terminate_instance(const std::string& instance_id, bool decrement);
  std::vector<Activity> enter_standby(const std::string& name, const std::vector<std::string>& instance_ids,
                                      bool decrement);
  std::vector<Activity> exit_standby(const std::string& name, const std::vector<std::string>& instance_ids);
  void set_instance_health(const std::string& instance_id, bool healthy, bool respect_grace);
  // Under way first, then the latest; of one group or of all.
  std::vector<const Activity*> activities(const std::optional<std::string>& group, bool of_deleted_groups) const;

  std::string start_refresh(const std::string& name, const std::optional<TemplateRef>& desired,
                            const RefreshPreferences& preferences);
  std::string cancel_refresh(const std::string& name, bool wait);
  std::string roll_back_refresh(const std::string& name);
  std::vector<const Refresh*> refreshes(const std::string& name) const;  // latest first

  // Of several groups at once: all of them, or when one is refused none.
  struct GroupTag {
    std::string group;
    Tag tag;
  };
  void put_tags(const std::vector<GroupTag>& tags);
  void delete_tags(const std::vector<GroupTag>& tags);  // by their keys
  void attach(const std::string& name, const std::vector<std::string>& target_groups);
  void detach(const std::string& name, const std::vector<std::string>& target_groups);
  std::vector<AttachedState> target_group_states(const std::string& name) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region::autoscaling
