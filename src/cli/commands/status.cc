// kiln status: the fleet as it is now.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "console/screen.h"
#include "fleet/observe.h"

namespace kiln::cli {
namespace {

nlohmann::json to_json(const Session& session, const fleet::Fleet& fleet) {
  nlohmann::json instances = nlohmann::json::array();
  nlohmann::json group;
  if (fleet.group) {
    for (const fleet::Instance& instance : fleet.group->instances) {
      instances.push_back({{"id", instance.id},
                           {"zone", instance.zone},
                           {"lifecycle", instance.lifecycle},
                           {"health", instance.health},
                           {"target", instance.target.state},
                           {"target_reason", instance.target.reason},
                           {"version", instance.image_version},
                           {"template_version", instance.template_version},
                           {"ami", instance.ami},
                           {"address", instance.address}});
    }
    group = {{"name", fleet.group->name},
             {"min", fleet.group->min},
             {"max", fleet.group->max},
             {"desired", fleet.group->desired},
             {"template_version", fleet.group->template_version}};
  }
  nlohmann::json refresh;
  if (!fleet.refreshes.empty()) {
    const fleet::Refresh& newest = fleet.refreshes.front();
    refresh = {
        {"id", newest.id}, {"status", newest.status}, {"reason", newest.reason}, {"percentage", newest.percentage}};
  }
  return {{"app", session.app.name}, {"environment", session.environment.name},
          {"url", fleet.url()},      {"serving", fleet.serving()},
          {"group", group},          {"instances", instances},
          {"refresh", refresh}};
}

std::vector<std::string> lines_of(const Session& session, const fleet::Fleet& fleet, const console::Style& style) {
  if (!fleet.group) return {fmt::format("{} has no fleet; see: kiln plan", session.names.title())};
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{}   {} of {} serve, min {} max {}   {}", session.names.title(), fleet.serving(),
                              fleet.group->desired, fleet.group->min, fleet.group->max, fleet.url()));
  for (const fleet::Instance& instance : fleet.group->instances) {
    lines.push_back(fmt::format("  {:<8} {}", instance.image_version, console::instance_line(instance, style)));
  }
  for (const std::string& target : fleet.leftovers) lines.push_back(fmt::format("  -        {:<19}  draining", target));
  if (const fleet::Refresh* refresh = fleet.active_refresh()) {
    lines.push_back(fmt::format("  refresh  {}  {} %  {}", refresh->status, refresh->percentage, refresh->reason));
  }
  for (std::string& line : lines) line = console::cut(line, style.width);
  return lines;
}

}  // namespace

int run_status(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false, watch = false;
  std::string environment;
  parser.flag("--json", json);
  parser.flag("--watch,-w", watch);
  parser.option("--env", environment);
  if (!parser.parse("status", words)) return 0;
  Session session(context, environment);
  aws::Client& client = session.connection.client();
  console::Style style = console::style_of(stdout);
  if (!watch) {
    fleet::Fleet fleet = fleet::look(client, session.names);
    if (json) {
      say_json(to_json(session, fleet));
    } else {
      for (const std::string& line : lines_of(session, fleet, style)) say(line);
    }
    return 0;
  }
  context.watch_interrupts();
  console::Screen screen(stdout);
  std::vector<std::string> before;
  while (!Context::interrupted()) {
    fleet::Fleet fleet = fleet::look(client, session.names);
    if (json) {
      say(to_json(session, fleet).dump());
    } else if (console::is_terminal(stdout)) {
      screen.draw(lines_of(session, fleet, style));
    } else if (std::vector<std::string> lines = lines_of(session, fleet, style); lines != before) {
      for (const std::string& line : lines) say(line);
      before = lines;
    }
    context.clock.sleep(session.connection.local() ? Duration(500) : Duration(5000));
  }
  return 0;
}

}  // namespace kiln::cli
