// Checks: comparisons of a wish with a look, and the reasons to refuse a deployment.
#include "deploy/internal/checks.h"

#include <fmt/format.h>

#include <algorithm>

namespace kiln::deploy {
namespace {

using fleet::Fleet;
using fleet::Instance;

void differ(std::vector<std::string>& changes, std::string_view what, const auto& is, const auto& should) {
  if (is == should) return;
  changes.push_back(fmt::format("{} {} → {}", what, is, should));
}

std::string joined(const std::vector<std::string>& parts) { return fmt::format("{}", fmt::join(parts, ", ")); }

// Why one instance does not serve.
std::string trouble(const Instance& instance) {
  if (!instance.in_service()) return fmt::format("{} is {}", short_id(instance.id), instance.lifecycle);
  if (instance.target.state.empty())
    return fmt::format("{} is not registered with the load balancer", short_id(instance.id));
  if (instance.target.state != "healthy") {
    return fmt::format("the load balancer calls {} {}", short_id(instance.id), instance.target.state);
  }
  return fmt::format("its group calls {} {}", short_id(instance.id), instance.health);
}

bool foreign(const fleet::Tags& tags, const fleet::Names& names) {
  for (const auto& [key, value] : names.tags()) {
    auto found = tags.find(key);
    if (found == tags.end() || found->second != value) return true;
  }
  return false;
}

template <typename Thing>
void refuse_foreign(std::vector<std::string>& out, const std::optional<Thing>& thing, std::string_view what,
                    const fleet::Names& names) {
  if (!thing || !foreign(thing->tags, names)) return;
  out.push_back(fmt::format("the {} {} exists and is not this app's: it lacks the tags {}={}, {}={}", what, thing->name,
                            fleet::kTagApp, names.app, fleet::kTagEnvironment, names.environment));
}

void refuse_image(std::vector<std::string>& out, const Wanted& wanted, const Fleet& fleet) {
  auto image = fleet.images.find(wanted.ami);
  if (image == fleet.images.end()) {
    out.push_back(
        fmt::format("the AMI {} of {} is not here: it was deregistered or disabled, or belongs to another account",
                    wanted.ami, wanted.version));
    return;
  }
  if (image->second.state != "available") {
    out.push_back(fmt::format("the AMI {} of {} is {}, so nothing can be launched from it", wanted.ami, wanted.version,
                              image->second.state));
  }
  const std::string digest = image->second.digest();
  if (!digest.empty() && digest != wanted.digest.str()) {
    out.push_back(
        fmt::format("the AMI {} holds {}, and {} is {}", wanted.ami, digest, wanted.version, wanted.digest.str()));
  }
}

void refuse_numbers(std::vector<std::string>& out, const Wanted& wanted) {
  const auto& fleet = wanted.fleet;
  if (fleet.size < 1) out.push_back("fleet.size is 0: there would be nothing to serve; `kiln destroy` ends a fleet");
  if (fleet.min > fleet.size || fleet.min < 0) {
    out.push_back(fmt::format("fleet.min {} is more than fleet.size {}", fleet.min, fleet.size));
  }
  if (fleet.max <= fleet.size) {
    out.push_back(
        fmt::format("fleet.max {} leaves no room beside {}: a new instance must be healthy before an old one is ended, "
                    "so it must be "
                    "at least {}",
                    fleet.max, counted(fleet.size, "instance"), fleet.size + 1));
  }
  if (fleet.drain >= wanted.deploy.timeout) {
    out.push_back(fmt::format("draining takes {} and the deployment gives up after {}", format_duration(fleet.drain),
                              format_duration(wanted.deploy.timeout)));
  }
  if (health_budget(fleet) >= wanted.deploy.timeout) {
    out.push_back(fmt::format("a new instance may take {} to be healthy and the deployment gives up after {}",
                              format_duration(health_budget(fleet)), format_duration(wanted.deploy.timeout)));
  }
  if (wanted.deploy.bake > kBakeMax) {
    out.push_back(
        fmt::format("deploy.bake {} is more than the 48h that AWS holds", format_duration(wanted.deploy.bake)));
  }
}

}  // namespace

std::string short_id(const std::string& id) {
  constexpr std::size_t kDigits = 7;
  const std::size_t keep = id.find('-') + 1 + kDigits;
  return id.size() > keep + 1 ? id.substr(0, keep) + ".." : id;
}

std::string counted(std::int64_t count, const std::string& noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

Duration health_budget(const spec::FleetSpec& fleet) {
  // The user's own allowance, and never less than AWS needs to start a machine; then the checks that make it healthy.
  const Duration boot = std::max<Duration>(fleet.grace, std::chrono::seconds(60));
  return boot + fleet.warmup + (fleet.health.healthy + fleet.health.unhealthy) * fleet.health.interval;
}

std::optional<std::string> unsettled(const Wanted& wanted, const Fleet& fleet, std::int64_t template_version) {
  if (!fleet.group) return "there is no Auto Scaling group";
  const auto& group = *fleet.group;
  const std::string version = fleet.image_version(template_version);
  std::int64_t serving = 0;
  std::int64_t others = 0;
  const Instance* troubled = nullptr;
  for (const Instance& instance : group.instances) {
    if (instance.template_version != template_version || instance.leaving()) {
      ++others;
    } else if (instance.serves()) {
      ++serving;
    } else {
      troubled = &instance;
    }
  }
  if (serving < group.desired || troubled != nullptr) {
    std::string reason = fmt::format("{} of {} of {} healthy", serving, counted(group.desired, "instance"), version);
    if (troubled != nullptr) reason += "; " + trouble(*troubled);
    return reason;
  }
  if (others > 0) return fmt::format("{} still to end", counted(others, "old instance"));
  if (serving > group.desired) return fmt::format("{} more than {} serve", serving - group.desired, group.desired);
  if (!fleet.target_group) return fmt::format("there is no target group {}", wanted.names.target_group);
  const bool sent = std::ranges::any_of(fleet.listeners, [&](const fleet::Listener& listener) {
    auto weight = listener.weights.find(fleet.target_group->arn);
    return weight != listener.weights.end() && weight->second > 0;
  });
  if (!sent) return fmt::format("no listener sends to the target group {}", wanted.names.target_group);
  return std::nullopt;
}

std::string target_group_changes(const Wanted& wanted, const Fleet& fleet) {
  if (!fleet.target_group) return {};
  const auto& is = *fleet.target_group;
  const auto& health = wanted.fleet.health;
  std::vector<std::string> changes;
  differ(changes, "health path", is.health_path, health.path);
  differ(changes, "health interval", format_duration(is.health_interval), format_duration(health.interval));
  differ(changes, "health timeout", format_duration(is.health_timeout), format_duration(health.timeout));
  differ(changes, "healthy after", is.healthy_threshold, health.healthy);
  differ(changes, "unhealthy after", is.unhealthy_threshold, health.unhealthy);
  differ(changes, "status", is.matcher, health.status);
  if (is.drain) differ(changes, "drain", format_duration(*is.drain), format_duration(wanted.fleet.drain));
  return joined(changes);
}

std::string listener_changes(const Wanted& wanted, const Fleet& fleet) {
  if (fleet.listeners.empty() || !fleet.target_group) return {};
  const auto on_port = std::ranges::find(fleet.listeners, wanted.fleet.listen.port, &fleet::Listener::port);
  const auto& listener = on_port == fleet.listeners.end() ? fleet.listeners.front() : *on_port;
  std::vector<std::string> changes;
  differ(changes, "port", listener.port, wanted.fleet.listen.port);
  for (const auto& [arn, weight] : listener.weights) {
    if (arn != fleet.target_group->arn && weight > 0) {
      changes.push_back(fmt::format("sends weight {} to {}, which is not this app's", weight, arn));
    }
  }
  auto own = listener.weights.find(fleet.target_group->arn);
  if (own == listener.weights.end() || own->second == 0) {
    changes.push_back(fmt::format("sends nothing to {}", fleet.target_group->name));
  }
  return joined(changes);
}

std::optional<ResizeGroup> resize(const Wanted& wanted, const Fleet& fleet) {
  if (!fleet.group) return std::nullopt;
  const auto& group = *fleet.group;
  const auto size = group.tags.find(std::string(fleet::kTagSize));
  const bool same_size = size != group.tags.end() && size->second == std::to_string(wanted.fleet.size);
  if (same_size && group.min == wanted.fleet.min && group.max == wanted.fleet.max) return std::nullopt;
  // Others may scale the group between its bounds: their number is kept unless the size in kiln.yaml has changed.
  const std::int64_t desired =
      same_size ? std::clamp<std::int64_t>(group.desired, wanted.fleet.min, wanted.fleet.max) : wanted.fleet.size;
  return ResizeGroup{wanted.fleet.min, wanted.fleet.max, desired};
}

int max_healthy_percentage(std::int64_t desired, std::int64_t max) {
  desired = std::max<std::int64_t>(desired, 1);
  // AWS rounds the surge down, so a percentage that gives one more must be rounded up.
  const std::int64_t least = (100 * (desired + 1) + desired - 1) / desired;
  return static_cast<int>(std::min<std::int64_t>(200, std::max(100 * max / desired, least)));
}

std::vector<std::string> refusals(const Wanted& wanted, const Fleet& fleet) {
  std::vector<std::string> out;
  refuse_numbers(out, wanted);
  refuse_image(out, wanted, fleet);
  refuse_foreign(out, fleet.instance_security_group, "security group", wanted.names);
  refuse_foreign(out, fleet.balancer_security_group, "security group", wanted.names);
  refuse_foreign(out, fleet.launch_template, "launch template", wanted.names);
  refuse_foreign(out, fleet.target_group, "target group", wanted.names);
  refuse_foreign(out, fleet.load_balancer, "load balancer", wanted.names);
  refuse_foreign(out, fleet.group, "Auto Scaling group", wanted.names);
  if (fleet.target_group && fleet.target_group->port != wanted.fleet.listen.target_port) {
    out.push_back(
        fmt::format("the target group {} is on port {} and cannot move to {}: `kiln destroy` and deploy again",
                    fleet.target_group->name, fleet.target_group->port, wanted.fleet.listen.target_port));
  }
  if (fleet.group && fleet.group->template_version == 0) {
    out.push_back(
        fmt::format("the group {} follows {}, so it cannot go back by itself: give it a numbered version first",
                    fleet.group->name, fleet.group->template_version_text));
  }
  if (const auto* refresh = fleet.active_refresh()) {
    out.push_back(fmt::format("an instance refresh of {} is under way already ({}, {}): wait for it or cancel it",
                              wanted.names.group, refresh->id, refresh->status));
  }
  if (wanted.template_version && matching_version(wanted, fleet) == 0) {
    out.push_back(fmt::format("version {} of the launch template {} is not there any more", *wanted.template_version,
                              wanted.names.launch_template));
  }
  if (!fleet.group && fleet.subnets.empty()) {
    out.push_back("there is no default VPC with subnets to launch instances in");
  }
  return out;
}

}  // namespace kiln::deploy
