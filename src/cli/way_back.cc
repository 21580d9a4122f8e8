// Way back: read from the ledger, brought to AWS.
#include "cli/way_back.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "deploy/history.h"
#include "fleet/usage.h"
#include "ledger/body.h"
#include "wire/ec2.h"

namespace kiln::cli {
namespace {

namespace ec2 = wire::ec2;

std::set<std::pair<std::string, std::string>> fleets_in(ledger::Ledger& ledger) {
  std::set<std::pair<std::string, std::string>> fleets;
  ledger::Query query;
  query.kind = deploy::kStarted;
  query.limit = 0;
  for (const ledger::Entry& entry : ledger.read(query)) {
    ledger::read_body(entry, [&](const nlohmann::json& body) {
      fleets.emplace(body.value("app", ""), body.value("environment", ""));
    });
  }
  return fleets;
}

void add_kept(const deploy::History& history, const std::string& app, const std::string& environment,
              std::vector<Kept>& kept) {
  const std::string title = environment.empty() ? app : app + " in " + environment;
  const auto deployments = history.list(app, environment);
  const deploy::Deployment* serving = nullptr;
  for (const deploy::Deployment& deployment : deployments) {
    if (deployment.destroyed) continue;
    if (!deployment.outcome || deployment.outcome == deploy::Outcome::left) {
      kept.push_back(
          {deployment.digest, deployment.ami, fmt::format("the deployment {} is not finished", deployment.id)});
    }
    if (deployment.outcome == deploy::Outcome::done) serving = &deployment;
  }
  if (serving == nullptr) return;
  kept.push_back({serving->digest, serving->ami, fmt::format("{} serves it", title)});
  if (const auto before = history.before(app, environment, serving->template_version)) {
    kept.push_back({before->digest, before->ami, fmt::format("{} would roll back to it", title)});
  }
}

void protect(aws::Client& client, const std::string& ami) {
  ec2::EnableImageDeregistrationProtectionRequest request;
  request.image_id = ami;
  client.call<ec2::EnableImageDeregistrationProtection>(request);
  ec2::CreateTagsRequest tags;
  tags.resources = {ami};
  ec2::Tag tag;
  tag.key = std::string(kTagProtected);
  tag.value = "serves or can be gone back to";
  tags.tags = {tag};
  client.call<ec2::CreateTags>(tags);
}

}  // namespace

std::vector<Kept> kept_by_deployments(ledger::Ledger& ledger) {
  const deploy::History history(ledger);
  std::vector<Kept> kept;
  for (const auto& [app, environment] : fleets_in(ledger)) add_kept(history, app, environment, kept);
  return kept;
}

void unprotect(aws::Client& client, const std::string& ami) {
  ec2::DisableImageDeregistrationProtectionRequest request;
  request.image_id = ami;
  client.call<ec2::DisableImageDeregistrationProtection>(request);
  ec2::DeleteTagsRequest tags;
  tags.resources = {ami};
  ec2::Tag tag;
  tag.key = std::string(kTagProtected);
  tags.tags = {tag};
  client.call<ec2::DeleteTags>(tags);
}

void protect_way_back(Session& session) {
  try {
    std::set<std::string> kept;
    for (const Kept& one : kept_by_deployments(session.ledger)) kept.insert(one.ami);
    aws::Client& client = session.connection.client();
    ec2::DescribeImagesRequest request;
    request.owners = {"self"};
    ec2::Filter of_app;
    of_app.name = "tag:" + std::string(fleet::kTagApp);
    of_app.values = {session.app.name};
    request.filters = {of_app};
    for (const auto& image : client.call<ec2::DescribeImages>(request).images) {
      const std::string ami = image.image_id.value_or("");
      const bool is_protected = image.deregistration_protection.value_or("").starts_with("enabled");
      const bool ours =
          std::ranges::any_of(image.tags, [](const ec2::Tag& tag) { return tag.key.value_or("") == kTagProtected; });
      if (kept.contains(ami) && !is_protected) protect(client, ami);
      if (!kept.contains(ami) && is_protected && ours) unprotect(client, ami);
    }
  } catch (const Error& error) {
    talk(fmt::format("  the way back is not protected from deregistration: {}", error.what()));
  }
}

}  // namespace kiln::cli
