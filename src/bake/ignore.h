// Ignore: which files of a folder a copy leaves out, in the words of a .gitignore. Private to this room.
//
// A line is a pattern: '*' and '?' stop at a '/', '**' does not, '[a-z]' is one character; with a '/' at its beginning
// or inside it is meant from the top, else anywhere; a '/' at its end means folders only; '!' takes back what a line
// above named. Lines that begin with '#' and empty ones say nothing. What is in a folder that is left out cannot be
// taken back. The last pattern that fits decides.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kiln::bake {

class Ignore {
 public:
  void add_lines(std::string_view text);
  void add(std::string_view line);
  // `path` is relative to the top, without a '/' at its ends. Its parents are not asked: whoever walks does that.
  bool ignores(std::string_view path, bool folder) const;
  bool empty() const { return patterns_.empty(); }

 private:
  struct Pattern {
    std::vector<std::string> parts;  // between the '/'
    bool takes_back = false;
    bool folders_only = false;
  };
  std::vector<Pattern> patterns_;
};

inline constexpr const char* kIgnoreFile = ".kilnignore";

}  // namespace kiln::bake
