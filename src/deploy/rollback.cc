// Rollback: the way back, found in history and proved on what is there.
#include "deploy/rollback.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace kiln::deploy {
namespace {

using fleet::Fleet;

WayBack way_of(const Deployment& deployment) {
  return {deployment.template_version, deployment.version, deployment.digest, deployment.ami};
}

// All desired instances are of the version that the group launches.
bool is_whole(const Fleet& fleet) {
  return std::ranges::all_of(fleet.group->instances, [&](const fleet::Instance& instance) {
    return instance.leaving() || instance.template_version == fleet.group->template_version;
  });
}

WayBack find_named(const Fleet& fleet, const std::vector<Deployment>& deployments, const std::string& to,
                   const std::string& title) {
  std::vector<std::string> ran;
  for (auto deployment = deployments.rbegin(); deployment != deployments.rend(); ++deployment) {
    if (deployment->outcome != Outcome::done || deployment->destroyed) continue;
    if (deployment->version == to) return way_of(*deployment);
    ran.push_back(deployment->version);
  }
  if (fleet.launch_template) {
    const auto& versions = fleet.launch_template->versions;
    for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
      if (fleet.image_version(version->number) != to || version->digest.empty()) continue;
      return {version->number, to, Digest::parse(version->digest), version->ami};
    }
  }
  std::string next = ran.empty() ? "Nothing ran here yet." : fmt::format("These ran: {}.", join(ran, ", "));
  if (auto near = nearest(to, ran)) next = fmt::format("Did you mean {}? {}", *near, next);
  throw Error(ErrorCode::not_found, fmt::format("{} never ran as {}", to, title), next);
}

}  // namespace

WayBack find_way_back(const fleet::Names& names, const Fleet& fleet, const History& history,
                      const std::optional<std::string>& to) {
  if (!fleet.group) {
    throw Error(ErrorCode::not_found,
                fmt::format("{} has no fleet, so there is nothing to go back from", names.title()),
                "`kiln deploy` makes one.");
  }
  const auto deployments = history.list(names.app, names.environment);
  const std::int64_t serving = fleet.group->template_version;
  // One that was begun and not finished has decided already, wherever the group is by now.
  const auto begun = history.unfinished(names.app, names.environment);
  if (begun && begun->verb == "rollback" && begun->pinned_version && (!to || *to == begun->version)) {
    return {*begun->pinned_version, begun->version, begun->digest, begun->ami};
  }
  if (to) {
    WayBack way = find_named(fleet, deployments, *to, names.title());
    if (way.template_version == serving && is_whole(fleet)) {
      throw Error(ErrorCode::conflict, fmt::format("{} serves {} already", names.title(), *to),
                  "Name another one: kiln images");
    }
    return way;
  }
  // A deployment that stopped half-way has left the group on the version before it: that is where to go.
  if (!is_whole(fleet)) {
    for (auto deployment = deployments.rbegin(); deployment != deployments.rend(); ++deployment) {
      if (deployment->outcome != Outcome::done || deployment->destroyed) continue;
      if (deployment->template_version == serving) return way_of(*deployment);
    }
  }
  auto before = history.before(names.app, names.environment, serving);
  if (!before) {
    throw Error(ErrorCode::not_found,
                fmt::format("{} serves {}, and no version before it ran here with success", names.title(),
                            fleet.image_version(serving)),
                "`kiln images` lists what can be deployed.");
  }
  return way_of(*before);
}

void prove(const WayBack& way, const Fleet& fleet) {
  auto refuse = [&](const std::string& why, const std::string& next) {
    throw Error(ErrorCode::conflict, fmt::format("cannot go back to {}: {}", way.version, why), next);
  };
  const std::string deploy_it =
      fmt::format("Nothing was changed. `kiln deploy --image {}` publishes and deploys it anew.", way.version);
  const auto* version = fleet.launch_template ? fleet.launch_template->version(way.template_version) : nullptr;
  if (version == nullptr)
    refuse(fmt::format("version {} of its launch template is gone", way.template_version), deploy_it);
  const auto image = fleet.images.find(version->ami);
  if (image == fleet.images.end()) refuse(fmt::format("its AMI {} was deregistered", version->ami), deploy_it);
  if (image->second.state != "available") {
    refuse(fmt::format("its AMI {} is {}", version->ami, image->second.state),
           "Nothing was changed. Make the AMI available again, or deploy the version anew.");
  }
  if (version->ami != way.ami || image->second.digest() != way.digest.str()) {
    refuse(fmt::format("version {} of its launch template launches {} ({}), and it was {} ({})", way.template_version,
                       version->ami, image->second.digest(), way.ami, way.digest.str()),
           deploy_it);
  }
}

Wanted wanted_of(const WayBack& way, const fleet::Names& names, const spec::FleetSpec& fleet,
                 const spec::DeploySpec& deploy) {
  Wanted wanted;
  wanted.names = names;
  wanted.fleet = fleet;
  wanted.deploy = deploy;
  wanted.version = way.version;
  wanted.digest = way.digest;
  wanted.ami = way.ami;
  wanted.template_version = way.template_version;
  return wanted;
}

}  // namespace kiln::deploy
