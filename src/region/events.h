// Events: what happened to a region's instances, targets, scaling activities and instance refreshes, a line each, with
// the reason that AWS's own describe calls give. For whoever asks afterwards why something was replaced or drained.
//
// "2026-11-25T12:00:00.123Z 123456789012/us-east-1 target web/3a1b i-0f1e:80 unhealthy: Target.Timeout, ..."
// A line that repeats what was last said of its subject is not said again. On the region's loop; nothing is kept, so
// after a restart what holds then may be said once more.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/time.h"
#include "region/autoscaling/activities.h"
#include "region/autoscaling/refresh.h"
#include "region/ec2/model.h"
#include "region/elb/model.h"

namespace kiln::region {

class Events {
 public:
  using Tell = std::function<void(const std::string& line)>;
  // `place` is "<account>/<region>".
  Events(std::string place, Tell tell) : place_(std::move(place)), tell_(std::move(tell)) {}

  void instance(Time now, const ec2::Instance& instance, ec2::InstanceState before);
  void target(Time now, const elb::TargetGroupArn& group, const elb::TargetKey& target,
              const elb::TargetHealth& health);
  void activity(Time now, const autoscaling::Activity& activity);
  void refresh(Time now, const autoscaling::Refresh& refresh);

 private:
  void say(Time now, const std::string& subject, const std::string& what, bool last);

  std::string place_;
  Tell tell_;
  std::map<std::string, std::string> said_;  // of what is still there
};

}  // namespace kiln::region
