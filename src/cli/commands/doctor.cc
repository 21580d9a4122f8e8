// kiln doctor: whether this host can run a region with real instances, what is wrong, and what to do next.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "builder/builder.h"
#include "cli/command.h"
#include "cli/findings.h"
#include "cli/image_trial.h"
#include "cli/instance_bake.h"
#include "cli/parser.h"
#include "cli/region_process.h"
#include "host/lock.h"
#include "machine/checks.h"
#include "machine/host_kind.h"

namespace kiln::cli {

namespace {

constexpr std::string_view kCleanWords = "kiln doctor --clean";

void clean_slots(Context& context) {
  for (const machine::SlotUse& use : machine::slots_in_use()) {
    if (use.left() && remove_left_slot(context, use, kCleanWords)) {
      say(fmt::format("removed: slot {} of {}", use.slot, use.owner.empty() ? "nobody" : use.owner.string()));
    }
  }
}

// Builder runs of the folder's app.
void clean_builders(Context& context) {
  if (!std::filesystem::exists(context.folder / "kiln.yaml")) return;
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  const catalog::Catalog catalog(ledger);
  const spec::App app = load_app(context);
  std::set<std::string> environments;
  for (const builder::OpenRun& run : builder::open_runs(ledger, app.name)) environments.insert(run.environment);
  for (const std::string& name : environments) {
    const auto lock = host::FileLock::take(builder_lock(context, app.name, name), kCleanWords, context.clock.now());
    Connection connection(context, app.environment(name));
    builder::Site site{connection.client(),  context.clock,      context.random, ledger,
                       connection.account(), connection.region()};
    for (const std::string& line : builder::sweep(site, catalog, app.name)) say("removed: " + line);
  }
}

int clean(Context& context) {
  clean_slots(context);
  const int trials = trial::sweep(context.clock, trials_folder(context));
  if (trials > 0) say(fmt::format("removed: {} tests of images", trials));
  clean_builders(context);
  int left = 0;
  for (const Finding& one : look_at_all(context)) {
    if (one.about != "left" && !(one.about == "slot" && one.wrong)) continue;
    ++left;
    say(fmt::format("left: {}\n      next: {}", one.what, one.next));
  }
  if (left == 0) say("nothing is left of dead regions, tests and builders");
  return left == 0 ? 0 : 1;
}

nlohmann::json to_json(const std::vector<machine::Check>& checks) {
  nlohmann::json list = nlohmann::json::array();
  for (const machine::Check& check : checks) {
    list.push_back({{"name", check.name},
                    {"ok", check.ok},
                    {"required", check.required},
                    {"found", check.found},
                    {"next", check.next}});
  }
  return list;
}

nlohmann::json to_json(const std::vector<Finding>& findings) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& one : findings) {
    list.push_back({{"about", one.about}, {"wrong", one.wrong}, {"what", one.what}, {"next", one.next}});
  }
  return list;
}

// The default one's; what is wrong with it is a finding.
std::string region_words(const Context& context) {
  try {
    const auto record = read_region_record(context, std::string(kDefaultRegion));
    return !record ? "none" : record->running() ? "runs at " + record->endpoint : "does not run";
  } catch (const Error&) {
    return "cannot be read";
  }
}

void show(const std::vector<machine::Check>& checks) {
  for (const machine::Check& check : checks) {
    say(fmt::format("{:<7} {:<28} {}", check.ok ? "ok" : check.required ? "MISSING" : "note", check.name, check.found));
    if (!check.ok && !check.next.empty()) say(fmt::format("{:<36} next: {}", "", check.next));
  }
}

void show(const std::vector<Finding>& findings) {
  for (const Finding& one : findings) {
    say(fmt::format("{:<7} {}", one.wrong ? "WRONG" : "note", one.what));
    if (!one.next.empty()) say(fmt::format("{:<7} next: {}", "", one.next));
  }
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
  const std::vector<machine::Check> checks = machine::check_host(context.home);
  const std::vector<Finding> findings = look_at_all(context);
  const std::string kind(machine::to_string(machine::host_limits().kind));
  const bool fit = std::ranges::none_of(checks, [](const auto& check) { return check.required && !check.ok; });
  const auto wrong = std::ranges::count_if(findings, &Finding::wrong);
  if (json) {
    say_json({{"ok", fit && wrong == 0},
              {"fit", fit},
              {"host_kind", kind},
              {"region", region_words(context)},
              {"home", context.home.string()},
              {"checks", to_json(checks)},
              {"findings", to_json(findings)}});
  } else {
    show(checks);
    say(fmt::format("{:<7} {:<28} {}", "", "host kind", kind));
    say(fmt::format("{:<7} {:<28} {}", "", "state", context.home.string()));
    say(fmt::format("{:<7} {:<28} {}", "", "region 'default'", region_words(context)));
    show(findings);
    say(fit ? "this host can run a region with real instances"
            : "this host cannot run real instances yet; see 'next' above");
    if (wrong > 0) say(fmt::format("{} of what is there is wrong; see 'next' above", wrong));
  }
  return fit && wrong == 0 ? 0 : 1;
}

}  // namespace kiln::cli
