// kiln test: the tests of kiln.yaml, on a booted instance of an image.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "bake/bake.h"
#include "base/error.h"
#include "base/text.h"
#include "builder/ami_image.h"
#include "builder/builder.h"
#include "cli/command.h"
#include "cli/foreign_images.h"
#include "cli/image_trial.h"
#include "cli/instance_bake.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "host/lock.h"
#include "host/process.h"

namespace kiln::cli {
namespace {

struct TestOptions {
  std::string image;
  std::string environment;  // of an image that was baked in an instance; empty: the first
  std::string instance_profile;
  std::string subnet;
  std::string junit;
  std::string shell;
  std::string end;
  bool json = false;
  bool keep = false;
  bool list = false;
};

catalog::Image wanted_image(Context& context, const spec::App& app, catalog::Catalog& catalog,
                            const std::string& reference) {
  if (!reference.empty()) {
    catalog::Image image = catalog.find(reference, app.name);
    if (image.app == app.name) return image;
    throw Error(
        ErrorCode::usage,
        fmt::format("{} is an image of {}, and kiln.yaml has the tests of {}", image.name(), image.app, app.name),
        fmt::format("Run it in the folder of {}, or name that with -C.", image.app));
  }
  if (app.image.version_kind == spec::VersionKind::timestamp) return catalog.find("latest", app.name);
  const std::string version = bake::resolve_version(app, context.folder, context.clock.now());
  if (auto image = catalog.find_version(app.name, version)) return *image;
  throw Error(ErrorCode::not_found, fmt::format("{} {} has not been baked", app.name, version),
              "Bake it, which also tests it: kiln bake. Or name another image: kiln test VERSION (see kiln images)");
}

int list_kept(Context& context, bool json) {
  std::vector<trial::Kept> all = trial::kept(trials_folder(context));
  const ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  for (const builder::OpenRun& run : builder::open_runs(ledger)) {
    if (!run.kept.empty()) all.push_back({run.kept, run.what, run.account + " " + run.region});
  }
  if (json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const trial::Kept& one : all)
      rows.push_back({{"name", one.name}, {"image", one.what}, {"address", one.address}});
    say_json({{"kept", rows}});
    return 0;
  }
  for (const trial::Kept& one : all) say(fmt::format("{}  {}  {}", one.name, one.what, one.address));
  if (all.empty()) talk("no instance is kept");
  return 0;
}

// Where an instance is that EC2 has: a connection to the environment, and what builders need of it.
struct InstanceSite {
  Connection connection;
  ledger::Ledger& ledger;
  catalog::Catalog catalog{ledger};
  builder::Site site;

  InstanceSite(Context& context, const spec::Environment& environment, ledger::Ledger& the_ledger)
      : connection(context, environment), ledger(the_ledger), site{connection.client(),  context.clock,
                                                                   context.random,       ledger,
                                                                   connection.account(), connection.region()} {}
};

bool is_instance(const std::string& name) { return name.starts_with("i-"); }

InstanceSite site_of_kept(Context& context, const builder::OpenRun& kept, ledger::Ledger& ledger) {
  const spec::App app = load_app(context);
  if (app.name != kept.app) {
    throw Error(ErrorCode::usage,
                fmt::format("{} is an instance of {}, and this is the folder of {}", kept.kept, kept.app, app.name),
                fmt::format("Run it in the folder of {}, or name that with -C.", kept.app));
  }
  return InstanceSite(context, app.environment(kept.environment), ledger);
}

// Each line is a command of its own, by Systems Manager: no ssh, and nothing of AWS's that must be installed here.
int shell_in_instance(Context& context, const std::string& name) {
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  const builder::OpenRun kept = builder::find_kept(ledger, name);
  InstanceSite at = site_of_kept(context, kept, ledger);
  talk(fmt::format("  {}, an instance of {}: each line is run as root, for itself; end with Ctrl-D", name, kept.what));
  int status = 0;
  std::string line;
  while (fmt::print(stderr, "{}# ", name), std::getline(std::cin, line)) {
    if (trim(line).empty()) continue;
    const machine::CommandEnd end = builder::ask_kept(at.site, kept, line + "\n");
    fmt::print("{}", end.out);
    std::fflush(stdout);
    fmt::print(stderr, "{}", end.err);
    status = end.status;
    if (status != 0) talk(fmt::format("  status {}", status));
  }
  fmt::print(stderr, "\n");
  return status == 0 ? 0 : 1;
}

int end_kept(Context& context, const std::string& name) {
  if (is_instance(name)) {
    ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
    const builder::OpenRun kept = builder::find_kept(ledger, name);
    InstanceSite at = site_of_kept(context, kept, ledger);
    builder::end_kept(at.site, at.catalog, kept);
  } else {
    trial::end_kept(context.clock, trials_folder(context), name);
  }
  say(fmt::format("ended {}", name));
  return 0;
}

// The image's AMI where the environment is, on an instance of its own; it is removed whatever comes of it.
TrialResult try_placed_ami(Context& context, const spec::App& app, const store::Store& store, ledger::Ledger& ledger,
                           const catalog::Image& image, const TestOptions& asked, const TrialRequest& request) {
  const spec::Environment& environment = app.environment(asked.environment);
  const auto lock = host::FileLock::take(builder_lock(context, app.name, environment.name),
                                         fmt::format("kiln test {}", image.name()), context.clock.now());
  InstanceSite at(context, environment, ledger);
  const auto* placed = image.placed_in(at.site.account, at.site.region);
  if (placed == nullptr) {
    throw Error(ErrorCode::not_found,
                fmt::format("{} has no AMI in {} {}", image.name(), at.site.account, at.site.region),
                "Name the environment where it was baked: --env NAME");
  }
  say_removed(builder::sweep(at.site, at.catalog, app.name), asked.json);
  context.watch_interrupts();
  AmiTrial trial;
  trial.ami = placed->ami;
  trial.instance.profile = asked.instance_profile;
  trial.instance.subnet = asked.subnet;
  trial.instance.cancelled = [] { return Context::interrupted().load(); };
  trial.run = builder::begin_run(at.site, app.name, {{"version", image.version}, {"environment", environment.name}});
  try {
    TrialResult result = try_ami(context, app, store, at.site, trial, request);
    say_removed(builder::sweep(at.site, at.catalog, app.name), asked.json);
    return result;
  } catch (const std::exception&) {
    Context::interrupted().exchange(false);
    say_removed(builder::sweep(at.site, at.catalog, app.name), asked.json);
    throw;
  }
}

int test_image(Context& context, const TestOptions& asked) {
  spec::App app = load_app(context);
  read_foreign_source(app, context.folder);
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  const catalog::Image image = wanted_image(context, app, catalog, asked.image);
  store::Store store(context.store_folder());
  if (!store.has(image.digest)) {
    throw Error(ErrorCode::not_found, fmt::format("{} is not in the store of this machine", image.name()),
                "Bake it again: kiln bake.");
  }
  TrialRequest request;
  request.version = image.version;
  request.digest = image.digest;
  request.quiet = asked.json;
  request.keep = asked.keep;
  const TrialResult result = builder::find_ami(store, image.digest)
                                 ? try_placed_ami(context, app, store, ledger, image, asked, request)
                                 : try_image(context, app, store, request);
  trial::record(ledger, app.name, image.version, image.digest, app.image.test, result.report);
  if (!asked.junit.empty()) host::write_file(asked.junit, trial::to_junit(result.report, image.name()));
  if (asked.json) {
    nlohmann::json json = trial::to_json(result.report);
    json["image"] = image.name();
    json["digest"] = image.digest.str();
    json["kept"] = result.kept.empty() ? nlohmann::json() : nlohmann::json(result.kept);
    say_json(json);
    return result.report.passed() ? 0 : 1;
  }
  if (!result.kept.empty()) talk_about_kept(result.kept);
  require_passed(app, request, result);
  say(fmt::format("{} passed {} checks in {}", image.name(), result.report.checks.size(),
                  format_seconds(result.report.took)));
  return 0;
}

}  // namespace

int run_test(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  TestOptions asked;
  parser.option("image", asked.image);
  parser.option("--env", asked.environment);
  parser.option("--instance-profile", asked.instance_profile);
  parser.option("--subnet", asked.subnet);
  parser.flag("--json", asked.json);
  parser.option("--junit", asked.junit);
  parser.flag("--keep", asked.keep);
  parser.flag("--list", asked.list);
  parser.option("--shell", asked.shell);
  parser.option("--end", asked.end);
  if (!parser.parse("test", words)) return 0;
  if (asked.list) return list_kept(context, asked.json);
  if (is_instance(asked.shell)) return shell_in_instance(context, asked.shell);
  if (!asked.shell.empty()) {
    host::Command command;
    command.argv = trial::shell_into(trials_folder(context), asked.shell);
    return host::run_attached(command);
  }
  if (!asked.end.empty()) return end_kept(context, asked.end);
  return test_image(context, asked);
}

}  // namespace kiln::cli
