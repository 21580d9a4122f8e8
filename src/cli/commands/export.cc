// kiln export: an image as an OCI image that other tools read.
#include "oci/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "store/manifest.h"

namespace kiln::cli {
namespace {

// Images of containers are named in the store's index only.
std::optional<Digest> named_in_store(const store::Store& store, const std::string& name) {
  for (const store::IndexEntry& entry : store::read_index(host::read_file(store.folder() / "index.json"))) {
    const auto said = entry.blob.annotations.find(store::kRefNameAnnotation);
    if (said != entry.blob.annotations.end() && said->second == name) return entry.blob.digest;
  }
  return std::nullopt;
}

Digest find_image(Context& context, const store::Store& store, const std::string& name) {
  if (const auto named = named_in_store(store, name)) return *named;
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  return catalog::Catalog(ledger).find(name).digest;
}

}  // namespace

int run_export(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false;
  std::string name, destination, packing = "gzip";
  parser.option("name", name).required();
  parser.option("--oci", destination).required();
  parser.option("--compression", packing);
  parser.flag("--json", json);
  if (!parser.parse("export", words)) return 0;
  oci::ExportOptions options;
  if (packing == "none") options.packing = oci::Packing::none;
  if (packing == "zstd") options.packing = oci::Packing::zstd;
  if (packing != "none" && packing != "gzip" && packing != "zstd")
    throw Error(ErrorCode::usage, fmt::format("--compression {} is not known", packing), "gzip, zstd and none are");

  const store::Store store(context.store_folder());
  const Digest image = find_image(context, store, name);
  options.name = name;
  std::ranges::replace(options.name, '@', '-');
  const oci::Exported out = oci::export_image(store, image, context.folder / destination, options);
  if (json) {
    say_json({{"image", name},
              {"digest", out.digest.str()},
              {"path", (context.folder / destination).string()},
              {"reference", options.name},
              {"bytes", out.bytes}});
    return 0;
  }
  const bool file = destination.ends_with(".tar");
  say(fmt::format("{}  {}  {}", out.digest.str(), format_bytes(out.bytes), destination));
  talk(fmt::format("  read it with: skopeo inspect {}:{}:{}", file ? "oci-archive" : "oci", destination, options.name));
  return 0;
}

}  // namespace kiln::cli
