// kiln images: the catalog as a list.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/places.h"

namespace kiln::cli {
namespace {

nlohmann::json to_json(const catalog::Image& image, const std::vector<Running>& running) {
  nlohmann::json placements = nlohmann::json::array();
  for (const catalog::Placement& placement : image.placements) {
    placements.push_back({{"account", placement.account},
                          {"region", placement.region},
                          {"ami", placement.ami},
                          {"placed", format_iso8601(placement.placed)}});
  }
  nlohmann::json copies = nlohmann::json::array();
  for (const catalog::Copy& copy : image.copies) copies.push_back(cli::to_json(copy));
  return {{"app", image.app},
          {"version", image.version},
          {"digest", image.digest.str()},
          {"built", format_iso8601(image.built)},
          {"commit", image.commit.empty() ? nlohmann::json() : nlohmann::json(image.commit)},
          {"recipe", image.recipe.str()},
          {"base", image.base},
          {"size_bytes", image.size_bytes},
          {"standing", to_string(image.standing)},
          {"why", image.stood.why},
          {"channels", image.channels},
          {"tested", image.tests.empty() ? nlohmann::json() : nlohmann::json(image.tests.back().passed)},
          {"signed_by", image.signed_by},
          {"running", to_json(running)},
          {"placements", placements},
          {"copies", copies},
          {"imported_from", image.imported_from}};
}

}  // namespace

int run_images(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false;
  std::string app;
  parser.flag("--json", json);
  parser.option("app", app);
  if (!parser.parse("images", words)) return 0;
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  std::vector<catalog::Image> images = catalog::Catalog(ledger).images(app);
  // Where nobody answers, the catalog is listed all the same.
  const Places places = images.empty() ? Places() : look_at_places(context);
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const catalog::Image& image : images) list.push_back(to_json(image, running(places, image)));
    say_json({{"images", list}, {"not_reached", places.not_reached}});
    return 0;
  }
  if (images.empty()) {
    talk(app.empty() ? "no image has been baked yet; in an app's folder: kiln bake"
                     : fmt::format("no image of '{}' has been baked yet", app));
    return 0;
  }
  say(fmt::format("{:<24} {:<12} {:<22} {:>8}  {:<8} {:<24} {:<10} {:>7} {:>6}  {}", "IMAGE", "DIGEST", "AMI", "SIZE",
                  "COMMIT", "BUILT", "STANDING", "RUNNING", "COPIES", "CHANNELS"));
  for (const catalog::Image& image : images) {
    say(fmt::format("{:<24} {:<12} {:<22} {:>8}  {:<8} {:<24} {:<10} {:>7} {:>6}  {}", image.name(),
                    image.digest.short_str(), image.placements.empty() ? "-" : image.placements.back().ami,
                    format_bytes(image.size_bytes), image.commit.empty() ? "-" : image.commit.substr(0, 8),
                    format_iso8601(image.built), to_string(image.standing), instances_of(running(places, image)),
                    image.copies.size(), join(image.channels, " ")));
  }
  for (const std::string& place : places.not_reached) talk("  not reached: " + place);
  return 0;
}

}  // namespace kiln::cli
