// Screen: lines that are drawn over and over at the same place of a terminal.
//
// A line that is wider than the terminal is clipped there, never wrapped, and no more lines are drawn than it has rows:
// what wraps or scrolls is out of the cursor's reach, and would be left behind by every repainting.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "console/picture.h"

namespace kiln::console {

// A terminal whose cursor can be moved: TERM=dumb gets plain lines, like a file.
bool is_terminal(std::FILE* stream);
// How wide is it, and may it be coloured (NO_COLOR)?
Style style_of(std::FILE* stream);

// At most `rows` lines: those in the middle give way to one that says how many they are. `rows` is 3 at the least.
std::vector<std::string> fit(const std::vector<std::string>& lines, std::size_t rows);

class Screen {
 public:
  explicit Screen(std::FILE* stream) : stream_(stream) {}
  // Replaces what the last call drew. Nothing else may be printed between two calls without `keep`.
  void draw(const std::vector<std::string>& lines);
  // Leaves what is drawn where it is; the next `draw` begins below.
  void keep() { drawn_ = 0; }

 private:
  std::FILE* stream_;
  std::size_t drawn_ = 0;
};

}  // namespace kiln::console
