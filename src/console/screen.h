// Screen: lines that are drawn over and over at the same place of a terminal.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "console/picture.h"

namespace kiln::console {

// Is it a terminal, how wide, and may it be coloured (NO_COLOR, TERM=dumb)?
bool is_terminal(std::FILE* stream);
Style style_of(std::FILE* stream);

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
