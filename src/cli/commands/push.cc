// kiln push: an image of the store or of a folder, and all that is said about it, into a registry or a folder.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/cosign_tag.h"
#include "cli/image_card.h"
#include "cli/parser.h"
#include "cli/registry_words.h"
#include "cli/session.h"
#include "registry/layout.h"
#include "store/lease.h"

namespace kiln::cli {
namespace {

// The image of the catalog that is meant; without one, a whole digest of anything that the store holds.
std::optional<catalog::Image> find_image(Context& context, const catalog::Catalog& catalog,
                                         const std::string& reference) {
  const bool in_app = std::filesystem::exists(context.folder / "kiln.yaml");
  if (reference.starts_with("sha256:") && !in_app) return std::nullopt;
  return catalog.find(reference, in_app ? load_app(context).name : std::string());
}

void report(const RegistryWords& words, const std::string& what, const std::string& where,
            const registry::Moved& moved) {
  const std::string named = fmt::format("{}@{}", where, moved.digest.str());
  if (words.json) {
    nlohmann::json object = to_json(moved);
    object["reference"] = named;
    say_json(object);
    return;
  }
  say(fmt::format("pushed {} to {}  {}", what, where, summary(moved, "sent")));
  say(fmt::format("  {}", named));
}

// From the store, as the catalog calls it, into a registry or a folder.
class Push {
 public:
  Push(Context& context, const RegistryWords& words, const std::string& name)
      : context_(context),
        words_(words),
        ledger_(context.ledger_folder(), context.clock, context.actor()),
        catalog_(ledger_),
        store_(context.store_folder()),
        image_(find_image(context, catalog_, name)),
        digest_(image_ ? image_->digest : Digest::parse(name)),
        // First the lease, then the look: gc beside us sees the one, or we see what it wrote.
        lease_(store_, digest_, "kiln push " + name) {
    if (image_) image_ = catalog_.find(image_->name());
    if (image_ && image_->standing == catalog::Standing::aside) require_deployable(*image_);
    if (image_) card_ = add_card(store_, *image_);
  }

  std::string name() const { return image_ ? image_->name() : digest_.short_str(); }
  std::string tag() const { return image_ ? registry::to_tag(image_->version) : std::string(); }

  registry::Moved to(const registry::Reference& there) {
    registry::Client client(there.registry, words_.connect(), context_.clock, context_.random);
    TransferLine line(context_, words_);
    const registry::Moved moved = registry::push(store_, digest_, client, there, options(line));
    if (!words_.no_referrers) write_cosign_tag(store_, digest_, client, there);
    if (image_) catalog_.record_pushed(*image_, there.str());
    return moved;
  }

  registry::Moved to(const registry::Layout& folder) {
    TransferLine line(context_, words_);
    return registry::push(store_, digest_, folder, options(line));
  }

 private:
  // The same content may have other names here; those are nobody's business there.
  registry::Options options(TransferLine& line) const {
    registry::Options options = line.options();
    options.goes = [this](const store::Artifact& artifact) {
      return !image_ || artifact.artifact_type != kCardType || artifact.manifest == card_;
    };
    return options;
  }

  Context& context_;
  const RegistryWords& words_;
  ledger::Ledger ledger_;
  catalog::Catalog catalog_;
  store::Store store_;
  std::optional<catalog::Image> image_;
  Digest digest_;
  store::Lease lease_;
  Digest card_;
};

registry::Reference parse_target(const std::string& text) {
  registry::Reference to = registry::parse_reference(text);
  if (to.digest.empty()) return to;
  throw Error(ErrorCode::usage, "a push goes to a tag, not to a digest", "Write REGISTRY/NAME:TAG.");
}

registry::Moved push_folder(Context& context, const RegistryWords& words, const registry::Layout& from,
                            const registry::Reference& to) {
  const store::Store store(context.store_folder());
  registry::Client client(to.registry, words.connect(), context.clock, context.random);
  TransferLine line(context, words);
  return registry::push(from, client, to, store, line.options());
}

}  // namespace

int run_push(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  RegistryWords registry_words;
  std::string source, destination;
  registry_words.declare(parser);
  parser.option("image", source).required();
  parser.option("destination", destination).required();
  if (!parser.parse("push", words)) return 0;

  const auto from = registry::parse_layout(source, context.folder);
  auto folder = registry::parse_layout(destination, context.folder);
  context.watch_interrupts();
  if (from && folder) {
    throw Error(ErrorCode::usage, "a push goes from a folder to a registry, or from the store to a folder",
                fmt::format("Copy folders with: skopeo copy {} {}", source, destination));
  }
  if (from) {
    registry::Reference to = parse_target(destination);
    if (to.tag.empty()) to.tag = registry::to_tag(from->name);
    report(registry_words, source, to.str(), push_folder(context, registry_words, *from, to));
    return 0;
  }
  std::optional<registry::Reference> to;
  if (!folder) to = parse_target(destination);
  Push push(context, registry_words, source);
  if (folder) {
    if (folder->name.empty()) folder->name = push.tag();
    report(registry_words, push.name(), folder->str(), push.to(*folder));
  } else {
    if (to->tag.empty()) to->tag = push.tag();
    report(registry_words, push.name(), to->str(), push.to(*to));
  }
  return 0;
}

}  // namespace kiln::cli
