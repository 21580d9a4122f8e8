// Difference: sorted maps compared, name by name.
#include "proof/difference.h"

#include <fmt/format.h>

namespace kiln::proof {
namespace {

std::string describe(const FileRecord* file) {
  return fmt::format("{} {:04o} {}:{}{}", file->type, file->mode, file->uid, file->gid,
                     file->type == 'f'   ? fmt::format(" {} sha256:{}", file->size_bytes, file->sha256)
                     : file->type == 'l' ? " " + file->target
                                         : "");
}
bool same(const FileRecord* a, const FileRecord* b) { return a == b || *a == *b; }  // most stand in a shared layer

const std::string& describe(const std::string& text) { return text; }
bool same(const std::string& a, const std::string& b) { return a == b; }

template <typename Map>
std::vector<Change> compare(const Map& before, const Map& after) {
  std::vector<Change> changes;
  auto left = before.begin();
  auto right = after.begin();
  while (left != before.end() || right != after.end()) {
    if (right == after.end() || (left != before.end() && left->first < right->first)) {
      changes.push_back({std::string(left->first), describe(left->second), ""});
      ++left;
    } else if (left == before.end() || right->first < left->first) {
      changes.push_back({std::string(right->first), "", describe(right->second)});
      ++right;
    } else {
      if (!same(left->second, right->second))
        changes.push_back({std::string(left->first), describe(left->second), describe(right->second)});
      ++left;
      ++right;
    }
  }
  return changes;
}

std::map<std::string, std::string> versions_of(const Contents& contents) {
  const std::vector<Package> packages = contents.packages();  // sorted by name
  std::map<std::string, std::string> versions;
  for (std::size_t i = 0; i < packages.size(); ++i) {
    const bool several = (i > 0 && packages[i - 1].name == packages[i].name) ||
                         (i + 1 < packages.size() && packages[i + 1].name == packages[i].name);
    versions[several ? packages[i].name + ":" + packages[i].architecture : packages[i].name] = packages[i].version;
  }
  return versions;
}

}  // namespace

Difference difference(const Contents& before, const Contents& after) {
  return {compare(versions_of(before), versions_of(after)), compare(before.units, after.units),
          compare(before.files, after.files)};
}

}  // namespace kiln::proof
