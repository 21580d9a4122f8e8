// Gc: rules from the strongest to the weakest; the first that keeps an image names itself.
#include "catalog/gc.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace kiln::catalog {
namespace {

std::map<Digest, std::string> referenced(const GcFacts& facts) {
  std::map<Digest, std::string> why;
  for (const Reference& reference : facts.references) why.try_emplace(reference.digest, reference.why);
  for (const Image& image : facts.view.images) {
    if (image.standing == Standing::gone || image.channels.empty()) continue;
    why.try_emplace(image.digest, fmt::format("the channel {} points at {}", image.channels.front(), image.name()));
  }
  return why;
}

std::set<const Image*> newest_of_each_app(const View& view, std::size_t keep) {
  std::map<std::string, std::size_t> counts;
  std::set<const Image*> newest;
  for (const Image& image : view.images) {
    if (image.deployable() && counts[image.app]++ < keep) newest.insert(&image);
  }
  return newest;
}

std::string days(Duration duration) {
  return duration % std::chrono::hours(24) == Duration(0) && duration > Duration(0)
             ? fmt::format("{} days", duration / std::chrono::hours(24))
             : format_duration(duration);
}

Verdict judge(const Image& image, const GcFacts& facts, const GcRules& rules,
              const std::map<Digest, std::string>& references, const std::set<const Image*>& newest) {
  if (const auto found = references.find(image.digest); found != references.end()) {
    return {image, Fate::keep, found->second};
  }
  if (!rules.app.empty() && image.app != rules.app) return {image, Fate::keep, "it is another app's"};
  if (!facts.not_reached.empty() && !image.placements.empty()) {
    return {image, Fate::keep, fmt::format("it may be in use where nobody could look: {}", facts.not_reached.front())};
  }
  if (image.standing == Standing::aside) {
    const Time until = image.stood.when + rules.grace;
    if (until > facts.now) return {image, Fate::wait, fmt::format("aside until {}", format_iso8601(until))};
    return {image, Fate::remove, fmt::format("aside since {}: {}", format_iso8601(image.stood.when), image.stood.why)};
  }
  if (newest.contains(&image)) return {image, Fate::keep, fmt::format("one of the {} newest", rules.keep)};
  if (image.built + rules.older > facts.now) {
    return {image, Fate::keep, fmt::format("younger than {}", days(rules.older))};
  }
  return {image, rules.grace > Duration(0) ? Fate::put_aside : Fate::remove, "nothing refers to it"};
}

bool stays(const Verdict& verdict) { return verdict.fate != Fate::remove && verdict.fate != Fate::put_aside; }

// One kept version keeps all names of the content, and a kept child keeps what it is made of.
bool keep_kin(std::vector<Verdict>& verdicts) {
  bool changed = false;
  for (const Verdict& kept : verdicts) {
    for (Verdict& other : verdicts) {
      if (other.fate == Fate::keep) continue;
      std::string why;
      if (kept.fate == Fate::keep && kept.image.digest == other.image.digest) {
        why = fmt::format("{} has the same content", kept.image.name());
      } else if (stays(kept) && other.fate != Fate::wait && is_made_from(kept.image, other.image)) {
        why = fmt::format("{} is made from it", kept.image.name());
      } else {
        continue;
      }
      other.fate = Fate::keep;
      other.why = why;
      changed = true;
    }
  }
  return changed;
}

}  // namespace

std::string_view to_string(Fate fate) {
  switch (fate) {
    case Fate::keep:
      return "keep";
    case Fate::wait:
      return "wait";
    case Fate::put_aside:
      return "put aside";
    case Fate::remove:
      return "remove";
  }
  return "unknown";
}

std::optional<std::string> needed(const GcFacts& facts, const Image& image) {
  const auto references = referenced(facts);
  if (const auto found = references.find(image.digest); found != references.end()) return found->second;
  for (const Image& child : facts.view.images) {
    if (child.deployable() && is_made_from(child, image)) return fmt::format("{} is made from it", child.name());
  }
  return std::nullopt;
}

bool is_made_from(const Image& child, const Image& parent) {
  if (child.digest == parent.digest) return false;
  if (child.base == parent.name() || child.base.find(parent.digest.str()) != std::string::npos) return true;
  return std::ranges::any_of(child.metadata, [&](const auto& tag) { return tag.second == parent.digest.str(); });
}

std::vector<Verdict> plan_gc(const GcFacts& facts, const GcRules& rules) {
  const auto references = referenced(facts);
  const auto newest = newest_of_each_app(facts.view, rules.keep);
  std::vector<Verdict> verdicts;
  for (const Image& image : facts.view.images) {
    if (image.standing != Standing::gone) verdicts.push_back(judge(image, facts, rules, references, newest));
  }
  while (keep_kin(verdicts)) {
  }
  return verdicts;
}

}  // namespace kiln::catalog
