// History: deployments read out of the ledger's deployment.* entries.
#include "deploy/history.h"

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

}  // namespace

std::vector<Deployment> History::list(std::string_view app, std::string_view environment) const {
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
    if (body.at("app") != app || body.at("environment") != environment) return;
    by_id[entry.subject] = deployments.size();
    deployments.push_back(started(entry, body));
  });
  each(kFinished, [&](const ledger::Entry& entry, const json& body) {
    auto known = by_id.find(entry.subject);
    if (known != by_id.end()) finished(deployments[known->second], entry, body);
  });
  each(kDestroyed, [&](const ledger::Entry& entry, const json& body) {
    if (entry.subject != app || body.at("environment") != environment) return;
    for (Deployment& deployment : deployments) {
      if (deployment.sequence < entry.sequence) deployment.destroyed = true;
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
  auto deployments = list(app, environment);
  // Going back twice must go to two steps back, not to and fro: what was reached by going back is counted by the
  // deployment that first brought it.
  std::optional<Digest> serving;
  std::size_t end = deployments.size();
  for (std::size_t i = deployments.size(); i-- > 0;) {
    const Deployment& deployment = deployments[i];
    if (deployment.outcome != Outcome::done || deployment.destroyed) continue;
    if (!serving) {
      if (deployment.template_version != serving_template_version) continue;
      serving = deployment.digest;
    }
    if (deployment.digest == *serving && deployment.verb == "deploy") {
      end = i;
      break;
    }
  }
  for (std::size_t i = end; i-- > 0;) {
    const Deployment& deployment = deployments[i];
    if (deployment.outcome != Outcome::done || deployment.verb != "deploy" || deployment.destroyed) continue;
    if (deployment.template_version == serving_template_version) continue;
    if (serving && deployment.digest == *serving) continue;
    return deployment;
  }
  return std::nullopt;
}

std::vector<ledger::Entry> History::entries(const std::string& deployment) const {
  ledger::Query query;
  query.limit = 0;
  query.kind = "deployment.";
  query.subject = deployment;
  return ledger_.read(query);
}

}  // namespace kiln::deploy
