// kiln doctor: whether this host can run a region with real instances.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "builder/builder.h"
#include "cli/command.h"
#include "cli/image_trial.h"
#include "cli/instance_bake.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "host/lock.h"
#include "machine/checks.h"
#include "machine/host_kind.h"

namespace kiln::cli {

namespace {

// What dead processes have left, on this machine and in AWS.
struct Left {
  std::string what;
  std::string next;
};

std::vector<Left> left_behind(const Context& context) {
  std::vector<Left> all;
  for (const host::Path& folder : trial::dead(trials_folder(context))) {
    all.push_back({fmt::format("a test of an image that was killed: {}", folder.string()),
                   "kiln doctor --clean, or the next bake or test"});
  }
  const ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  for (const builder::OpenRun& run : builder::open_runs(ledger)) {
    if (!run.kept.empty()) {
      all.push_back(
          {fmt::format("{}, an instance of {} that a test kept, in {} {}", run.kept, run.what, run.account, run.region),
           fmt::format("kiln test --end {}, in the folder of {}", run.kept, run.app)});
    } else if (!host::FileLock::holder(builder_lock(context, run.app, run.environment))) {
      all.push_back({fmt::format("builder run {} of {}, begun {} in {} {}: what has the tag kiln:builder={}", run.run,
                                 run.app, format_iso8601(run.started), run.account, run.region, run.run),
                     fmt::format("kiln doctor --clean in the folder of {}, or its next bake in an instance", run.app)});
    }
  }
  return all;
}

// Tests on this machine, and builder runs of the folder's app.
int clean(Context& context) {
  const int trials = trial::sweep(context.clock, trials_folder(context));
  if (trials > 0) say(fmt::format("removed: {} tests of images", trials));
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  const catalog::Catalog catalog(ledger);
  if (std::filesystem::exists(context.folder / "kiln.yaml")) {
    const spec::App app = load_app(context);
    std::set<std::string> environments;
    for (const builder::OpenRun& run : builder::open_runs(ledger, app.name)) environments.insert(run.environment);
    for (const std::string& name : environments) {
      const auto lock =
          host::FileLock::take(builder_lock(context, app.name, name), "kiln doctor --clean", context.clock.now());
      Connection connection(context, app.environment(name));
      builder::Site site{connection.client(),  context.clock,      context.random, ledger,
                         connection.account(), connection.region()};
      for (const std::string& line : builder::sweep(site, catalog, app.name)) say("removed: " + line);
    }
  }
  const std::vector<Left> left = left_behind(context);
  for (const Left& one : left) say(fmt::format("left: {}\n      next: {}", one.what, one.next));
  if (left.empty()) say("nothing is left of dead tests and builders");
  return left.empty() ? 0 : 1;
}

}  // namespace

int run_doctor(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false;
  bool asked_to_clean = false;
  parser.flag("--json", json);
  parser.flag("--clean", asked_to_clean);
  if (!parser.parse("doctor", words)) return 0;
  if (asked_to_clean) return clean(context);
  const std::vector<Left> left = left_behind(context);
  std::vector<machine::Check> checks = machine::check_host(context.home);
  std::string kind(machine::to_string(machine::host_limits().kind));
  auto record = read_region_record(context, std::string(kDefaultRegion));
  std::string region = !record ? "none" : record->running() ? "runs at " + record->endpoint : "stopped";
  bool fit = true;
  for (const machine::Check& check : checks) fit = fit && (check.ok || !check.required);
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const machine::Check& check : checks) {
      list.push_back({{"name", check.name},
                      {"ok", check.ok},
                      {"required", check.required},
                      {"found", check.found},
                      {"next", check.next}});
    }
    nlohmann::json behind = nlohmann::json::array();
    for (const Left& one : left) behind.push_back({{"what", one.what}, {"next", one.next}});
    say_json({{"ok", fit},
              {"host_kind", kind},
              {"region", region},
              {"home", context.home.string()},
              {"checks", list},
              {"left", behind}});
    return fit ? 0 : 1;
  }
  for (const machine::Check& check : checks) {
    say(fmt::format("{:<7} {:<28} {}", check.ok ? "ok" : check.required ? "MISSING" : "note", check.name, check.found));
    if (!check.ok && !check.next.empty()) say(fmt::format("{:<36} next: {}", "", check.next));
  }
  say(fmt::format("{:<7} {:<28} {}", "", "host kind", kind));
  say(fmt::format("{:<7} {:<28} {}", "", "state", context.home.string()));
  say(fmt::format("{:<7} {:<28} {}", "", "region 'default'", region));
  for (const Left& one : left) {
    say(fmt::format("{:<7} {}", "left", one.what));
    say(fmt::format("{:<7} next: {}", "", one.next));
  }
  say(fit ? "this host can run a region with real instances"
          : "this host cannot run real instances yet; see 'next' above");
  return fit ? 0 : 1;
}

}  // namespace kiln::cli
