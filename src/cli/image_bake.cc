// ImageBake: from a recipe that was read to an image that is recorded, tested, proved, signed and published.
#include "cli/image_bake.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/ami_bases.h"
#include "cli/bake_view.h"
#include "cli/catalog_bases.h"
#include "cli/command.h"
#include "cli/foreign_images.h"
#include "cli/image_trial.h"
#include "cli/packer_container.h"
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

std::vector<proof::BakeRecord::Test> tests_of(const Tested& tested) {
  std::vector<proof::BakeRecord::Test> tests;
  for (const trial::CheckResult& check : tested.result.report.checks) tests.push_back({check.name, check.passed});
  return tests;
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

// "depends": reused after all when what is below it turns out to be the same bytes again. A look, so exit code 0.
int explain_bake(const std::vector<bake::Explanation>& layers, bool json) {
  using Fate = bake::Explanation::Fate;
  const auto name = [](Fate fate) {
    return fate == Fate::reused ? "reused" : fate == Fate::made ? "made anew" : "depends";
  };
  nlohmann::json list = nlohmann::json::array();
  for (const bake::Explanation& layer : layers) {
    list.push_back({{"step", layer.step}, {"fate", name(layer.fate)}, {"why", layer.why}});
    if (json) continue;
    say(fmt::format("{:<10} {}", name(layer.fate), layer.step));
    for (const std::string& why : layer.why) say("             " + why);
  }
  if (json) say_json({{"layers", list}});
  return 0;
}

// As Packer names what it made.
std::string artifact_of(const catalog::Catalog& catalog, const catalog::Image& image, const std::string& ami) {
  if (ami.empty()) return image.digest.str();
  std::vector<std::string> amis;
  for (const catalog::Placement& placement : catalog.find_version(image.app, image.version).value_or(image).placements)
    amis.push_back(placement.region + ":" + placement.ami);
  std::ranges::sort(amis);
  return join(amis, ",");
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

// An image of a container is kept in the store under the name that kiln export and kiln push know it by.
int keep_container(Context& context, const spec::App& app, ForeignImages& images, bool json) {
  const std::string version = bake::resolve_version(app, context.folder, context.clock.now());
  const std::string name = app.name + "-" + version;
  const Digest digest =
      with_context("building " + app.name, [&] { return images.keep_container(app, context.folder, name); });
  if (json) {
    say_json({{"name", name}, {"version", version}, {"digest", digest.str()}});
  } else {
    say(fmt::format("built {} for containers  {}", name, digest.str()));
  }
  return 0;
}

// What a bake on this machine stands on: the store, and whoever knows a base's layers.
class Bakehouse {
 public:
  Bakehouse(Context& context, const BakeRecipe& recipe, const ImageBake& asked)
      : context_(context),
        recipe_(recipe),
        asked_(asked),
        store_(context.store_folder()),
        view_(asked.json, asked.verbose),
        catalog_bases_(context, store_),
        foreign_images_(
            context, store_, recipe.dockerfile, &catalog_bases_,
            [verbose = asked.verbose](std::string_view bytes) {
              if (verbose) fmt::print(stderr, "{}", bytes);
            },
            [] { return Context::interrupted().load(); }),
        amis_(context, store_, &foreign_images_, [this](const bake::Progress& progress) { view_.on(progress); }) {
    options_.cache = context.home / "cache";
    options_.logs = context.home / "logs" / "bake";
    options_.kiln_version = kVersion;
    options_.use_cache = !asked.no_cache;
    options_.update = asked.update;
    options_.on_progress = [this](const bake::Progress& progress) { view_.on(progress); };
    options_.base_images = &amis_;
    options_.cancelled = [] { return Context::interrupted().load(); };
    context.watch_interrupts();
  }

  int keep_container() { return cli::keep_container(context_, recipe_.app, foreign_images_, asked_.json); }
  int explain() {
    return explain_bake(bake::explain(recipe_.app, context_.folder, store_, context_.clock, options_), asked_.json);
  }
  int check() {
    const bake::CheckResult result = bake::check(recipe_.app, context_.folder, store_, context_.clock, options_);
    view_.clear();
    return report_check(result, asked_.json);
  }
  int shell() {
    return bake::shell_at(recipe_.app, context_.folder, store_, context_.clock, options_, asked_.shell_step);
  }

  int bake() {
    const spec::App& app = recipe_.app;
    // A key that cannot be read and an environment that is not there are said before the work, not after it.
    if (!asked_.environment.empty()) app.environment(asked_.environment);
    const std::optional<proof::SigningKey> key = signing_key(context_, asked_.key_file);
    const Time started = context_.clock.now();
    bake::BakeResult result = with_context(
        "baking " + app.name, [&] { return bake::bake(app, context_.folder, store_, context_.clock, options_); });
    view_.clear();
    if (recipe_.packer) result.tags.merge(tags_of(*recipe_.packer, amis_.found()));

    ledger::Ledger ledger(context_.ledger_folder(), context_.clock, context_.actor());
    catalog::Catalog catalog(ledger);
    catalog::Image image = catalog_image(app, result);
    // A version that is taken is refused before the tests, and one that fails them does not take it.
    if (auto taken = catalog.find_version(app.name, image.version); taken && taken->digest != image.digest) {
      catalog.record_baked(image);
    }
    const Tested tested = test_baked(context_, app, store_, ledger,
                                     {image.version, image.digest, asked_.json, asked_.keep}, asked_.no_cache);
    const bool passed = !tested.now || tested.result.report.passed();
    stop_if_interrupted();
    if (passed) {
      // First, so that a version which is taken has its proofs, whenever this ends.
      prove(context_, store_, app, result, started, tests_of(tested));
      stop_if_interrupted();
      image = catalog.record_baked(image);
    }
    if (tested.now) trial::record(ledger, app.name, image.version, image.digest, app.image.test, tested.result.report);
    if (!passed) return refuse(result, tested);
    if (key) sign(context_, store_, subject_of(image), *key);
    const bool container = recipe_.packer && recipe_.packer->container;
    if (container) tag_and_push(context_, *recipe_.packer, store_, image.digest, foreign_images_.config(), asked_.json);
    const std::string ami = asked_.no_publish || container
                                ? ""
                                : publish_if_possible(context_, app, asked_.environment, image, catalog, asked_.json);
    if (recipe_.packer)
      run_post_processors(context_, *recipe_.packer, [&] { return artifact_of(catalog, image, ami); });
    report(result, image, ami, tested, key);
    return 0;
  }

 private:
  // Before the image is recorded; what comes after that is quick, or asks by itself.
  static void stop_if_interrupted() {
    if (Context::interrupted())
      throw Error(ErrorCode::cancelled, "interrupted before the image was recorded",
                  "its layers are kept: the same command goes on from them");
  }

  int refuse(const bake::BakeResult& result, const Tested& tested) const {
    if (!asked_.json) require_passed(recipe_.app, tested.request, tested.result);
    nlohmann::json out = to_json(result, "");
    out["test"] = trial::to_json(tested.result.report);
    say_json(out);
    return 1;
  }

  void report(const bake::BakeResult& result, const catalog::Image& image, const std::string& ami, const Tested& tested,
              const std::optional<proof::SigningKey>& key) const {
    if (!asked_.json) {
      if (key) talk(fmt::format("  signed by key {}", key->public_key().id().short_str()));
      say(fmt::format("baked {} {}  sha256:{}  {}  {}", image.name(), ami.empty() ? "" : "as " + ami,
                      image.digest.short_str(), format_bytes(image.size_bytes), format_seconds(result.duration)));
      return;
    }
    nlohmann::json out = to_json(result, ami);
    out["signed_by"] = key ? nlohmann::json(key->public_key().id().str()) : nlohmann::json();
    if (tested.now) out["test"] = trial::to_json(tested.result.report);
    say_json(out);
  }

  Context& context_;
  const BakeRecipe& recipe_;
  const ImageBake& asked_;
  store::Store store_;
  BakeView view_;
  CatalogBases catalog_bases_;
  ForeignImages foreign_images_;
  AmiBases amis_;
  bake::Options options_;
};

}  // namespace

int bake_image(Context& context, const BakeRecipe& recipe, const ImageBake& asked) {
  Bakehouse house(context, recipe, asked);
  switch (asked.aim) {
    case ImageBake::Aim::container:
      return house.keep_container();
    case ImageBake::Aim::explain:
      return house.explain();
    case ImageBake::Aim::check:
      return house.check();
    case ImageBake::Aim::shell:
      return house.shell();
    case ImageBake::Aim::image:
      break;
  }
  return house.bake();
}

}  // namespace kiln::cli
