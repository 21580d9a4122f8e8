// kiln bake: an image from kiln.yaml, recorded in the catalog and published.
#include "bake/bake.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/bake_view.h"
#include "cli/catalog_bases.h"
#include "cli/command.h"
#include "cli/image_trial.h"
#include "cli/instance_bake.h"
#include "cli/proofs.h"
#include "cli/session.h"
#include "store/store.h"

namespace kiln::cli {
namespace {

catalog::Image catalog_image(const spec::App& app, const bake::BakeResult& result) {
  auto tag = [&](const char* name) {
    auto it = result.tags.find(name);
    return it == result.tags.end() ? std::string() : it->second;
  };
  catalog::Image image;
  image.app = app.name;
  image.version = result.version;
  image.digest = result.image.digest;
  image.built = parse_iso8601(tag("kiln:built"));
  image.commit = tag("kiln:commit");
  image.recipe = Digest::parse(tag("kiln:recipe"));
  image.base = tag("kiln:base");
  image.kiln = tag("kiln:tool");
  image.size_bytes = result.image.size_bytes();
  image.metadata = result.tags;
  return image;
}

// Publishing needs a region; without one the image is baked all the same, and `kiln deploy` publishes it.
std::string publish_if_possible(Context& context, const spec::App& app, const std::string& environment_name,
                                const catalog::Image& image, catalog::Catalog& catalog, bool quiet) {
  const spec::Environment& environment = app.environment(environment_name);
  if (environment.local) {
    auto record = read_region_record(context, std::string(kDefaultRegion));
    if (!record || !record->running()) {
      if (!quiet) talk("  not published: no region runs here (kiln region start); kiln deploy will publish it");
      return {};
    }
  }
  Connection connection(context, environment);
  return publish(context, image, catalog, connection);
}

// What the tests of kiln.yaml said of what was baked; nothing when there are none, or when the same ones were passed
// before.
struct Tested {
  bool now = false;
  TrialRequest request{};
  TrialResult result{};
};

Tested test_baked(Context& context, const spec::App& app, store::Store& store, ledger::Ledger& ledger,
                  TrialRequest request, bool again) {
  if (app.image.test.empty()) return {};
  const auto verdict = trial::verdict_of(ledger, app.name, request.digest);
  const bool known = verdict && verdict->passed && verdict->test == trial::fingerprint(app.image.test);
  if (known && !again && !request.keep) {
    if (!request.quiet) talk("  tested before: passed " + format_iso8601(verdict->when));
    return {};
  }
  Tested tested{true, std::move(request), {}};
  tested.result = try_image(context, app, store, tested.request);
  if (!tested.result.kept.empty() && !tested.request.quiet) talk_about_kept(tested.result.kept);
  return tested;
}

nlohmann::json to_json(const bake::BakeResult& result, const std::string& ami) {
  nlohmann::json layers = nlohmann::json::array();
  for (const bake::LayerReport& layer : result.layers) {
    layers.push_back({{"step", layer.step},
                      {"key", layer.key.str()},
                      {"digest", layer.blob.digest.str()},
                      {"size_bytes", layer.blob.size_bytes},
                      {"reused", layer.reused},
                      {"duration_ms", layer.duration.count()}});
  }
  return {{"version", result.version},
          {"digest", result.image.digest.str()},
          {"size_bytes", result.image.size_bytes()},
          {"duration_ms", result.duration.count()},
          {"tags", result.tags},
          {"layers", layers},
          {"ami", ami.empty() ? nlohmann::json() : nlohmann::json(ami)}};
}

// Exit code 0: nothing changed or not, this is a look.
int explain_bake(const std::vector<bake::Explanation>& layers, bool json) {
  using Fate = bake::Explanation::Fate;
  const auto name = [](Fate fate) {
    return fate == Fate::reused ? "reused" : fate == Fate::made ? "made anew" : "made anew, or reused";
  };
  nlohmann::json list = nlohmann::json::array();
  for (const bake::Explanation& layer : layers) {
    list.push_back({{"step", layer.step}, {"fate", name(layer.fate)}, {"why", layer.why}});
    if (json) continue;
    say(fmt::format("{:<10} {}", layer.fate == Fate::reused ? "reused" : "made anew", layer.step));
    for (const std::string& why : layer.why) say("             " + why);
  }
  if (json) say_json({{"layers", list}});
  return 0;
}

constexpr int kDiffers = 6;

int report_check(const bake::CheckResult& result, bool json) {
  nlohmann::json list = nlohmann::json::array();
  for (const bake::Difference& one : result.differences) {
    list.push_back({{"step", one.step}, {"path", one.path}, {"what", one.what}});
    if (!json) say(fmt::format("{}\n  {}: {}", one.step, one.path, one.what));
  }
  const bool same = result.differences.empty();
  if (json) say_json({{"digest", result.baked.image.digest.str()}, {"same", same}, {"differences", list}});
  if (!json && same) say(fmt::format("two bakes gave the same image: {}", result.baked.image.digest.str()));
  if (!json && !same) say(fmt::format("two bakes differ in {} files", result.differences.size()));
  return same ? 0 : kDiffers;
}

}  // namespace

int run_bake(Context& context, const std::vector<std::string>& words) {
  CLI::App parser;
  bool json = false, verbose = false, no_cache = false, no_publish = false, shell = false, keep = false;
  bool in_instance = false;
  InstanceBake instance;
  std::size_t shell_step = 0;
  std::string environment, key_file;
  parser.add_flag("--json", json);
  parser.add_flag("--verbose,-v", verbose);
  parser.add_flag("--no-cache", no_cache);
  parser.add_flag("--no-publish", no_publish);
  parser.add_flag("--keep", keep);
  bool explain = false, check = false, update = false;
  parser.add_flag("--explain", explain);
  parser.add_flag("--check", check);
  parser.add_flag("--update", update);
  parser.add_flag("--shell", shell);
  parser.add_option("--step", shell_step);
  parser.add_option("--env", environment);
  parser.add_flag("--in-instance", in_instance);
  parser.add_flag("--no-test", instance.no_test);
  parser.add_option("--instance-type", instance.instance_type);
  parser.add_option("--instance-profile", instance.instance_profile);
  parser.add_option("--subnet", instance.subnet);
  parser.add_option("--key", key_file);
  if (!parse(parser, "bake", words)) return 0;

  spec::App app = load_app(context);
  if (in_instance) {
    instance.environment = environment;
    instance.json = json;
    instance.verbose = verbose;
    return bake_in_instance(context, app, instance);
  }
  if (instance.no_test || !instance.instance_type.empty() || !instance.instance_profile.empty() ||
      !instance.subnet.empty()) {
    throw Error(ErrorCode::usage, "--no-test, --instance-type, --instance-profile and --subnet are for --in-instance",
                "See: kiln help bake");
  }
  store::Store store(context.store_folder());
  BakeView view(json, verbose);
  CatalogBases bases(context, store);
  bake::Options options;
  options.cache = context.home / "cache";
  options.logs = context.home / "logs" / "bake";
  options.kiln_version = kVersion;
  options.use_cache = !no_cache;
  options.on_progress = [&](const bake::Progress& progress) { view.on(progress); };
  options.base_images = &bases;
  options.update = update;
  if (explain) return explain_bake(bake::explain(app, context.folder, store, context.clock, options), json);
  if (check) {
    const bake::CheckResult result = bake::check(app, context.folder, store, context.clock, options);
    view.clear();
    return report_check(result, json);
  }
  if (shell) return bake::shell_at(app, context.folder, store, context.clock, options, shell_step);

  // A key that cannot be read is said before the work, not after it.
  const std::optional<proof::SigningKey> key = signing_key(context, key_file);
  const Time started = context.clock.now();
  bake::BakeResult result = with_context(
      "baking " + app.name, [&] { return bake::bake(app, context.folder, store, context.clock, options); });
  view.clear();
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  catalog::Image image = catalog_image(app, result);
  // A version that is taken is refused before the tests, and one that fails them does not take it.
  if (auto taken = catalog.find_version(app.name, image.version); taken && taken->digest != image.digest) {
    catalog.record_baked(image);
  }
  const Tested tested = test_baked(context, app, store, ledger, {image.version, image.digest, json, keep}, no_cache);
  const bool passed = !tested.now || tested.result.report.passed();
  if (passed) {
    prove(context, store, app, result, started);
    image = catalog.record_baked(image);
  }
  if (tested.now) trial::record(ledger, app.name, image.version, image.digest, app.image.test, tested.result.report);
  if (!passed && json) {
    nlohmann::json out = to_json(result, "");
    out["test"] = trial::to_json(tested.result.report);
    say_json(out);
    return 1;
  }
  if (!passed) require_passed(app, tested.request, tested.result);
  if (key) sign(context, store, subject_of(image), *key);
  std::string ami = no_publish ? "" : publish_if_possible(context, app, environment, image, catalog, json);
  if (json) {
    nlohmann::json out = to_json(result, ami);
    if (tested.now) out["test"] = trial::to_json(tested.result.report);
    say_json(out);
  } else {
    say(fmt::format("baked {} {}  sha256:{}  {}  {}", image.name(), ami.empty() ? "" : "as " + ami,
                    image.digest.short_str(), format_bytes(image.size_bytes), format_seconds(result.duration)));
  }
  return 0;
}

}  // namespace kiln::cli
