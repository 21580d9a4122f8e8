// Screen: repainting by moving the cursor up.
#include "console/screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace kiln::console {

bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

Style style_of(std::FILE* stream) {
  Style style;
  if (!is_terminal(stream)) return style;
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    style.width = std::max<std::size_t>(40, size.ws_col);
  }
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  style.color = (no_color == nullptr || *no_color == '\0') && term != nullptr && std::string_view(term) != "dumb";
  return style;
}

void Screen::draw(const std::vector<std::string>& lines) {
  std::string out;
  if (drawn_ > 0) out += fmt::format("\x1b[{}A", drawn_);
  for (const std::string& line : lines) out += "\r\x1b[2K" + line + "\n";
  // Lines of a longer picture before this one are wiped, and the cursor comes back.
  for (std::size_t i = lines.size(); i < drawn_; ++i) out += "\r\x1b[2K\n";
  if (drawn_ > lines.size()) out += fmt::format("\x1b[{}A", drawn_ - lines.size());
  std::fwrite(out.data(), 1, out.size(), stream_);
  std::fflush(stream_);
  drawn_ = lines.size();
}

}  // namespace kiln::console
