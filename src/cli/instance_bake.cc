// InstanceBake: see instance_bake.h.
#include "cli/instance_bake.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bake/bake.h"
#include "base/error.h"
#include "base/text.h"
#include "builder/builder.h"
#include "cli/session.h"
#include "host/lock.h"

namespace kiln::cli {
namespace {

void talk_about(const builder::Progress& progress, bool verbose) {
  using Kind = builder::Progress::Kind;
  if (progress.kind == Kind::note) return talk("  " + progress.text);
  const std::string head = fmt::format("  {}/{} {}", progress.index + 1, progress.count, progress.text);
  if (progress.kind == Kind::started) {
    if (verbose) talk(head);
    return;
  }
  if (verbose && !progress.output.empty()) fmt::print(stderr, "{}", progress.output);
  talk(fmt::format("{}  {}", head, format_seconds(progress.duration)));
}

void say_removed(const std::vector<std::string>& removed, bool quiet) {
  if (!removed.empty() && !quiet) talk("  removed: " + join(removed, ", "));
}

catalog::Image record(catalog::Catalog& catalog, const spec::App& app, const std::string& version,
                      const builder::Result& result, const builder::Site& site) {
  catalog::Image image;
  image.app = app.name;
  image.version = version;
  image.digest = result.digest;
  image.built = parse_iso8601(result.tags.at("kiln:built"));
  image.recipe = sha256(app.source.text);
  image.base = result.base;
  image.kiln = kVersion;
  image.metadata = result.tags;
  image = catalog.record_baked(image);
  catalog.record_placed(image, {site.account, site.region, result.ami, site.clock.now()});
  return image;
}

void check_asked(const spec::App& app, const InstanceBake& asked) {
  if (!app.image.test.empty() && !asked.no_test) {
    throw app.source.error(app.image.test.front().where, "'test' is not run on images that are baked in an instance",
                           "Bake offline: kiln bake. Or bake without: kiln bake --in-instance --no-test");
  }
  if (app.image.writable && !asked.json) {
    talk("  note: 'writable' does not hold for an AMI that is baked in an instance; its whole root can be written");
  }
}

}  // namespace

int bake_in_instance(Context& context, const spec::App& app, const InstanceBake& asked) {
  check_asked(app, asked);
  const spec::Environment& environment = app.environment(asked.environment);
  const Duration begin = context.clock.uptime();
  host::make_folders(context.locks_folder());
  const auto lock =
      host::FileLock::take(context.locks_folder() / fmt::format("builder-{}-{}", app.name, environment.name),
                           fmt::format("kiln bake --in-instance {}", app.name), context.clock.now());
  Connection connection(context, environment);
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  builder::Site site{connection.client(),  context.clock,      context.random, ledger,
                     connection.account(), connection.region()};
  say_removed(builder::sweep(site, catalog, app.name), asked.json);

  context.watch_interrupts();
  builder::Request request{.app = app, .folder = context.folder, .version = {}};
  request.version = bake::resolve_version(app, context.folder, context.clock.now());
  if (!asked.instance_type.empty()) request.instance_type = asked.instance_type;
  request.instance_profile = asked.instance_profile;
  request.subnet = asked.subnet;
  // The region's instances are reached without an agent.
  request.install_agent = !connection.local();
  request.cancelled = [] { return Context::interrupted().load(); };
  if (!asked.json) request.on_progress = [&](const builder::Progress& p) { talk_about(p, asked.verbose); };
  builder::Result result;
  try {
    result = with_context(fmt::format("baking {} in an instance", app.name),
                          [&] { return builder::bake_in_instance(site, request); });
    record(catalog, app, request.version, result, site);
  } catch (const std::exception& error) {
    // Cleaning up is not to be interrupted by the Ctrl-C that asked for it. The next bake removes what this one cannot.
    if (Context::interrupted().exchange(false) && !asked.json) talk("  interrupted: removing the builder");
    try {
      say_removed(builder::sweep(site, catalog, app.name), asked.json);
    } catch (const Error& left) {
      talk(fmt::format("  the builder could not be removed, and the next bake will do it: {}", left.what()));
    }
    throw;
  }
  say_removed(builder::sweep(site, catalog, app.name), asked.json);
  if (asked.json) {
    say_json({{"version", request.version},
              {"ami", result.ami},
              {"base", result.base},
              {"digest", result.digest.str()},
              {"tags", result.tags},
              {"duration_ms", (context.clock.uptime() - begin).count()}});
  } else {
    say(fmt::format("baked {}@{} as {}  in an instance from {}  {}", app.name, request.version, result.ami, result.base,
                    format_seconds(context.clock.uptime() - begin)));
  }
  return 0;
}

}  // namespace kiln::cli
