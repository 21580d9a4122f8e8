// Changes: one line for each thing that changed between two looks.
#include "console/changes.h"

#include <fmt/format.h>

namespace kiln::console {
namespace {

std::string state_of(const fleet::Instance& instance) {
  std::string state = instance.lifecycle;
  if (!instance.target.state.empty()) state += ", " + instance.target.state;
  if (instance.target.state != "healthy" && !instance.target.description.empty()) {
    state += " (" + instance.target.description + ")";
  }
  return state;
}

std::string next_of(const deploy::Plan& plan, const deploy::Wanted& wanted) {
  if (plan.finish) return plan.finish->why;
  if (plan.wait) return "waiting: " + plan.wait->reason;
  if (!plan.actions.empty()) return deploy::sentence(plan.actions.front(), wanted);
  return {};
}

}  // namespace

std::vector<std::string> Changes::since_last(const deploy::Moment& moment) {
  std::vector<std::string> lines;
  std::string time = format_elapsed(moment.now - moment.progress.started);
  std::map<std::string, std::string> seen;
  if (moment.fleet.group) {
    for (const fleet::Instance& instance : moment.fleet.group->instances) {
      std::string line = fmt::format("{} of {}: {}", instance.id, instance.image_version, state_of(instance));
      if (instances_[instance.id] != line) lines.push_back(time + "  " + line);
      seen[instance.id] = line;
    }
  }
  for (const auto& [id, said] : instances_) {
    if (!seen.contains(id) && !said.empty()) lines.push_back(fmt::format("{}  {} has ended", time, id));
  }
  instances_ = std::move(seen);
  std::string next = next_of(moment.plan, moment.wanted);
  if (next != next_ && !next.empty()) lines.push_back(time + "  " + next);
  next_ = next;
  return lines;
}

}  // namespace kiln::console
