// kiln load: a steady load with every answer checked.
#include "cli/load.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/command.h"

namespace kiln::cli {

int run_load(Context& context, const std::vector<std::string>& words) {
  CLI::App parser;
  LoadOptions options;
  bool json = false;
  double seconds = 0;
  parser.add_option("url", options.url)->required();
  parser.add_option("--rate", options.rate);
  parser.add_option("--connections", options.connections);
  parser.add_option("--expect-status", options.status);
  parser.add_option("--expect", options.contains);
  parser.add_option("--seconds", seconds);
  parser.add_option("--status", options.status_file);
  parser.add_flag("--json", json);
  if (!parse(parser, "load", words)) return 0;
  context.watch_interrupts();
  Load load(options, context.clock);
  load.start();
  Duration end = context.clock.uptime() + Duration(static_cast<std::int64_t>(seconds * 1000));
  while (!Context::interrupted() && (seconds <= 0 || context.clock.uptime() < end)) context.clock.sleep(Duration(50));
  LoadReport report = load.stop();
  if (json) {
    say_json({{"sent", report.sent},
              {"failed", report.failed},
              {"by_version", report.by_version},
              {"failures", report.failures},
              {"requests_per_second", report.per_second()},
              {"p50_ms", report.p50_ms},
              {"p99_ms", report.p99_ms},
              {"max_ms", report.max_ms},
              {"took_ms", report.took.count()}});
  } else {
    say(fmt::format("{} requests in {} ({:.0f} a second), {} failed; p50 {:.1f} ms, p99 {:.1f} ms, longest {:.0f} ms",
                    report.sent, format_seconds(report.took), report.per_second(), report.failed, report.p50_ms,
                    report.p99_ms, report.max_ms));
    for (const auto& [version, count] : report.by_version) {
      say(fmt::format("  {} answered by {}", count, version.empty() ? "an unknown version" : version));
    }
    for (const std::string& failure : report.failures) say("  failed " + failure);
  }
  return report.failed == 0 ? 0 : 1;
}

}  // namespace kiln::cli
