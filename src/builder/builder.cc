// Builder: see builder.h.
#include "builder/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "aws/client.h"
#include "bake/git.h"
#include "base/error.h"
#include "base/text.h"
#include "builder/disk.h"
#include "builder/internal/instance.h"
#include "builder/internal/surrogate.h"
#include "builder/internal/words.h"
#include "builder/orders.h"
#include "fleet/names.h"
#include "host/process.h"

namespace kiln::builder {
namespace {

constexpr std::size_t kRunDigits = 16;
constexpr Duration kShellMost = std::chrono::hours(1);

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

std::string run_order(Instance& instance, const Order& order, const Request& request) {
  if (order.host != nullptr) {
    run_here(*order.host, request);
    return {};
  }
  std::string said;
  for (const std::string& script : deliver(order.parcel, order.run))
    said += instance.run(script, "kiln: " + order.text);
  return said;
}

// A step that fails is quoted as the user wrote it.
void run_orders(Site& site, const Request& request, Instance& instance, const std::vector<Order>& orders) {
  for (std::size_t i = 0; i < orders.size(); ++i) {
    const Order& order = orders[i];
    Progress progress{Progress::Kind::started, i, orders.size(), order.text, {}, {}};
    if (request.on_progress) request.on_progress(progress);
    const Duration begin = site.clock.uptime();
    try {
      progress.output = run_order(instance, order, request);
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

// What the image depends on beside its base: the file, and all that is sent for its steps.
void describe_steps(const Request& request, const std::vector<Order>& orders, Result& result) {
  std::string all = request.app.source.text;
  for (const Order& order : orders) {
    if (order.step == nullptr) continue;
    result.steps.push_back({order.text, sha256(order.parcel.empty() ? order.text : pack(order.parcel))});
    all += "\n" + result.steps.back().inputs.str();
  }
  result.recipe = sha256(all);
}

std::vector<std::string> known_amis(const catalog::Catalog& catalog, const std::string& app) {
  std::vector<std::string> known;
  for (const catalog::Image& image : catalog.images(app)) {
    for (const catalog::Placement& placement : image.placements) known.push_back(placement.ami);
  }
  return known;
}

// True when nothing of it is left; then the ledger says so.
bool close_run(Site& site, const catalog::Catalog& catalog, const OpenRun& run, const std::string& spare,
               std::vector<std::string>& removed) {
  const Removed of_run = with_context(fmt::format("removing what the builder run {} has left", run.run), [&] {
    return remove_run(site.client, site.clock, run.run, known_amis(catalog, run.app), spare);
  });
  removed.insert(removed.end(), of_run.what.begin(), of_run.what.end());
  if (of_run.spared) return false;
  site.ledger.append(kFinished, run.app,
                     {{"run", run.run}, {"account", site.account}, {"region", site.region}, {"removed", of_run.what}});
  return true;
}

// As Packer: of the volumes of the builder, which is stopped.
std::string image_of_volumes(Instance& builder, const spec::Surrogate& surrogate, const std::string& name,
                             const std::map<std::string, std::string>& tags) {
  std::map<std::string, std::string> snapshots;
  for (const std::string& device : snapshot_devices(surrogate))
    snapshots[device] = builder.create_snapshot(device, tags);
  return builder.register_image(registration(surrogate, snapshots), name, tags);
}

}  // namespace

std::string begin_run(Site& site, const std::string& app, const std::map<std::string, std::string>& details) {
  const std::string run = site.random.hex(kRunDigits);
  nlohmann::json body = details;
  body.update({{"run", run}, {"account", site.account}, {"region", site.region}});
  site.ledger.append(kStarted, app, body);
  return run;
}

Result bake_in_instance(Site& site, const Request& request) {
  refuse_taken_version(site, request);
  const std::vector<Order> orders = orders_of(request.app, request.folder, request.surrogate == nullptr);
  Result result;
  describe_steps(request, orders, result);
  result.base = base_ami(site, request.app);
  result.run = begin_run(site, request.app.name,
                         {{"version", request.version}, {"base", result.base}, {"environment", request.environment}});
  Instance builder(site, Role::builder, request.app.name, result.run, request.instance);
  const spec::Surrogate* surrogate = request.surrogate;
  builder.launch(result.base,
                 surrogate != nullptr ? launch_mappings(*surrogate) : std::vector<wire::ec2::BlockDeviceMapping>{});
  run_orders(site, request, builder, orders);
  const std::string question =
      surrogate != nullptr ? volume_question(builder.volume_at(surrogate->source), surrogate->source) : disk_question();
  result.disk = builder.read(question, "kiln: read what is on the disk");
  builder.stop();
  result.tags = {{std::string(fleet::kTagApp), request.app.name},
                 {std::string(fleet::kTagVersion), request.version},
                 {"kiln:base", result.base},
                 {"kiln:built", format_iso8601(site.clock.now())},
                 {"kiln:recipe", result.recipe.str()},
                 {"Name", fmt::format("{} {}", request.app.name, request.version)}};
  if (const std::string commit = bake::git_commit(request.folder); !commit.empty()) result.tags["kiln:commit"] = commit;
  const std::string name = fmt::format("{}-{}", request.app.name, request.version);
  result.ami = surrogate != nullptr ? image_of_volumes(builder, *surrogate, name, result.tags)
                                    : builder.create_image(name, result.tags);
  const Snapshot snapshot = snapshot_of(site.client, result.ami);
  result.snapshot = snapshot.id;
  result.size_bytes = snapshot.size_bytes;
  return result;
}

void name_image(Site& site, const std::string& ami, const Digest& digest) {
  wire::ec2::CreateTagsRequest request;
  request.resources = {ami};
  request.tags = tagged("", {{std::string(fleet::kTagDigest), digest.str()}}).tags;
  site.client.call<wire::ec2::CreateTags>(request);
}

std::vector<OpenRun> open_runs(const ledger::Ledger& ledger, const std::string& app) {
  ledger::Query query;
  query.kind = "builder.";
  query.subject = app;
  query.limit = 0;
  std::vector<OpenRun> runs;
  for (const ledger::Entry& entry : ledger.read(query)) {
    const nlohmann::json body = body_of(entry);
    const std::string name = body.value("run", "");
    if (entry.kind == kStarted) {
      OpenRun run;
      run.app = entry.subject;
      run.run = name;
      run.account = body.value("account", "");
      run.region = body.value("region", "");
      run.environment = body.value("environment", "");
      run.started = entry.time;
      runs.push_back(std::move(run));
      continue;
    }
    const auto run = std::ranges::find(runs, name, &OpenRun::run);
    if (run == runs.end()) continue;
    if (entry.kind == kKept) {
      run->kept = body.value("instance", "");
      run->what = body.value("what", "");
    } else if (entry.kind == kFinished) {
      runs.erase(run);
    }
  }
  return runs;
}

std::vector<std::string> sweep(Site& site, const catalog::Catalog& catalog, const std::string& app) {
  std::vector<std::string> removed;
  for (const OpenRun& run : open_runs(site.ledger, app)) {
    if (run.account == site.account && run.region == site.region) close_run(site, catalog, run, run.kept, removed);
  }
  return removed;
}

OpenRun find_kept(const ledger::Ledger& ledger, const std::string& instance) {
  std::vector<std::string> names;
  for (const OpenRun& run : open_runs(ledger)) {
    if (run.kept.empty()) continue;
    if (run.kept == instance) return run;
    names.push_back(run.kept);
  }
  throw Error(ErrorCode::not_found, fmt::format("no instance '{}' was kept by a test", instance),
              names.empty() ? "None is kept now; --keep keeps one." : "There are: " + join(names, ", "));
}

void end_kept(Site& site, const catalog::Catalog& catalog, const OpenRun& kept) {
  std::vector<std::string> removed;
  close_run(site, catalog, kept, {}, removed);
}

machine::CommandEnd ask_kept(Site& site, const OpenRun& kept, const std::string& script) {
  const InstanceOptions options;
  return Instance(site, Role::test, kept.app, kept.run, options, kept.kept)
      .ask(as_command(script), "kiln: a shell", kShellMost);
}

}  // namespace kiln::builder
