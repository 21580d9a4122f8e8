// AmiWords: to metadata and back.
#include "cli/ami_words.h"

#include <algorithm>

#include "base/text.h"

namespace kiln::cli {
namespace {

constexpr const char* kName = "kiln:ami-name";
constexpr const char* kDescription = "kiln:ami-description";
constexpr const char* kUsers = "kiln:ami-users";
constexpr const char* kGroups = "kiln:ami-groups";
constexpr const char* kRegions = "kiln:ami-regions";

void keep(std::map<std::string, std::string>& metadata, const char* key, const std::string& value) {
  if (!value.empty()) metadata[key] = value;
}

std::string take(std::map<std::string, std::string>& metadata, const char* key) {
  auto node = metadata.extract(key);
  return node.empty() ? std::string() : std::move(node.mapped());
}

std::vector<std::string> take_list(std::map<std::string, std::string>& metadata, const char* key) {
  std::vector<std::string> out = split(take(metadata, key), ',');
  std::erase(out, "");
  return out;
}

}  // namespace

AmiWords words_of(const packer::AmiWish& wish, const packer::SourceImage& source) {
  AmiWords words;
  words.name = wish.name;
  words.description = packer::finished(wish.description, source);
  words.users = wish.users;
  words.groups = wish.groups;
  for (const std::string& region : wish.copy_to) {
    if (region != wish.region) words.regions.push_back(region);
  }
  return words;
}

void keep_words(const AmiWords& words, std::map<std::string, std::string>& metadata) {
  keep(metadata, kName, words.name);
  keep(metadata, kDescription, words.description);
  keep(metadata, kUsers, join(words.users, ","));
  keep(metadata, kGroups, join(words.groups, ","));
  keep(metadata, kRegions, join(words.regions, ","));
}

AmiWords take_words(std::map<std::string, std::string>& metadata) {
  return {take(metadata, kName), take(metadata, kDescription), take_list(metadata, kUsers),
          take_list(metadata, kGroups), take_list(metadata, kRegions)};
}

}  // namespace kiln::cli
