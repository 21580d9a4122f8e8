// Preview: what the planner would do, told before it does it.
#include "deploy/preview.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "deploy/internal/checks.h"
#include "deploy/plan.h"

namespace kiln::deploy {
namespace {

using fleet::Fleet;

constexpr std::size_t kInstancesNamed = 4;

std::string named(const std::vector<std::string>& instances) {
  std::vector<std::string> ids;
  for (const std::string& id : instances) {
    if (ids.size() < kInstancesNamed) ids.push_back(short_id(id));
  }
  std::string text = fmt::format("{}", fmt::join(ids, ", "));
  return instances.size() > ids.size() ? fmt::format("{} and {} more", text, instances.size() - ids.size()) : text;
}

class Teller {
 public:
  Teller(const Wanted& wanted, const Fleet& fleet)
      : wanted_(wanted), fleet_(fleet), version_(matching_version(wanted, fleet)) {
    if (fleet.group) from_ = fleet.image_version(fleet.group->template_version);
  }

  Preview tell() {
    const auto& spec = wanted_.fleet;
    out_.title =
        fmt::format("{} {} → {}   {}, {}, min {} max {}", wanted_.names.app, wanted_.version,
                    wanted_.names.environment.empty() ? "default" : wanted_.names.environment,
                    spec::to_string(wanted_.deploy.strategy), counted(spec.size, "instance"), spec.min, spec.max);
    out_.refusals = refusals(wanted_, fleet_);
    foundations();
    if (fleet_.group) {
      replacement();
      changes();
    } else {
      creation();
    }
    out_.nothing_to_do = std::ranges::all_of(out_.lines, [](const PreviewLine& line) { return line.verb == "keep"; });
    out_.budget = fmt::format("gives up after {}{}; a new instance may take {} to be healthy",
                              format_duration(wanted_.deploy.timeout),
                              wanted_.deploy.bake > Duration::zero()
                                  ? fmt::format(" and the {} that it must hold", format_duration(wanted_.deploy.bake))
                                  : std::string(),
                              format_duration(health_budget(spec)));
    return std::move(out_);
  }

 private:
  void line(std::string verb, std::string what) { out_.lines.push_back({std::move(verb), std::move(what)}); }

  void foundations() {
    const auto& names = wanted_.names;
    const auto& listen = wanted_.fleet.listen;
    auto thing = [&](bool there, const std::string& what) { line(there ? "keep" : "create", what); };
    thing(fleet_.balancer_security_group.has_value(),
          fmt::format("security group {}: port {} from everywhere", names.balancer_security_group, listen.port));
    thing(fleet_.instance_security_group.has_value(), fmt::format("security group {}: port {} from the load balancer",
                                                                  names.instance_security_group, listen.target_port));
    thing(fleet_.target_group.has_value(),
          fmt::format("target group {}: port {}, health {} every {}", names.target_group, listen.target_port,
                      wanted_.fleet.health.path, format_duration(wanted_.fleet.health.interval)));
    thing(fleet_.load_balancer.has_value(), fmt::format("load balancer {}", names.load_balancer));
    thing(!fleet_.listeners.empty(), fmt::format("listener on port {}", listen.port));
    const std::string holds =
        fmt::format("{} ({}), {}", wanted_.ami, wanted_.digest.short_str(), wanted_.fleet.instance_type);
    if (!fleet_.launch_template) {
      line("create", fmt::format("launch template {}: {}", names.launch_template, holds));
    } else if (version_ == 0) {
      line("create", fmt::format("version {} of launch template {}: {}", fleet_.launch_template->latest + 1,
                                 names.launch_template, holds));
    } else {
      line("keep", fmt::format("version {} of launch template {}: {}", version_, names.launch_template, holds));
    }
  }

  void creation() {
    line("create", fmt::format("Auto Scaling group {} with {} of {}", wanted_.names.group,
                               counted(wanted_.fleet.size, "instance"), wanted_.version));
    out_.capacity = {fmt::format("{} 0 → {}", wanted_.version, wanted_.fleet.size)};
    out_.going_back = "there is no version before it: a failed first deployment is left to look at";
  }

  void replacement() {
    const auto& group = *fleet_.group;
    std::vector<std::string> leaving;
    for (const fleet::Instance& instance : group.instances) {
      const bool old = version_ == 0 || instance.template_version != version_;
      if (old && !instance.leaving()) leaving.push_back(instance.id);
    }
    const auto leaves = leaving.size();
    if (version_ != 0 && group.template_version == version_ && leaves == 0) {
      line("keep", fmt::format("{} of {}", counted(group.desired, "instance"), wanted_.version));
      out_.capacity = {fmt::format("{} {} all the time", wanted_.version, group.desired)};
      out_.going_back = "nothing is replaced, so there is nothing to go back from";
      return;
    }
    const int percent = max_healthy_percentage(group.desired, wanted_.fleet.max);
    line("replace", fmt::format("{} of {} by {} of {}, new ones first", counted(leaves, "instance"), from_,
                                group.desired, wanted_.version));
    line("end", fmt::format("{}: each after the new ones are healthy and {} of draining", named(leaving),
                            format_duration(wanted_.fleet.drain)));
    out_.capacity = {
        fmt::format("{} {} → 0, {} 0 → {}", from_, leaves, wanted_.version, group.desired),
        fmt::format("never below {} healthy, never above {}", group.desired, group.desired * percent / 100)};
    going_back();
  }

  void going_back() {
    const auto& group = *fleet_.group;
    const auto* template_version =
        fleet_.launch_template ? fleet_.launch_template->version(group.template_version) : nullptr;
    const std::string ami = template_version != nullptr ? template_version->ami : std::string("its AMI");
    const auto image = fleet_.images.find(ami);
    const std::string state = image == fleet_.images.end() ? "not there any more" : image->second.state;
    if (fleet_.serving(group.template_version) == 0) {
      out_.going_back = fmt::format("{} does not serve now, so there is nothing to go back to", from_);
      return;
    }
    const bool automatic = wanted_.deploy.rollback == spec::Rollback::automatic;
    out_.going_back =
        fmt::format("{} to {}: version {} of the launch template, {} is {}",
                    automatic ? "by itself" : "with `kiln rollback`", from_, group.template_version, ami, state);
  }

  void changes() {
    if (auto what = target_group_changes(wanted_, fleet_); !what.empty()) {
      line("change", fmt::format("target group {}, at the end: {}", wanted_.names.target_group, what));
    }
    if (auto what = listener_changes(wanted_, fleet_); !what.empty()) {
      line("change", fmt::format("listener, at the end: {}", what));
    }
    if (auto size = resize(wanted_, fleet_)) {
      line("change", fmt::format("Auto Scaling group {}, at the end: {} → {} (min {}, max {})", wanted_.names.group,
                                 fleet_.group->desired, counted(size->desired, "instance"), size->min, size->max));
    }
  }

  const Wanted& wanted_;
  const Fleet& fleet_;
  const std::int64_t version_;
  std::string from_;
  Preview out_;
};

}  // namespace

Preview preview(const Wanted& wanted, const Fleet& fleet) { return Teller(wanted, fleet).tell(); }

std::string describe(const Preview& preview) {
  std::string text = preview.title + "\n\n";
  for (const char* verb : {"create", "change", "replace", "end", "keep"}) {
    for (const PreviewLine& line : preview.lines) {
      if (line.verb == verb) text += fmt::format("  {:<8} {}\n", line.verb, line.what);
    }
  }
  text += "\n";
  const char* label = "capacity";
  for (const std::string& line : preview.capacity) {
    text += fmt::format("  {:<10} {}\n", label, line);
    label = "";
  }
  text += fmt::format("  {:<10} {}\n", "back", preview.going_back);
  text += fmt::format("  {:<10} {}\n", "budget", preview.budget);
  if (!preview.refusals.empty()) {
    text += "\nThis cannot work:\n";
    for (const std::string& refusal : preview.refusals) text += fmt::format("  - {}\n", refusal);
  } else if (preview.nothing_to_do) {
    text += "\nNothing to do: all is as wanted.\n";
  }
  return text;
}

nlohmann::json to_json(const Preview& preview) {
  nlohmann::json lines = nlohmann::json::array();
  for (const PreviewLine& line : preview.lines) lines.push_back({{"verb", line.verb}, {"what", line.what}});
  return {{"title", preview.title},
          {"actions", lines},
          {"capacity", preview.capacity},
          {"going_back", preview.going_back},
          {"budget", preview.budget},
          {"refusals", preview.refusals},
          {"nothing_to_do", preview.nothing_to_do}};
}

}  // namespace kiln::deploy
