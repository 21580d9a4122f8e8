// kiln search: which images contain it, and where do they run?
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/contents.h"
#include "cli/parser.h"
#include "cli/places.h"

namespace kiln::cli {
namespace {

constexpr std::size_t kCommitDigitsMin = 6;
constexpr std::size_t kMatchesShown = 5;

bool is_hex(const std::string& text) {
  return std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

class Search {
 public:
  Search(std::string what, std::string version) : what_(std::move(what)), version_(std::move(version)) {}

  bool looks_inside() const { return !by_commit_only(); }

  // What of the image matches, in words; empty: nothing.
  std::vector<std::string> in_name(const catalog::Image& image) const {
    std::vector<std::string> found;
    if (may_be_commit() && !image.commit.empty() && image.commit.starts_with(what_))
      found.push_back("commit " + image.commit);
    if (by_digest() && image.digest.str().starts_with(what_)) found.push_back("image " + image.digest.str());
    return found;
  }

  std::vector<std::string> in_layers(const store::Image& stored) const {
    std::vector<std::string> found;
    for (const store::Blob& layer : stored.layers) {
      if (by_digest() && layer.digest.str().starts_with(what_)) found.push_back("layer " + layer.digest.str());
    }
    return found;
  }

  std::vector<std::string> in_contents(const proof::Contents& contents) const {
    std::vector<std::string> found;
    if (by_path() || by_digest()) {
      for (const auto& [name, file] : contents.files) {
        const bool matches = by_path() ? wildcard_match(what_, name)
                                       : file->type == 'f' && ("sha256:" + file->sha256).starts_with(what_);
        if (matches)
          found.push_back(fmt::format("{} {}", name, file->type == 'f' ? "sha256:" + file->sha256 : file->target));
      }
      return found;
    }
    for (const proof::Package& package : contents.packages()) {
      if (wildcard_match(what_, package.name) && proof::version_matches(package.version, version_))
        found.push_back(package.name + " " + package.version);
    }
    return found;
  }

 private:
  bool by_path() const { return what_.starts_with('/'); }
  bool by_digest() const { return what_.starts_with("sha256:"); }
  bool may_be_commit() const { return version_.empty() && what_.size() >= kCommitDigitsMin && is_hex(what_); }
  bool by_commit_only() const { return may_be_commit() && what_.size() >= 12; }

  std::string what_;
  std::string version_;
};

struct Hit {
  catalog::Image image;
  std::vector<std::string> matches;
  std::vector<Running> where;
};

nlohmann::json to_json(const std::vector<Hit>& hits, const std::vector<std::string>& not_read, const Places& places) {
  nlohmann::json list = nlohmann::json::array();
  for (const Hit& hit : hits) {
    list.push_back({{"image", hit.image.name()},
                    {"digest", hit.image.digest.str()},
                    {"standing", to_string(hit.image.standing)},
                    {"channels", hit.image.channels},
                    {"matches", hit.matches},
                    {"running", to_json(hit.where)}});
  }
  return {{"images", list}, {"not_read", not_read}, {"not_reached", places.not_reached}};
}

void print(const std::vector<Hit>& hits, const std::string& what) {
  if (hits.empty()) talk(fmt::format("no image contains {}", what));
  for (const Hit& hit : hits) {
    say(fmt::format(
        "{}{}{}", hit.image.name(), hit.image.channels.empty() ? "" : "  " + join(hit.image.channels, " "),
        hit.image.standing == catalog::Standing::usable ? "" : fmt::format("  {}", to_string(hit.image.standing))));
    for (std::size_t i = 0; i < std::min(kMatchesShown, hit.matches.size()); ++i) say("  has   " + hit.matches[i]);
    if (hit.matches.size() > kMatchesShown)
      say(fmt::format("  has   .. and {} more: --json", hit.matches.size() - kMatchesShown));
    for (const Running& one : hit.where) {
      say(fmt::format("  runs  {} × {} in {} since {}", one.instances, one.group, one.place,
                      format_iso8601(one.since)));
    }
  }
}

}  // namespace

int run_search(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false;
  std::string what, version;
  parser.flag("--json", json);
  parser.option("what", what).required();
  parser.option("version", version);
  if (!parser.parse("search", words)) return 0;
  if (const std::size_t equals = what.find('='); equals != std::string::npos && what[0] != '/' && version.empty()) {
    version = what.substr(equals + 1);
    what.resize(equals);
  }
  if (what.empty()) throw Error(ErrorCode::usage, "nothing to search for", "See: kiln help search");
  const Search search(what, version);
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  const store::Store store(context.store_folder());
  proof::ContentsReader reader = contents_reader(context, store);
  std::vector<Hit> hits;
  std::vector<std::string> not_read;
  std::map<Digest, std::vector<std::string>> known;  // several versions may have one content
  for (const catalog::Image& image : catalog::Catalog(ledger).images()) {
    Hit hit{image, search.in_name(image), {}};
    if (!store.has(image.digest)) {
      not_read.push_back(image.name());
    } else if (search.looks_inside()) {
      auto inside = known.find(image.digest);
      if (inside == known.end()) {
        std::vector<std::string> found = search.in_layers(stored_image(store, image.digest).value_or(store::Image()));
        for (std::string& match : search.in_contents(contents_of(reader, store, image)))
          found.push_back(std::move(match));
        inside = known.emplace(image.digest, std::move(found)).first;
      }
      hit.matches.insert(hit.matches.end(), inside->second.begin(), inside->second.end());
    }
    if (!hit.matches.empty()) hits.push_back(std::move(hit));
  }
  const Places places = hits.empty() ? Places() : look_at_places(context);
  for (Hit& hit : hits) hit.where = running(places, hit.image);
  if (json) {
    say_json(to_json(hits, not_read, places));
    return 0;
  }
  print(hits, version.empty() ? what : what + " " + version);
  for (const std::string& name : not_read)
    talk(fmt::format("  not read: the bytes of {} are not on this machine", name));
  for (const std::string& place : places.not_reached) talk("  not reached: " + place);
  return 0;
}

}  // namespace kiln::cli
