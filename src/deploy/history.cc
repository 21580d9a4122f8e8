// History: deployments read out of the ledger's deployment.* entries.
#include "deploy/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "ledger/body.h"

namespace kiln::deploy {
namespace {

using nlohmann::json;

Deployment started(const ledger::Entry& entry, const json& body) {
  Deployment deployment;
  deployment.id = entry.subject;
  deployment.sequence = entry.sequence;
  deployment.actor = entry.actor;
  deployment.started = entry.time;
  deployment.app = body.at("app");
  deployment.environment = body.at("environment");
  deployment.verb = body.at("verb");
  deployment.version = body.at("version");
  deployment.digest = Digest::parse(body.at("digest").get<std::string>());
  deployment.ami = body.at("ami");
  deployment.instance_type = body.at("instance_type");
  if (!body.at("pinned_version").is_null()) deployment.pinned_version = body["pinned_version"].get<std::int64_t>();
  deployment.from_version = body.at("from_version");
  deployment.from_template_version = body.at("from_template_version");
  deployment.fingerprint = Digest::parse(body.at("fingerprint").get<std::string>());
  return deployment;
}

void finished(Deployment& deployment, const ledger::Entry& entry, const json& body) {
  deployment.ended = entry.time;
  deployment.outcome = parse_outcome(body.at("outcome").get<std::string>());
  deployment.why = body.at("why");
  deployment.template_version = body.at("template_version");
}

// The newest older than `sequence` that ended with `done` and brought that version of the launch template.
const Deployment* newest_with(const std::vector<Deployment>& deployments, std::int64_t template_version,
                              std::int64_t sequence) {
  const auto found = std::find_if(deployments.rbegin(), deployments.rend(), [&](const Deployment& deployment) {
    return deployment.sequence < sequence && deployment.outcome == Outcome::done && !deployment.destroyed &&
           deployment.verb != "rollback" && deployment.template_version == template_version;
  });
  return found == deployments.rend() ? nullptr : &*found;
}

// Those that ended with `done`, each on the one that it replaced. Going back takes away what is newer than what it
// reached: going back twice goes two steps back and not to and fro, and a version that was left because it was bad is
// no way back.
std::vector<Deployment> steps_that_stand(const std::vector<Deployment>& deployments) {
  std::vector<Deployment> steps;
  for (const Deployment& deployment : deployments) {
    if (deployment.outcome != Outcome::done || deployment.destroyed) continue;
    const Deployment* step = &deployment;
    if (deployment.verb == "rollback") {
      const Deployment* standing = newest_with(steps, deployment.template_version, deployment.sequence);
      step =
          standing != nullptr ? standing : newest_with(deployments, deployment.template_version, deployment.sequence);
      if (step == nullptr) continue;
    }
    const Deployment reached = *step;
    std::erase_if(steps, [&](const Deployment& one) { return one.sequence >= reached.sequence; });
    steps.push_back(reached);
  }
  return steps;
}

}  // namespace

std::string unfinished_words(const Deployment& deployment) {
  return fmt::format("{} {} of {}{} was begun by {} at {} and is not finished ({})", deployment.verb,
                     deployment.version, deployment.app,
                     deployment.environment.empty() ? "" : " in " + deployment.environment, deployment.actor,
                     format_iso8601(deployment.started), deployment.id);
}

std::string unfinished_next(const Deployment& deployment) {
  const std::string environment = deployment.environment.empty() ? "" : " --env " + deployment.environment;
  const std::string how =
      deployment.verb == "rollback" ? "rollback" + environment + " --to " : deployment.verb + environment + " --image ";
  return fmt::format(
      "Finish it with `kiln {}{}` in the folder of {} (kiln.yaml as it was then), or take it back with `kiln "
      "rollback{}`.",
      how, deployment.version, deployment.app, environment);
}

std::vector<Deployment> History::list(std::string_view app, std::string_view environment) const {
  return read([&](const std::string& its_app, const std::string& its_environment) {
    return its_app == app && its_environment == environment;
  });
}

std::vector<Deployment> History::all_unfinished() const {
  std::vector<Deployment> all = read([](const std::string&, const std::string&) { return true; });
  std::erase_if(all, [](const Deployment& deployment) { return deployment.outcome || deployment.destroyed; });
  return all;
}

std::vector<Deployment> History::read(const Wanted& wanted) const {
  ledger::Query query;
  query.limit = 0;
  query.kind = kStarted;
  std::vector<Deployment> deployments;
  std::map<std::string, std::size_t> by_id;
  auto each = [&](std::string_view kind, auto&& take) {
    query.kind = kind;
    for (const ledger::Entry& entry : ledger_.read(query)) {
      ledger::read_body(entry, [&](const json& body) { take(entry, body); });
    }
  };
  each(kStarted, [&](const ledger::Entry& entry, const json& body) {
    if (!wanted(body.at("app"), body.at("environment"))) return;
    by_id[entry.subject] = deployments.size();
    deployments.push_back(started(entry, body));
  });
  each(kFinished, [&](const ledger::Entry& entry, const json& body) {
    auto known = by_id.find(entry.subject);
    if (known != by_id.end()) finished(deployments[known->second], entry, body);
  });
  each(kDestroyed, [&](const ledger::Entry& entry, const json& body) {
    for (Deployment& deployment : deployments) {
      const bool its = deployment.app == entry.subject && body.at("environment") == deployment.environment;
      if (its && deployment.sequence < entry.sequence) deployment.destroyed = true;
    }
  });
  return deployments;
}

std::optional<Deployment> History::unfinished(std::string_view app, std::string_view environment) const {
  auto deployments = list(app, environment);
  for (auto deployment = deployments.rbegin(); deployment != deployments.rend(); ++deployment) {
    if (!deployment->outcome) return *deployment;
  }
  return std::nullopt;
}

bool History::has_served(std::string_view app, std::string_view environment, std::int64_t template_version) const {
  return std::ranges::any_of(list(app, environment), [&](const Deployment& deployment) {
    return deployment.outcome == Outcome::done && !deployment.destroyed &&
           deployment.template_version == template_version;
  });
}

std::optional<Deployment> History::before(std::string_view app, std::string_view environment,
                                          std::int64_t serving_template_version) const {
  const std::vector<Deployment> steps = steps_that_stand(list(app, environment));
  auto below = std::ranges::find(steps.rbegin(), steps.rend(), serving_template_version, &Deployment::template_version);
  const std::optional<Digest> serving = below == steps.rend() ? std::nullopt : std::optional(below->digest);
  if (!serving) below = steps.rbegin();
  const auto before = std::find_if(below, steps.rend(), [&](const Deployment& step) {
    return step.template_version != serving_template_version && step.digest != serving;
  });
  return before == steps.rend() ? std::nullopt : std::optional(*before);
}

std::vector<ledger::Entry> History::entries(const std::string& deployment) const {
  ledger::Query query;
  query.limit = 0;
  query.kind = "deployment.";
  query.subject = deployment;
  return ledger_.read(query);
}

}  // namespace kiln::deploy
