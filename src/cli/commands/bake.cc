// kiln bake: an image from kiln.yaml, recorded in the catalog and published.
#include "bake/bake.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/ami_bases.h"
#include "cli/bake_view.h"
#include "cli/catalog_bases.h"
#include "cli/command.h"
#include "cli/packer_bake.h"
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

// kiln.yaml's app, or that of a template of Packer's, which a word or kiln.yaml may name.
std::optional<PackerBake> load(Context& context, packer::Request& request, const std::vector<std::string>& variables,
                               spec::App& app) {
  for (const std::string& variable : variables) {
    const auto equals = variable.find('=');
    if (equals == std::string::npos)
      throw Error(ErrorCode::usage, fmt::format("-var {}: it is written as NAME=VALUE", variable));
    request.variables.emplace_back(variable.substr(0, equals), variable.substr(equals + 1));
  }
  if (!request.path.empty()) return app_of_template(context, request, app);
  if (!variables.empty() || !request.variable_files.empty() || !request.only.empty() || !request.except.empty())
    throw Error(ErrorCode::usage, "-var, -var-file, -only and -except are for templates of Packer's",
                "name the template: kiln bake web.pkr.hcl -var ..; kiln.yaml has 'variables' under 'image'");
  app = load_app(context);
  return read_packer_source(context, app);
}

// As Packer names what it made.
std::string artifact_of(const catalog::Image& image, const std::string& ami) {
  if (ami.empty()) return image.digest.str();
  return (image.placements.empty() ? std::string("us-east-1") : image.placements.back().region) + ":" + ami;
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
  bool json = false, verbose = false, no_cache = false, no_publish = false, shell = false;
  std::size_t shell_step = 0;
  std::string environment;
  parser.add_flag("--json", json);
  parser.add_flag("--verbose,-v", verbose);
  parser.add_flag("--no-cache", no_cache);
  parser.add_flag("--no-publish", no_publish);
  bool explain = false, check = false, update = false;
  parser.add_flag("--explain", explain);
  parser.add_flag("--check", check);
  parser.add_flag("--update", update);
  parser.add_flag("--shell", shell);
  parser.add_option("--step", shell_step);
  parser.add_option("--env", environment);
  packer::Request request;
  std::vector<std::string> variables;
  parser.add_option("template,--packer", request.path);
  parser.add_option("--var", variables);
  parser.add_option("--var-file", request.variable_files);
  parser.add_option("--only", request.only)->delimiter(',');
  parser.add_option("--except", request.except)->delimiter(',');
  if (!parse(parser, "bake", with_two_dashes(words))) return 0;

  spec::App app;
  const std::optional<PackerBake> from_packer = load(context, request, variables, app);
  if (from_packer) tell_notes(*from_packer, false);
  store::Store store(context.store_folder());
  BakeView view(json, verbose);
  CatalogBases bases(context, store);
  bake::Options options;
  options.cache = context.home / "cache";
  options.logs = context.home / "logs" / "bake";
  options.kiln_version = kVersion;
  options.use_cache = !no_cache;
  options.on_progress = [&](const bake::Progress& progress) { view.on(progress); };
  AmiBases amis(context, store, &bases, options.on_progress);
  options.base_images = &amis;
  options.update = update;
  if (explain) return explain_bake(bake::explain(app, context.folder, store, context.clock, options), json);
  if (check) {
    const bake::CheckResult result = bake::check(app, context.folder, store, context.clock, options);
    view.clear();
    return report_check(result, json);
  }
  if (shell) return bake::shell_at(app, context.folder, store, context.clock, options, shell_step);

  bake::BakeResult result = with_context(
      "baking " + app.name, [&] { return bake::bake(app, context.folder, store, context.clock, options); });
  view.clear();
  if (from_packer) result.tags.merge(tags_of(*from_packer, amis.found()));
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  catalog::Image image = catalog.record_baked(catalog_image(app, result));
  std::string ami = no_publish ? "" : publish_if_possible(context, app, environment, image, catalog, json);
  if (from_packer) run_post_processors(context, *from_packer, artifact_of(image, ami));
  if (json) {
    say_json(to_json(result, ami));
  } else {
    say(fmt::format("baked {} {}  sha256:{}  {}  {}", image.name(), ami.empty() ? "" : "as " + ami,
                    image.digest.short_str(), format_bytes(image.size_bytes), format_seconds(result.duration)));
  }
  return 0;
}

}  // namespace kiln::cli
