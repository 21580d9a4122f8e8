// kiln mirror: images from one registry to another, with all that is said about them.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/cosign_tag.h"
#include "cli/parser.h"
#include "cli/registry_words.h"

namespace kiln::cli {
namespace {

// "sha256-<hex>" and "sha256-<hex>.sig": they hold what is said about an image, and travel with it.
bool stands_for_referrers(const std::string& tag) { return tag.starts_with("sha256-") && tag.size() >= 71; }

std::vector<std::string> tags_to_copy(registry::Client& client, const registry::Reference& from, bool all) {
  if (!all) return {from.tag};
  std::vector<std::string> tags = client.tags(from.repository);
  std::erase_if(tags, stands_for_referrers);
  if (tags.empty())
    throw Error(ErrorCode::not_found, fmt::format("{}/{} has no tags", from.registry, from.repository),
                "Look whether the repository is the one that you mean, and whether your credentials may list it.");
  return tags;
}

// Where cosign looks for signatures by itself; most images have no such tag.
void mirror_cosign_tag(registry::Client& from_client, const registry::Reference& from, registry::Client& to_client,
                       const registry::Reference& to, const Digest& image, store::Store& store) {
  registry::Reference source = from, target = to;
  source.tag = target.tag = cosign_tag(image);
  source.digest = Digest();
  const auto there = from_client.has_manifest(source.repository, source.tag);
  if (!there || to_client.has_manifest(target.repository, target.tag) == there) return;
  registry::Options options;
  options.referrers = false;
  registry::mirror(from_client, source, to_client, target, store, options);
}

// What the catalog knows by that digest has one copy more.
void record(Context& context, const Digest& digest, const registry::Reference& to) {
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  for (const catalog::Image& image : catalog.images()) {
    if (image.digest == digest) catalog.record_pushed(image, to.str());
  }
}

}  // namespace

int run_mirror(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  RegistryWords registry_words;
  std::string source, destination;
  bool all_tags = false;
  registry_words.declare(parser);
  parser.flag("--all-tags", all_tags);
  parser.option("from", source).required();
  parser.option("to", destination).required();
  if (!parser.parse("mirror", words)) return 0;

  registry::Reference from = registry::parse_reference(source);
  registry::Reference to = registry::parse_reference(destination);
  if (!to.digest.empty())
    throw Error(ErrorCode::usage, "a mirror is written by tag, not by digest", "Give a tag: REGISTRY/REPOSITORY:TAG");
  if (all_tags && !(from.tag + to.tag).empty()) {
    throw Error(ErrorCode::usage, "--all-tags copies every tag, so that neither side may name one",
                "Leave the tags out, or leave out --all-tags.");
  }
  store::Store store(context.store_folder());
  context.watch_interrupts();
  registry::Client from_client(from.registry, registry_words.connect(), context.clock, context.random);
  registry::Client to_client(to.registry, registry_words.connect(), context.clock, context.random);
  nlohmann::json copied = nlohmann::json::array();
  for (const std::string& tag : tags_to_copy(from_client, from, all_tags)) {
    registry::Reference source_tag = from, target = to;
    source_tag.tag = tag;
    if (to.tag.empty()) target.tag = !tag.empty() || !from.digest.empty() ? tag : "latest";
    registry::Moved moved;
    {
      TransferLine line(context, registry_words);
      moved = registry::mirror(from_client, source_tag, to_client, target, store, line.options());
    }
    if (!registry_words.no_referrers) mirror_cosign_tag(from_client, from, to_client, to, moved.digest, store);
    record(context, moved.digest, target);
    nlohmann::json object = to_json(moved);
    object["from"] = source_tag.str();
    object["to"] = target.str();
    copied.push_back(std::move(object));
    if (!registry_words.json) {
      say(fmt::format("mirrored {} to {}  {}", source_tag.str(), target.str(), summary(moved, "sent")));
    }
  }
  if (registry_words.json) say_json({{"images", copied}});
  return 0;
}

}  // namespace kiln::cli
