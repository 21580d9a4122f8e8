// kiln load: a steady load with every answer checked.
#include "cli/load.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/parser.h"

namespace kiln::cli {

int run_load(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  LoadOptions options;
  bool json = false;
  double seconds = 0;
  parser.option("url", options.url).required();
  parser.option("--rate", options.rate);
  parser.option("--connections", options.connections);
  parser.option("--expect-status", options.status);
  parser.option("--expect", options.contains);
  parser.option("--seconds", seconds);
  parser.option("--status", options.status_file);
  parser.flag("--json", json);
  if (!parser.parse("load", words)) return 0;
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
