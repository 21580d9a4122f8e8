// Builder: see builder.h.
#include "builder/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "aws/client.h"
#include "base/error.h"
#include "base/text.h"
#include "builder/internal/instance.h"
#include "builder/orders.h"
#include "fleet/names.h"
#include "host/process.h"

namespace kiln::builder {
namespace {

constexpr std::size_t kRunDigits = 16;

void refuse_taken_version(const Site& site, const Request& request) {
  const auto taken = catalog::Catalog(site.ledger).find_version(request.app.name, request.version);
  if (!taken) return;
  throw Error(ErrorCode::already_exists,
              fmt::format("{} is {} since {}: a version never moves to another image", taken->name(),
                          taken->digest.short_str(), format_iso8601(taken->built)),
              "Give the new image a version of its own.");
}

void run_here(const spec::HostStep& step, const Request& request) {
  for (const std::string& line : step.commands) {
    host::Command command;
    command.argv = step.shell;
    command.argv.push_back(line);
    command.env = step.environment;
    command.cwd = request.folder.string();
    host::run_checked(command);
  }
}

std::string run_order(Run& run, const Order& order, const Request& request) {
  if (order.host != nullptr) {
    run_here(*order.host, request);
    return {};
  }
  std::string said;
  for (const std::string& script : deliver(order.parcel, order.run)) said += run.command(script, "kiln: " + order.text);
  return said;
}

// A step that fails is quoted as the user wrote it.
void run_orders(Site& site, const Request& request, Run& run, const std::vector<Order>& orders) {
  for (std::size_t i = 0; i < orders.size(); ++i) {
    const Order& order = orders[i];
    Progress progress{Progress::Kind::started, i, orders.size(), order.text, {}, {}};
    if (request.on_progress) request.on_progress(progress);
    const Duration begin = site.clock.uptime();
    try {
      progress.output = run_order(run, order, request);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::io || order.step == nullptr) throw;
      const std::string quoted = request.app.source.quote(order.step->where);
      throw Error(ErrorCode::io, fmt::format("{}: {} failed{}{}\n{}", request.app.source.at(order.step->where),
                                             order.text, quoted.empty() ? "" : "\n", quoted, error.message()));
    }
    progress.kind = Progress::Kind::finished;
    progress.duration = site.clock.uptime() - begin;
    if (request.on_progress) request.on_progress(progress);
  }
}

nlohmann::json body_of(const ledger::Entry& entry) {
  const auto body = nlohmann::json::parse(entry.body, nullptr, false);
  return body.is_object() ? body : nlohmann::json::object();
}

}  // namespace

Result bake_in_instance(Site& site, const Request& request) {
  refuse_taken_version(site, request);
  const std::vector<Order> orders = orders_of(request.app, request.folder);
  Result result;
  result.base = base_ami(site.client, request.app);
  const std::string id = site.random.hex(kRunDigits);
  site.ledger.append(kStarted, request.app.name,
                     {{"run", id},
                      {"account", site.account},
                      {"region", site.region},
                      {"version", request.version},
                      {"base", result.base}});
  Run run(site, request, id);
  run.launch(result.base);
  run_orders(site, request, run, orders);
  run.stop();
  result.tags = {{std::string(fleet::kTagApp), request.app.name},
                 {std::string(fleet::kTagVersion), request.version},
                 {"kiln:base", result.base},
                 {"kiln:built", format_iso8601(site.clock.now())},
                 {"Name", fmt::format("{} {}", request.app.name, request.version)}};
  result.ami = run.create_image(result.tags);
  result.digest =
      sha256(fmt::format("ami\n{}\n{}\n{}\n{}\n", site.account, site.region, result.ami, run.snapshot_of(result.ami)));
  result.tags[std::string(fleet::kTagDigest)] = result.digest.str();
  run.tag(result.ami, {{std::string(fleet::kTagDigest), result.digest.str()}});
  return result;
}

std::vector<std::string> unfinished_runs(const Site& site, const std::string& app) {
  ledger::Query query;
  query.kind = "builder.";
  query.subject = app;
  query.limit = 0;
  std::vector<std::string> runs;
  for (const ledger::Entry& entry : site.ledger.read(query)) {
    const nlohmann::json body = body_of(entry);
    if (body.value("account", "") != site.account || body.value("region", "") != site.region) continue;
    const std::string run = body.value("run", "");
    if (entry.kind == kStarted) runs.push_back(run);
    if (entry.kind == kFinished) std::erase(runs, run);
  }
  return runs;
}

std::vector<std::string> sweep(Site& site, const catalog::Catalog& catalog, const std::string& app) {
  std::vector<std::string> known;
  for (const catalog::Image& image : catalog.images(app)) {
    for (const catalog::Placement& placement : image.placements) known.push_back(placement.ami);
  }
  std::vector<std::string> removed;
  for (const std::string& run : unfinished_runs(site, app)) {
    const auto of_run = with_context(fmt::format("removing what the builder run {} has left", run),
                                     [&] { return remove_run(site.client, site.clock, run, known); });
    removed.insert(removed.end(), of_run.begin(), of_run.end());
    site.ledger.append(kFinished, app,
                       {{"run", run}, {"account", site.account}, {"region", site.region}, {"removed", of_run}});
  }
  return removed;
}

}  // namespace kiln::builder
