// kiln doctor: whether this host can run a region with real instances.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/session.h"
#include "machine/checks.h"
#include "machine/host_kind.h"

namespace kiln::cli {

int run_doctor(Context& context, const std::vector<std::string>& words) {
  CLI::App parser;
  bool json = false;
  parser.add_flag("--json", json);
  if (!parse(parser, "doctor", words)) return 0;
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
    say_json({{"ok", fit}, {"host_kind", kind}, {"region", region}, {"home", context.home.string()}, {"checks", list}});
    return fit ? 0 : 1;
  }
  for (const machine::Check& check : checks) {
    say(fmt::format("{:<7} {:<28} {}", check.ok ? "ok" : check.required ? "MISSING" : "note", check.name, check.found));
    if (!check.ok && !check.next.empty()) say(fmt::format("{:<36} next: {}", "", check.next));
  }
  say(fmt::format("{:<7} {:<28} {}", "", "host kind", kind));
  say(fmt::format("{:<7} {:<28} {}", "", "state", context.home.string()));
  say(fmt::format("{:<7} {:<28} {}", "", "region 'default'", region));
  say(fit ? "this host can run a region with real instances"
          : "this host cannot run real instances yet; see 'next' above");
  return fit ? 0 : 1;
}

}  // namespace kiln::cli
