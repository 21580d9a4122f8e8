// kiln pull: an image of a registry or a folder, and all that is said about it, into the store and the catalog; or into
// a folder.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/image_card.h"
#include "cli/parser.h"
#include "cli/proofs.h"
#include "cli/registry_words.h"
#include "registry/layout.h"
#include "store/manifest.h"
#include "store/sweep.h"

namespace kiln::cli {
namespace {

using nlohmann::json;

std::set<Digest> named_in(const store::Store& store) {
  std::set<Digest> named;
  for (const store::IndexEntry& entry : store::read_index(host::read_file(store.folder() / "index.json"))) {
    named.insert(entry.blob.digest);
  }
  return named;
}

// Under each name that it came with, all must hold that `kiln verify` asks. An image without a name is not Kiln's: of
// such a one only the signature can be asked for.
std::vector<proof::Check> check(const store::Store& store, const std::vector<catalog::Image>& images,
                                const Digest& digest, const proof::PublicKey& key, Time now) {
  std::vector<proof::Check> all;
  for (const catalog::Image& image : images) {
    const proof::Expected expected{subject_of(image), image.commit, {}, {}};
    for (proof::Check& one : proof::verify(store, expected, {{key}, nullptr, {}}, now)) all.push_back(std::move(one));
  }
  if (images.empty()) {
    const bool holds = !proof::signers(store, subject_of("", "", digest), {key}).empty();
    all.push_back({"signature", holds, holds ? "signed by that key" : "that key has not signed it"});
  }
  return all;
}

// Enters it under its names, as an image that others made. A version never moves: one that means another image here is
// an error, and the bytes stay.
std::vector<catalog::Image> record(Context& context, const store::Store& store, std::vector<catalog::Image> images,
                                   const std::string& origin, const std::vector<proof::PublicKey>& keys) {
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  for (catalog::Image& image : images) {
    image = catalog.record_pulled(image, origin);
    for (const Digest& key : proof::signers(store, subject_of(image), keys)) {
      catalog.record_signed(image, key);
      image.signed_by.push_back(key.str());
    }
    std::ranges::sort(image.signed_by);
    image.signed_by.erase(std::unique(image.signed_by.begin(), image.signed_by.end()), image.signed_by.end());
  }
  return images;
}

json to_json(const std::vector<catalog::Image>& images) {
  json list = json::array();
  for (const catalog::Image& image : images) {
    list.push_back({{"app", image.app}, {"version", image.version}, {"signed_by", image.signed_by}});
  }
  return list;
}

void print(const registry::Moved& moved, const std::string& from, const std::vector<catalog::Image>& images) {
  const std::string called = images.empty() ? "" : " as " + images.back().name();
  say(fmt::format("pulled {}{}  {}  {}", from, called, moved.digest.short_str(), summary(moved, "received")));
  if (moved.referrers_left_out > 0) {
    talk(fmt::format("  {} artifacts without a type were left out", moved.referrers_left_out));
  }
  if (images.empty()) {
    talk(fmt::format("  it came without a name in the catalog; its digest is {}", moved.digest.str()));
    return;
  }
  for (const std::string& key : images.back().signed_by) talk("  signed by key " + key);
  if (images.back().signed_by.empty()) talk("  no key that is trusted here has signed it (--key FILE insists on one)");
}

// Where it is taken from.
struct Source {
  std::optional<registry::Layout> folder;
  registry::Reference place;

  // With the digest that came: whoever reads it knows what it was.
  std::string exact(const Digest& digest) const {
    if (folder) return fmt::format("{}@{}", folder->str(), digest.str());
    registry::Reference exact = place;
    exact.digest = digest;
    return exact.str();
  }
};

registry::Moved fetch(Context& context, const RegistryWords& words, const Source& source, store::Store& store,
                      const std::optional<registry::Layout>& into) {
  TransferLine line(context, words);
  if (source.folder) return registry::pull(*source.folder, store, line.options());
  registry::Client client(source.place.registry, words.connect(), context.clock, context.random);
  if (into) return registry::pull(client, source.place, *into, store, line.options());
  return registry::pull(client, source.place, store, line.options());
}

int pull_into_folder(Context& context, const RegistryWords& words, const Source& source, registry::Layout into) {
  if (source.folder) {
    throw Error(ErrorCode::usage, "a pull goes from a registry to a folder, or from a folder to the store",
                "Copy folders with: skopeo copy oci:… oci:…");
  }
  if (into.name.empty()) into.name = source.place.tag;
  store::Store store(context.store_folder());
  const registry::Moved moved = fetch(context, words, source, store, into);
  if (words.json) {
    json object = cli::to_json(moved);
    object["folder"] = into.str();
    say_json(object);
  } else {
    say(fmt::format("pulled {} to {}  {}  {}", source.place.str(), into.str(), moved.digest.short_str(),
                    summary(moved, "received")));
  }
  return 0;
}

int pull_into_store(Context& context, const RegistryWords& words, const std::string& named, const Source& source,
                    const std::string& key_file) {
  const std::vector<proof::PublicKey> keys = trusted_keys(context, key_file);
  store::Store store(context.store_folder());
  const std::set<Digest> before = named_in(store);
  const registry::Moved moved = fetch(context, words, source, store, std::nullopt);
  std::vector<catalog::Image> images = cards_of(store, moved.digest);
  if (!key_file.empty()) {
    const auto checks = check(store, images, moved.digest, keys.front(), context.clock.now());
    if (!std::ranges::all_of(checks, &proof::Check::passed)) {
      if (!before.contains(moved.digest)) store::unname(store, {moved.digest});
      talk(fmt::format("{} was not taken in:", named));
      return report_checks(named, moved.digest, checks, words.json);
    }
  }
  images = record(context, store, std::move(images), source.exact(moved.digest), keys);
  if (words.json) {
    json object = cli::to_json(moved);
    object["images"] = to_json(images);
    object["referrers_left_out"] = moved.referrers_left_out;
    say_json(object);
  } else {
    print(moved, named, images);
  }
  return 0;
}

}  // namespace

int run_pull(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  RegistryWords registry_words;
  std::string named, destination, key_file;
  registry_words.declare(parser);
  parser.option("reference", named).required();
  parser.option("destination", destination);
  parser.option("--key", key_file);
  if (!parser.parse("pull", words)) return 0;
  if (!key_file.empty() && registry_words.no_referrers) {
    throw Error(ErrorCode::usage, "--no-referrers leaves out the signature that --key asks for",
                "Leave out one of the two.");
  }
  Source source{registry::parse_layout(named, context.folder), {}};
  if (!source.folder) source.place = registry::parse_reference(named);
  context.watch_interrupts();
  if (destination.empty()) return pull_into_store(context, registry_words, named, source, key_file);
  const auto into = registry::parse_layout(destination, context.folder);
  if (!into) {
    throw Error(ErrorCode::usage, fmt::format("a pull does not go to '{}'", destination),
                "Leave it out, or name a folder: oci:FOLDER:NAME. From registry to registry goes: kiln mirror");
  }
  if (!key_file.empty()) {
    throw Error(ErrorCode::usage, "--key is for what comes into the store",
                fmt::format("Take it in from the folder: kiln pull {} --key {}", into->str(), key_file));
  }
  return pull_into_folder(context, registry_words, source, *into);
}

}  // namespace kiln::cli
