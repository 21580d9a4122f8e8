// kiln show: one image's whole life.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "catalog/gc.h"
#include "cli/command.h"
#include "cli/contents.h"
#include "cli/parser.h"
#include "cli/places.h"
#include "ledger/body.h"
#include "store/store.h"

namespace kiln::cli {
namespace {

using nlohmann::json;

json layers_of(const store::Store& store, const catalog::Image& image) {
  json layers = json::array();
  // An AMI, or bytes that gc has let go.
  const auto stored = stored_image(store, image.digest);
  if (!stored) return layers;
  for (std::size_t i = 0; i < stored->layers.size(); ++i) {
    layers.push_back({{"digest", stored->layers[i].digest.str()},
                      {"size_bytes", stored->layers[i].size_bytes},
                      {"step", i < stored->config.history.size() ? stored->config.history[i] : ""}});
  }
  return layers;
}

// SBOMs, provenance, signatures: what lies beside the image and names it as its subject.
json documents_of(const store::Store& store, const catalog::Image& image) {
  json documents = json::array();
  if (!store.has(image.digest)) return documents;
  for (const store::Artifact& artifact : store.artifacts_of(image.digest)) {
    documents.push_back({{"type", artifact.artifact_type}, {"digest", artifact.manifest.str()}});
  }
  return documents;
}

json acts_of(ledger::Ledger& ledger, const catalog::Image& image) {
  ledger::Query query;
  query.kind = "image.";
  query.subject = image.app;
  query.limit = 0;
  json acts = json::array();
  for (const ledger::Entry& entry : ledger.read(query)) {
    ledger::read_body(entry, [&](const json& body) {
      if (body.value("digest", "") != image.digest.str()) return;
      json act = {{"when", format_iso8601(entry.time)}, {"by", entry.actor}, {"what", entry.kind}};
      for (const char* key :
           {"version", "channel", "from", "why", "step", "ami", "account", "region", "passed", "key", "reference"}) {
        if (body.contains(key)) act[key] = body[key];
      }
      acts.push_back(act);
    });
  }
  return acts;
}

json tests_of(const catalog::Image& image) {
  json tests = json::array();
  for (const catalog::TestRun& run : image.tests) {
    tests.push_back(
        {{"when", format_iso8601(run.when)}, {"passed", run.passed}, {"checks", run.checks}, {"failed", run.failed}});
  }
  return tests;
}

json placements_of(const catalog::Image& image, const Places& places) {
  json placements = json::array();
  for (const catalog::Placement& placement : image.placements) {
    const Place* place = places.find(placement.account, placement.region);
    const fleet::OwnImage* own = place == nullptr ? nullptr : place->usage.image(placement.ami);
    placements.push_back({{"account", placement.account},
                          {"region", placement.region},
                          {"ami", placement.ami},
                          {"placed", format_iso8601(placement.placed)},
                          {"state", place == nullptr ? "not reached"
                                    : own == nullptr ? "gone"
                                                     : own->state},
                          {"protected", own != nullptr && own->is_protected}});
  }
  return placements;
}

json copies_of(const catalog::Image& image) {
  json copies = json::array();
  for (const catalog::Copy& copy : image.copies) copies.push_back(to_json(copy));
  return copies;
}

json describe(Context& context, ledger::Ledger& ledger, const catalog::Image& image) {
  const Places places = look_at_places(context);
  const store::Store store(context.store_folder());
  const catalog::View view = catalog::Catalog(ledger).view();
  json ancestors = json::array({image.base}), descendants = json::array(), same = json::array();
  for (const catalog::Image& other : view.images) {
    if (catalog::is_made_from(image, other)) ancestors.push_back(other.name());
    if (catalog::is_made_from(other, image)) descendants.push_back(other.name());
    if (other.digest == image.digest && other.name() != image.name()) same.push_back(other.name());
  }
  return {{"image", image.name()},
          {"digest", image.digest.str()},
          {"standing", to_string(image.standing)},
          {"why", image.stood.why},
          {"built", format_iso8601(image.built)},
          {"commit", image.commit},
          {"recipe", image.recipe.str()},
          {"size_bytes", image.size_bytes},
          {"imported_from", image.imported_from},
          {"channels", image.channels},
          {"same_content", same},
          {"ancestors", ancestors},
          {"descendants", descendants},
          {"layers", layers_of(store, image)},
          {"documents", documents_of(store, image)},
          {"tests", tests_of(image)},
          {"signed_by", image.signed_by},
          {"placements", placements_of(image, places)},
          {"copies", copies_of(image)},
          {"running", to_json(running(places, image))},
          {"history", acts_of(ledger, image)},
          {"not_reached", places.not_reached}};
}

std::string words_of(const json& list) {
  std::vector<std::string> words;
  for (const json& word : list) {
    if (!word.get<std::string>().empty()) words.push_back(word);
  }
  return words.empty() ? "-" : join(words, ", ");
}

void print(const json& image) {
  const auto line = [](const char* name, const std::string& text) { say(fmt::format("{:<12} {}", name, text)); };
  line("image", image["image"]);
  line("digest", image["digest"]);
  line("standing", fmt::format("{}{}", image["standing"].get<std::string>(),
                               image["why"].get<std::string>().empty() ? "" : ": " + image["why"].get<std::string>()));
  line("built", fmt::format("{}  {}  commit {}", image["built"].get<std::string>(),
                            format_bytes(image["size_bytes"].get<std::uint64_t>()),
                            image["commit"].get<std::string>().empty() ? "-" : image["commit"].get<std::string>()));
  line("channels", words_of(image["channels"]));
  line("made from", words_of(image["ancestors"]));
  line("children", words_of(image["descendants"]));
  line("signed by", words_of(image["signed_by"]));
  for (const json& run : image["tests"]) {
    line("test", fmt::format("{}  {} of {} checks failed", run["when"].get<std::string>(), run["failed"].size(),
                             run["checks"].get<std::size_t>()));
  }
  for (const json& layer : image["layers"]) {
    line("layer",
         fmt::format("{:<12} {:>8}  {}", layer["digest"].get<std::string>().substr(7, 12),
                     format_bytes(layer["size_bytes"].get<std::uint64_t>()), layer["step"].get<std::string>()));
  }
  for (const json& document : image["documents"]) {
    line("document", fmt::format("{:<12} {}", document["digest"].get<std::string>().substr(7, 12),
                                 document["type"].get<std::string>()));
  }
  for (const json& place : image["placements"]) {
    line("placed",
         fmt::format("{} in {} {}: {}{}", place["ami"].get<std::string>(), place["account"].get<std::string>(),
                     place["region"].get<std::string>(), place["state"].get<std::string>(),
                     place["protected"].get<bool>() ? ", protected from deregistration" : ""));
  }
  for (const json& copy : image["copies"]) {
    line("copy", fmt::format("{}  pushed {} by {}", copy["reference"].get<std::string>(),
                             copy["pushed"].get<std::string>(), copy["by"].get<std::string>()));
  }
  if (!image["imported_from"].get<std::string>().empty()) line("came from", image["imported_from"]);
  for (const json& one : image["running"]) {
    line("runs",
         fmt::format("{} × {} in {} since {}", one["instances"].get<std::size_t>(), one["group"].get<std::string>(),
                     one["place"].get<std::string>(), one["since"].get<std::string>()));
  }
  if (image["running"].empty()) line("runs", "nowhere that was looked at");
  for (const json& act : image["history"]) {
    line("history", fmt::format("{}  {:<18} {}  {}{}", act["when"].get<std::string>(), act["what"].get<std::string>(),
                                act["by"].get<std::string>(), act.value("channel", ""),
                                act.value("why", "").empty() ? "" : " (" + act.value("why", "") + ")"));
  }
  for (const json& place : image["not_reached"]) talk("  not reached: " + place.get<std::string>());
}

}  // namespace

int run_show(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool as_json = false;
  std::string reference;
  parser.flag("--json", as_json);
  parser.option("image", reference).required();
  if (!parser.parse("show", words)) return 0;
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  const catalog::Image image = catalog::Catalog(ledger).find(reference, app_here(context));
  const json described = describe(context, ledger, image);
  if (as_json) {
    say_json(described);
  } else {
    print(described);
  }
  return 0;
}

}  // namespace kiln::cli
