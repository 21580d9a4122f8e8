// kiln test: the tests of kiln.yaml, on a booted instance of an image.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bake/bake.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/foreign_images.h"
#include "cli/image_trial.h"
#include "cli/session.h"
#include "host/process.h"

namespace kiln::cli {
namespace {

struct TestOptions {
  std::string image;
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
  const auto all = trial::kept(trials_folder(context));
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

int test_image(Context& context, const TestOptions& asked) {
  spec::App app = load_app(context);
  read_foreign_source(app, context.folder);
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  const catalog::Image image = wanted_image(context, app, catalog, asked.image);
  store::Store store(context.store_folder());
  if (!store.has(image.digest)) {
    throw Error(
        ErrorCode::not_found, fmt::format("{} is not in the store of this machine", image.name()),
        "Bake it again: kiln bake. An image that was baked in an instance is only in AWS, and is not tested here.");
  }
  TrialRequest request;
  request.version = image.version;
  request.digest = image.digest;
  request.quiet = asked.json;
  request.keep = asked.keep;
  const TrialResult result = try_image(context, app, store, request);
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
  CLI::App parser;
  TestOptions asked;
  parser.add_option("image", asked.image);
  parser.add_flag("--json", asked.json);
  parser.add_option("--junit", asked.junit);
  parser.add_flag("--keep", asked.keep);
  parser.add_flag("--list", asked.list);
  parser.add_option("--shell", asked.shell);
  parser.add_option("--end", asked.end);
  if (!parse(parser, "test", words)) return 0;
  if (asked.list) return list_kept(context, asked.json);
  if (!asked.shell.empty()) {
    host::Command command;
    command.argv = trial::shell_into(trials_folder(context), asked.shell);
    return host::run_attached(command);
  }
  if (!asked.end.empty()) {
    trial::end_kept(context.clock, trials_folder(context), asked.end);
    say(fmt::format("ended {}", asked.end));
    return 0;
  }
  return test_image(context, asked);
}

}  // namespace kiln::cli
