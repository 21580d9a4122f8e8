// kiln diff: what differs between two images.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/contents.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "proof/difference.h"

namespace kiln::cli {
namespace {

using nlohmann::json;
using proof::Change;

constexpr std::size_t kFilesShown = 40;

// Package files and dpkg's notes follow from the packages; people look for the others first.
bool is_package_noise(const std::string& name) {
  for (const char* folder : {"/var/lib/dpkg/", "/usr/share/doc/", "/usr/share/man/", "/var/cache/", "/var/lib/apt/"}) {
    if (name.starts_with(folder)) return true;
  }
  return false;
}

json to_json(const std::vector<Change>& changes) {
  json list = json::array();
  for (const Change& change : changes) {
    list.push_back({{"name", change.name},
                    {"change", change.before.empty()  ? "added"
                               : change.after.empty() ? "removed"
                                                      : "changed"},
                    {"before", change.before.empty() ? json() : json(change.before)},
                    {"after", change.after.empty() ? json() : json(change.after)}});
  }
  return list;
}

std::vector<Change> settings_of(const store::Store& store, const catalog::Image& before, const catalog::Image& after) {
  const auto table = [&](const catalog::Image& image) {
    const auto bytes = stored_image(store, image.digest);
    // An AMI that was baked in an instance can be written.
    store::Image stored = bytes.value_or(store::Image());
    if (!bytes) stored.config.read_only_root = false;
    return std::map<std::string, std::string>{{"base", image.base},
                                              {"commit", image.commit},
                                              {"kiln", image.kiln},
                                              {"architecture", stored.config.architecture},
                                              {"root", stored.config.read_only_root ? "read-only" : "writable"},
                                              {"writable", join(stored.config.writable, " ")}};
  };
  std::vector<Change> changes;
  const auto left = table(before), right = table(after);
  for (const auto& [name, value] : left) {
    if (value != right.at(name)) changes.push_back({name, value, right.at(name)});
  }
  return changes;
}

struct LayerRow {
  std::string mark;  // "=", "-", "+"
  store::Blob blob;
  std::string step;
};

std::vector<LayerRow> layers_of(const store::Store& store, const catalog::Image& before, const catalog::Image& after) {
  const store::Image left = stored_image(store, before.digest).value_or(store::Image()),
                     right = stored_image(store, after.digest).value_or(store::Image());
  const auto has = [](const store::Image& image, const store::Blob& layer) {
    return std::ranges::find(image.layers, layer.digest, &store::Blob::digest) != image.layers.end();
  };
  std::vector<LayerRow> rows;
  const auto add = [&](const store::Image& image, const store::Image& other, const char* mark) {
    for (std::size_t i = 0; i < image.layers.size(); ++i) {
      const bool shared = has(other, image.layers[i]);
      if (shared && std::string_view(mark) == "-") continue;
      rows.push_back(
          {shared ? "=" : mark, image.layers[i], i < image.config.history.size() ? image.config.history[i] : ""});
    }
  };
  add(left, right, "-");
  add(right, left, "+");
  return rows;
}

void print(const char* title, const std::vector<Change>& changes, std::size_t most) {
  if (changes.empty()) return;
  say(fmt::format("{} ({})", title, changes.size()));
  std::size_t shown = 0;
  for (const Change& change : changes) {
    if (shown++ == most) {
      say(fmt::format("  .. and {} more: --json, or --all", changes.size() - most));
      return;
    }
    if (change.before.empty()) {
      say(fmt::format("  + {}  {}", change.name, change.after));
    } else if (change.after.empty()) {
      say(fmt::format("  - {}  {}", change.name, change.before));
    } else {
      say(fmt::format("  ~ {}  {} → {}", change.name, change.before, change.after));
    }
  }
}

}  // namespace

int run_diff(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool as_json = false, all = false;
  std::string first, second;
  parser.flag("--json", as_json);
  parser.flag("--all", all);
  parser.option("before", first).required();
  parser.option("after", second).required();
  if (!parser.parse("diff", words)) return 0;
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  const catalog::Catalog catalog(ledger);
  const std::string app = std::filesystem::exists(context.folder / "kiln.yaml") ? load_app(context).name : "";
  const catalog::Image before = catalog.find(first, app), after = catalog.find(second, app);
  const store::Store store(context.store_folder());
  proof::ContentsReader reader = contents_reader(context, store);
  proof::Difference found = proof::difference(contents_of(reader, store, before), contents_of(reader, store, after));
  const std::vector<Change> settings = settings_of(store, before, after);
  const std::vector<LayerRow> layers = layers_of(store, before, after);
  if (as_json) {
    json rows = json::array();
    for (const LayerRow& row : layers) {
      rows.push_back({{"in", row.mark == "="   ? "both"
                             : row.mark == "-" ? "before"
                                               : "after"},
                      {"digest", row.blob.digest.str()},
                      {"size_bytes", row.blob.size_bytes},
                      {"step", row.step}});
    }
    say_json({{"before", before.name()},
              {"after", after.name()},
              {"same", before.digest == after.digest},
              {"size_bytes", {{"before", before.size_bytes}, {"after", after.size_bytes}}},
              {"packages", to_json(found.packages)},
              {"units", to_json(found.units)},
              {"files", to_json(found.files)},
              {"settings", to_json(settings)},
              {"layers", rows}});
    return 0;
  }
  say(fmt::format("{} → {}  {} → {}{}", before.name(), after.name(), format_bytes(before.size_bytes),
                  format_bytes(after.size_bytes), before.digest == after.digest ? "  the same content" : ""));
  if (!all) std::erase_if(found.files, [](const Change& change) { return is_package_noise(change.name); });
  print("settings", settings, settings.size());
  print("packages", found.packages, found.packages.size());
  print("units", found.units, found.units.size());
  print("files", found.files, all ? found.files.size() : kFilesShown);
  say("layers");
  for (const LayerRow& row : layers) {
    say(fmt::format("  {} {}  {:>8}  {}", row.mark, row.blob.digest.short_str(), format_bytes(row.blob.size_bytes),
                    row.step));
  }
  return 0;
}

}  // namespace kiln::cli
