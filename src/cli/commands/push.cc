// kiln push: an image of the store, and all that is said about it, into a registry.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/image_card.h"
#include "cli/registry_words.h"
#include "cli/session.h"

namespace kiln::cli {
namespace {

// The image of the catalog that is meant; without one, a whole digest of anything that the store holds.
std::optional<catalog::Image> find_image(Context& context, const catalog::Catalog& catalog,
                                         const std::string& reference) {
  const bool in_app = std::filesystem::exists(context.folder / "kiln.yaml");
  if (reference.starts_with("sha256:") && !in_app) return std::nullopt;
  return catalog.find(reference, in_app ? load_app(context).name : std::string());
}

}  // namespace

int run_push(Context& context, const std::vector<std::string>& words) {
  CLI::App parser;
  RegistryWords registry_words;
  std::string image_name, destination;
  registry_words.declare(parser);
  parser.add_option("image", image_name)->required();
  parser.add_option("destination", destination)->required();
  if (!parse(parser, "push", words)) return 0;

  registry::Reference to = registry::parse_reference(destination);
  if (!to.digest.empty()) {
    throw Error(ErrorCode::usage, "a push goes to a tag, not to a digest", "Write REGISTRY/NAME:TAG.");
  }
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  const catalog::Catalog catalog(ledger);
  store::Store store(context.store_folder());
  const std::optional<catalog::Image> image = find_image(context, catalog, image_name);
  const Digest digest = image ? image->digest : Digest::parse(image_name);
  Digest card;
  if (image) {
    if (to.tag.empty()) to.tag = registry::to_tag(image->version);
    card = add_card(store, *image);
  }
  context.watch_interrupts();
  registry::Client client(to.registry, registry_words.connect(), context.clock, context.random);
  registry::Moved moved;
  {
    TransferLine line(context, registry_words);
    registry::Options options = line.options();
    // The same content may have other names here; those are nobody's business there.
    options.goes = [&](const store::Artifact& artifact) {
      return !image || artifact.artifact_type != kCardType || artifact.manifest == card;
    };
    moved = registry::push(store, digest, client, to, options);
  }
  if (image) {
    ledger.append("image.pushed", image->app,
                  {{"version", image->version}, {"digest", digest.str()}, {"reference", to.str()}});
  }
  registry::Reference named = to;
  named.digest = digest;
  if (registry_words.json) {
    nlohmann::json object = to_json(moved);
    object["reference"] = named.str();
    say_json(object);
  } else {
    say(fmt::format("pushed {} to {}  {}", image ? image->name() : digest.short_str(), to.str(),
                    summary(moved, "sent")));
    say(fmt::format("  {}", named.str()));
  }
  return 0;
}

}  // namespace kiln::cli
