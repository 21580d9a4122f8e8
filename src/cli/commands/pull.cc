// kiln pull: an image of a registry, and all that is said about it, into the store and the catalog.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/image_card.h"
#include "cli/registry_words.h"

namespace kiln::cli {

int run_pull(Context& context, const std::vector<std::string>& words) {
  CLI::App parser;
  RegistryWords registry_words;
  std::string source;
  registry_words.declare(parser);
  parser.add_option("reference", source)->required();
  if (!parse(parser, "pull", words)) return 0;

  const registry::Reference from = registry::parse_reference(source);
  store::Store store(context.store_folder());
  context.watch_interrupts();
  registry::Client client(from.registry, registry_words.connect(), context.clock, context.random);
  registry::Moved moved;
  {
    TransferLine line(context, registry_words);
    moved = registry::pull(client, from, store, line.options());
  }
  // Its name, when it came with one. A version never moves: one that means another image here is an error, and the
  // bytes stay.
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  nlohmann::json names = nlohmann::json::array();
  std::string called;
  for (catalog::Image& image : cards_of(store, moved.digest)) {
    registry::Reference exact = from;
    exact.digest = moved.digest;
    image.metadata["kiln:pulled-from"] = exact.str();
    const catalog::Image known = catalog.record_baked(image);
    names.push_back({{"app", known.app}, {"version", known.version}});
    called = known.name();
  }
  if (registry_words.json) {
    nlohmann::json object = to_json(moved);
    object["images"] = names;
    object["referrers_left_out"] = moved.referrers_left_out;
    say_json(object);
    return 0;
  }
  say(fmt::format("pulled {}{}  {}  {}", from.str(), called.empty() ? "" : " as " + called, moved.digest.short_str(),
                  summary(moved, "received")));
  if (moved.referrers_left_out > 0) {
    talk(fmt::format("  {} artifacts without a type were left out", moved.referrers_left_out));
  }
  if (called.empty())
    talk(fmt::format("  it came without a name in the catalog; its digest is {}", moved.digest.str()));
  return 0;
}

}  // namespace kiln::cli
