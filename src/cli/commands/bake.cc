// kiln bake: an image from kiln.yaml, recorded in the catalog and published.
#include "bake/bake.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/proofs.h"
#include "cli/session.h"
#include "console/screen.h"
#include "store/store.h"

namespace kiln::cli {
namespace {

// One line a layer: on a terminal it shows that it is under way, and what the step prints with --verbose.
class BakeLog {
 public:
  BakeLog(bool quiet, bool verbose) : quiet_(quiet), verbose_(verbose), terminal_(console::is_terminal(stderr)) {}

  void on(const bake::Progress& progress) {
    if (quiet_) return;
    using Kind = bake::Progress::Kind;
    std::string head = fmt::format("  {}/{} {}", progress.index + 1, progress.count, progress.step);
    if (progress.kind == Kind::started && terminal_ && !verbose_) {
      fmt::print(stderr, "{} ...", head);
      std::fflush(stderr);
    } else if (progress.kind == Kind::started && verbose_) {
      talk(head);
    } else if (progress.kind == Kind::output && verbose_) {
      fmt::print(stderr, "{}", progress.output);
    } else if (progress.kind == Kind::finished) {
      fmt::print(stderr, "{}{}  {}\n", terminal_ && !verbose_ ? "\r\x1b[2K" : "", head,
                 progress.reused ? "reused" : format_seconds(progress.duration));
    }
  }

 private:
  bool quiet_;
  bool verbose_;
  bool terminal_;
};

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

nlohmann::json to_json(const bake::BakeResult& result, const std::string& ami, const std::string& key) {
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
          {"signed_by", key.empty() ? nlohmann::json() : nlohmann::json(key)},
          {"ami", ami.empty() ? nlohmann::json() : nlohmann::json(ami)}};
}

}  // namespace

int run_bake(Context& context, const std::vector<std::string>& words) {
  CLI::App parser;
  bool json = false, verbose = false, no_cache = false, no_publish = false, shell = false;
  std::size_t shell_step = 0;
  std::string environment, key_file;
  parser.add_flag("--json", json);
  parser.add_flag("--verbose,-v", verbose);
  parser.add_flag("--no-cache", no_cache);
  parser.add_flag("--no-publish", no_publish);
  parser.add_flag("--shell", shell);
  parser.add_option("--step", shell_step);
  parser.add_option("--env", environment);
  parser.add_option("--key", key_file);
  if (!parse(parser, "bake", words)) return 0;

  spec::App app = load_app(context);
  store::Store store(context.store_folder());
  BakeLog log(json, verbose);
  bake::Options options;
  options.cache = context.home / "cache";
  options.logs = context.home / "logs" / "bake";
  options.kiln_version = kVersion;
  options.use_cache = !no_cache;
  options.on_progress = [&](const bake::Progress& progress) { log.on(progress); };
  if (shell) return bake::shell_at(app, context.folder, store, context.clock, options, shell_step);

  // A key that cannot be read is said before the work, not after it.
  const std::optional<proof::SigningKey> key = signing_key(context, key_file);
  const Time started = context.clock.now();
  bake::BakeResult result = with_context(
      "baking " + app.name, [&] { return bake::bake(app, context.folder, store, context.clock, options); });
  prove(context, store, app, result, started);
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  catalog::Image image = catalog.record_baked(catalog_image(app, result));
  if (key) sign(context, store, subject_of(image), *key);
  std::string ami = no_publish ? "" : publish_if_possible(context, app, environment, image, catalog, json);
  if (json) {
    say_json(to_json(result, ami, key ? key->public_key().id().str() : ""));
  } else {
    if (key) talk(fmt::format("  signed by key {}", key->public_key().id().short_str()));
    say(fmt::format("baked {} {}  sha256:{}  {}  {}", image.name(), ami.empty() ? "" : "as " + ami,
                    image.digest.short_str(), format_bytes(image.size_bytes), format_seconds(result.duration)));
  }
  return 0;
}

}  // namespace kiln::cli
