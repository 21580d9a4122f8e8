// Destroy: the things of an app, ended in an order that AWS accepts.
#include "deploy/destroy.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "aws/client.h"
#include "base/text.h"
#include "deploy/history.h"
#include "deploy/internal/checks.h"
#include "fleet/observe.h"
#include "host/lock.h"
#include "wire/autoscaling.h"
#include "wire/ec2.h"
#include "wire/elb.h"

namespace kiln::deploy {
namespace {

namespace ec2 = wire::ec2;
namespace asg = wire::autoscaling;
namespace elb = wire::elb;
using fleet::Fleet;

template <typename Thing>
void collect(DestroyPlan& plan, const std::optional<Thing>& thing, const fleet::Names& names, End end) {
  if (!thing) return;
  for (const auto& [key, value] : names.tags()) {
    auto found = thing->tags.find(key);
    if (found != thing->tags.end() && found->second == value) continue;
    plan.refusals.push_back(fmt::format("{} is not this app's: it lacks the tag {}={}", end.name, key, value));
    return;
  }
  plan.later.push_back(std::move(end));
}

void call(aws::Client& client, const End& end) {
  switch (end.what) {
    case Ending::group: {
      asg::DeleteAutoScalingGroupType request;
      request.auto_scaling_group_name = end.id;
      request.force_delete = true;
      client.call<asg::DeleteAutoScalingGroup>(request);
      return;
    }
    case Ending::listener: {
      elb::DeleteListenerInput request;
      request.listener_arn = end.id;
      client.call<elb::DeleteListener>(request);
      return;
    }
    case Ending::load_balancer: {
      elb::DeleteLoadBalancerInput request;
      request.load_balancer_arn = end.id;
      client.call<elb::DeleteLoadBalancer>(request);
      return;
    }
    case Ending::target_group: {
      elb::DeleteTargetGroupInput request;
      request.target_group_arn = end.id;
      client.call<elb::DeleteTargetGroup>(request);
      return;
    }
    case Ending::launch_template: {
      ec2::DeleteLaunchTemplateRequest request;
      request.launch_template_id = end.id;
      client.call<ec2::DeleteLaunchTemplate>(request);
      return;
    }
    case Ending::security_group: {
      ec2::DeleteSecurityGroupRequest request;
      request.group_id = end.id;
      client.call<ec2::DeleteSecurityGroup>(request);
      return;
    }
    case Ending::image: {
      ec2::DeregisterImageRequest request;
      request.image_id = end.id;
      client.call<ec2::DeregisterImage>(request);
      return;
    }
  }
}

// False when AWS says that something still uses it.
bool try_end(aws::Client& client, const End& end) {
  try {
    call(client, end);
    return true;
  } catch (const aws::AwsError& error) {
    const std::string& code = error.aws_code();
    if (error.code() == ErrorCode::not_found || code.find("NotFound") != std::string::npos) return true;
    const bool busy = error.code() == ErrorCode::conflict || error.code() == ErrorCode::unavailable ||
                      code == "DependencyViolation" || code.find("InUse") != std::string::npos ||
                      code == "ScalingActivityInProgress" || code == "ResourceContention";
    if (!busy) throw;
    return false;
  }
}

std::string remaining(const DestroyPlan& plan) {
  std::vector<std::string> names;
  for (const auto* list : {&plan.now, &plan.later}) {
    for (const End& end : *list) names.push_back(end.name);
  }
  return join(names, ", ");
}

void end_unfinished(ledger::Ledger& ledger, host::Clock& clock, const fleet::Names& names) {
  const auto unfinished = History(ledger).unfinished(names.app, names.environment);
  if (!unfinished) return;
  ledger.append(kFinished, unfinished->id,
                {{"app", names.app},
                 {"environment", names.environment},
                 {"version", unfinished->version},
                 {"outcome", to_string(Outcome::failed)},
                 {"why", "its fleet is being destroyed"},
                 {"template_version", 0},
                 {"took_ms", (clock.now() - unfinished->started).count()}});
}

// `left` names what is still there, from the first look on.
void end_all(aws::Client& client, ledger::Ledger& ledger, host::Clock& clock, const fleet::Names& names,
             const DestroyOptions& options, std::string& left) {
  const Duration begun = clock.uptime();
  std::string said;
  auto say = [&](const std::string& what) {
    if (options.on_change && what != said) options.on_change(what);
    said = what;
  };
  bool recorded = false;
  for (;;) {
    const Fleet fleet = fleet::look(client, names);
    const auto images = options.images ? fleet::look_at_images(client, names.app) : std::vector<fleet::Image>();
    const DestroyPlan plan = plan_destroy(names, fleet, images);
    if (!plan.refusals.empty()) {
      throw Error(ErrorCode::conflict, fmt::format("{} is not ended: {}", names.title(), join(plan.refusals, "; ")),
                  "Nothing more was ended. Remove what is not this app's by hand.");
    }
    if (plan.done()) break;
    if (!recorded) {
      end_unfinished(ledger, clock, names);
      ledger.append("fleet.destroying", names.app, {{"environment", names.environment}, {"things", remaining(plan)}});
      recorded = true;
    }
    // The same things again: AWS does not show yet that they are gone, or does not let them go.
    const bool moved = remaining(plan) != left;
    left = remaining(plan);
    bool ended = false;
    for (const End& end : plan.now) {
      if (!try_end(client, end)) continue;
      ended = true;
      say("ended " + end.name);
    }
    if (ended && moved) continue;
    if (options.cancelled != nullptr && options.cancelled->load()) {
      throw Error(ErrorCode::cancelled, "somebody stopped waiting");
    }
    if (clock.uptime() - begun >= options.timeout) {
      throw Error(ErrorCode::timeout,
                  fmt::format("{} is not ended after {}: still there: {}", names.title(),
                              format_duration(options.timeout), remaining(plan)),
                  "`kiln destroy` goes on with it.");
    }
    const bool group = fleet.group.has_value();
    say(group ? fmt::format("waiting for {} to end",
                            counted(static_cast<std::int64_t>(fleet.group->instances.size()), "instance"))
              : fmt::format("waiting for {}", (plan.now.empty() ? plan.later : plan.now).front().name));
    clock.sleep(options.poll);
  }
  // Also when a run before this one ended the last thing and died before it could say so.
  const auto deployments = History(ledger).list(names.app, names.environment);
  if (recorded ||
      std::ranges::any_of(deployments, [](const Deployment& deployment) { return !deployment.destroyed; })) {
    end_unfinished(ledger, clock, names);
    ledger.append(kDestroyed, names.app, {{"environment", names.environment}, {"images", options.images}});
  }
}

}  // namespace

DestroyPlan plan_destroy(const fleet::Names& names, const Fleet& fleet, const std::vector<fleet::Image>& images) {
  DestroyPlan plan;
  const auto instances = fleet.group ? fleet.group->instances.size() : 0;
  collect(plan, fleet.group, names,
          {Ending::group,
           fmt::format("Auto Scaling group {} with {}", names.group,
                       counted(static_cast<std::int64_t>(instances), "instance")),
           names.group});
  for (const auto& listener : fleet.listeners) {
    plan.later.push_back({Ending::listener, fmt::format("listener on port {}", listener.port), listener.arn});
  }
  collect(plan, fleet.load_balancer, names,
          {Ending::load_balancer, "load balancer " + names.load_balancer,
           fleet.load_balancer ? fleet.load_balancer->arn : ""});
  collect(
      plan, fleet.target_group, names,
      {Ending::target_group, "target group " + names.target_group, fleet.target_group ? fleet.target_group->arn : ""});
  collect(plan, fleet.launch_template, names,
          {Ending::launch_template, "launch template " + names.launch_template,
           fleet.launch_template ? fleet.launch_template->id : ""});
  // The instances' group names the balancer's, so it goes first.
  for (const auto* group : {&fleet.instance_security_group, &fleet.balancer_security_group}) {
    if (*group)
      collect(plan, *group, names, {Ending::security_group, "security group " + (*group)->name, (*group)->id});
  }
  for (const auto& image : images) {
    plan.later.push_back({Ending::image, fmt::format("image {} ({})", image.name, image.ami), image.ami});
  }
  if (plan.later.empty()) return plan;
  // A group that AWS is deleting is waited for; everything else goes by kinds, in the order above.
  if (plan.later.front().what == Ending::group && !fleet.group->status.empty()) return plan;
  const Ending first = plan.later.front().what;
  const bool together = first == Ending::launch_template || first == Ending::security_group || first == Ending::image;
  auto end_of_first = std::ranges::find_if(plan.later, [&](const End& end) { return !together && end.what != first; });
  plan.now.assign(plan.later.begin(), end_of_first);
  plan.later.erase(plan.later.begin(), end_of_first);
  return plan;
}

std::string describe(const DestroyPlan& plan) {
  std::string text;
  for (const auto* list : {&plan.now, &plan.later}) {
    for (const End& end : *list) text += fmt::format("  {:<8} {}\n", "end", end.name);
  }
  if (!plan.refusals.empty()) text += "\nThis cannot work:\n";
  for (const std::string& refusal : plan.refusals) text += fmt::format("  - {}\n", refusal);
  return text.empty() ? "Nothing to end.\n" : text;
}

void destroy(aws::Client& client, ledger::Ledger& ledger, host::Clock& clock, const host::Path& locks,
             const fleet::Names& names, const DestroyOptions& options) {
  host::make_folders(locks);
  const auto held = host::FileLock::take(locks / (names.group + ".lock"), "kiln destroy " + names.app, clock.now());
  std::string left;
  try {
    end_all(client, ledger, clock, names, options, left);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled) throw;
    throw Error(ErrorCode::cancelled, left.empty() ? "nothing was ended yet" : "still there: " + left,
                "`kiln destroy` goes on with it.");
  }
}

}  // namespace kiln::deploy
