// Ignore: patterns part by part.
#include "bake/ignore.h"

#include <fnmatch.h>

#include <span>

#include "base/text.h"

namespace kiln::bake {
namespace {

using Parts = std::span<const std::string>;

// "**" stands for any number of parts. Reached from each place at most once a part of the path, because only the last
// "**" needs to be tried again; patterns are short, so plain recursion does.
bool fits(Parts pattern, Parts path) {
  if (pattern.empty()) return path.empty();
  if (pattern.front() == "**") {
    if (pattern.size() == 1) return !path.empty();
    for (std::size_t skipped = 0; skipped <= path.size(); ++skipped) {
      if (fits(pattern.subspan(1), path.subspan(skipped))) return true;
    }
    return false;
  }
  if (path.empty() || ::fnmatch(pattern.front().c_str(), path.front().c_str(), 0) != 0) return false;
  return fits(pattern.subspan(1), path.subspan(1));
}

}  // namespace

void Ignore::add_lines(std::string_view text) {
  for (const std::string& line : split(text, '\n')) add(line);
}

void Ignore::add(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  if (line.empty() || line.front() == '#') return;
  Pattern pattern;
  if (line.front() == '!') {
    pattern.takes_back = true;
    line.remove_prefix(1);
  }
  if (line.ends_with('/')) {
    pattern.folders_only = true;
    line.remove_suffix(1);
  }
  const bool from_the_top = line.find('/') != std::string_view::npos;
  if (line.starts_with('/')) line.remove_prefix(1);
  if (line.empty()) return;
  if (!from_the_top) pattern.parts.emplace_back("**");
  for (std::string& part : split(line, '/')) {
    // "**/**" says no more than "**", and would be tried again and again.
    if (part == "**" && !pattern.parts.empty() && pattern.parts.back() == "**") continue;
    pattern.parts.push_back(std::move(part));
  }
  patterns_.push_back(std::move(pattern));
}

bool Ignore::ignores(std::string_view path, bool folder) const {
  const std::vector<std::string> parts = split(path, '/');
  for (std::size_t i = patterns_.size(); i-- > 0;) {
    if (patterns_[i].folders_only && !folder) continue;
    if (fits(patterns_[i].parts, parts)) return !patterns_[i].takes_back;
  }
  return false;
}

}  // namespace kiln::bake
