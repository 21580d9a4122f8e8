// Record: JSON there and back, and the comparison.
#include "bake/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace kiln::bake {
namespace {

constexpr std::size_t kNamedMax = 8;  // further changes are only counted

host::Path path_of(const host::Path& cache, const std::string& app) { return cache / "bakes" / (app + ".json"); }

std::string what_is(const InputEntry& entry) {
  switch (entry.kind) {
    case InputEntry::Kind::folder:
      return "folder";
    case InputEntry::Kind::link:
      return "link to " + entry.target;
    case InputEntry::Kind::file:
      return entry.content.hex() + (entry.executable ? " x" : "");
  }
  return {};
}

void compare(const std::map<std::string, std::string>& before, const std::map<std::string, std::string>& now,
             const char* versions_of, std::vector<std::string>& why) {
  std::vector<std::string> changes;
  for (const auto& [name, value] : now) {
    const auto was = before.find(name);
    const std::string shown = versions_of + (name.empty() ? std::string("the file") : name);
    if (was == before.end()) {
      changes.push_back(shown + " is new");
    } else if (was->second != value) {
      changes.push_back(*versions_of == '\0' ? shown + " changed" : shown + ": " + was->second + ", now " + value);
    }
  }
  for (const auto& [name, value] : before) {
    if (!now.contains(name)) changes.push_back(versions_of + name + " is gone");
  }
  if (changes.size() > kNamedMax) {
    const std::size_t more = changes.size() - kNamedMax;
    changes.resize(kNamedMax);
    changes.push_back(fmt::format("and {} more", more));
  }
  why.insert(why.end(), changes.begin(), changes.end());
}

const RecordedLayer* match(const std::string& text, const std::vector<RecordedLayer>& record) {
  const auto found = std::ranges::find(record, text, &RecordedLayer::text);
  return found == record.end() ? nullptr : &*found;
}

std::string first_word(const std::string& text) { return text.substr(0, text.find(' ')); }

void compare_below(const RecordedLayer& now, const RecordedLayer& last, const std::vector<RecordedLayer>& record,
                   std::vector<std::string>& why) {
  if (now.below == last.below) return;
  for (const Digest& content : last.below) {
    if (std::ranges::find(now.below, content) != now.below.end()) continue;
    const auto gone = std::ranges::find(record, content, &RecordedLayer::content);
    why.push_back(gone == record.end() ? "a layer below it changed"
                                       : fmt::format("'{}' below it is another, or gone", gone->text));
  }
  if (why.empty()) why.emplace_back("it stands on other layers, or in another order");
}

}  // namespace

std::optional<std::vector<RecordedLayer>> read_record(const host::Path& cache, const std::string& app) {
  if (!std::filesystem::exists(path_of(cache, app))) return std::nullopt;
  try {
    std::vector<RecordedLayer> record;
    for (const auto& entry : nlohmann::json::parse(host::read_file(path_of(cache, app)))) {
      RecordedLayer layer{.text = entry.at("text"),
                          .recipe = Digest::parse(entry.at("recipe").get<std::string>()),
                          .content = Digest::parse(entry.at("content").get<std::string>()),
                          .below = {},
                          .inputs = entry.at("inputs"),
                          .locked = entry.at("locked")};
      for (const std::string digest : entry.at("below")) layer.below.push_back(Digest::parse(digest));
      record.push_back(std::move(layer));
    }
    return record;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void write_record(const host::Path& cache, const std::string& app, const std::vector<RecordedLayer>& record) {
  auto json = nlohmann::json::array();
  for (const RecordedLayer& layer : record) {
    auto below = nlohmann::json::array();
    for (const Digest& digest : layer.below) below.push_back(digest.str());
    json.push_back({{"text", layer.text},
                    {"recipe", layer.recipe.str()},
                    {"content", layer.content.str()},
                    {"below", below},
                    {"inputs", layer.inputs},
                    {"locked", layer.locked}});
  }
  const std::string text = json.dump(1) + "\n";
  const host::Path path = path_of(cache, app);
  if (std::filesystem::exists(path) && host::read_file(path) == text) return;
  host::make_folders(path.parent_path());
  host::write_file(path, text);
}

RecordedLayer recorded(const PlannedLayer& layer, const std::vector<Digest>& below) {
  RecordedLayer made{.text = layer.text,
                     .recipe = layer.recipe,
                     .content = {},
                     .below = below,
                     .inputs = {},
                     .locked = layer.locked.value_or(Versions{})};
  const auto* copy = layer.step == nullptr ? nullptr : std::get_if<spec::CopyStep>(&layer.step->action);
  for (const InputEntry& entry : layer.inputs) {
    host::Path name = copy->from;
    if (!entry.name.empty()) name /= entry.name;
    made.inputs[name.string()] = what_is(entry);
  }
  return made;
}

std::vector<std::string> reasons(const RecordedLayer& now, const std::vector<RecordedLayer>& record,
                                 std::size_t index) {
  std::vector<std::string> why;
  const RecordedLayer* last = match(now.text, record);
  if (last == nullptr) {
    const bool changed = index < record.size() && first_word(record[index].text) == first_word(now.text);
    return {changed ? fmt::format("the step changed; it was '{}'", record[index].text) : "the step is new"};
  }
  compare(last->inputs, now.inputs, "", why);
  if (last->locked.empty() != now.locked.empty())
    why.push_back(fmt::format("{} {} it", kLockFile, now.locked.empty() ? "no longer names" : "now names"));
  else
    compare(last->locked, now.locked, "version of ", why);
  if (why.empty() && last->recipe != now.recipe) why.emplace_back("its settings changed");
  if (why.empty()) compare_below(now, *last, record, why);
  return why;
}

}  // namespace kiln::bake
