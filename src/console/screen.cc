// Screen: repainting by moving the cursor up.
#include "console/screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace kiln::console {

namespace {

constexpr const char* kNoWrap = "\x1b[?7l";
constexpr const char* kWrap = "\x1b[?7h";

winsize size_of(std::FILE* stream) {
  winsize size{};
  ::ioctl(::fileno(stream), TIOCGWINSZ, &size);
  return size;
}

}  // namespace

bool is_terminal(std::FILE* stream) {
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) != "dumb" && ::isatty(::fileno(stream)) == 1;
}

Style style_of(std::FILE* stream) {
  Style style;
  if (!is_terminal(stream)) return style;
  if (const winsize size = size_of(stream); size.ws_col > 0) style.width = std::max<std::size_t>(40, size.ws_col);
  const char* no_color = std::getenv("NO_COLOR");
  style.color = no_color == nullptr || *no_color == '\0';
  return style;
}

std::vector<std::string> fit(const std::vector<std::string>& lines, std::size_t rows) {
  rows = std::max<std::size_t>(3, rows);
  if (lines.size() <= rows) return lines;
  const std::size_t last = rows / 2;
  const std::size_t first = rows - last - 1;
  std::vector<std::string> kept(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(first));
  kept.push_back(fmt::format("  … {} more lines", lines.size() - first - last));
  kept.insert(kept.end(), lines.end() - static_cast<std::ptrdiff_t>(last), lines.end());
  return kept;
}

void Screen::draw(const std::vector<std::string>& all) {
  // The cursor stands in a row of its own below them.
  const winsize size = size_of(stream_);
  const std::vector<std::string> lines = size.ws_row > 0 ? fit(all, size.ws_row - 1U) : all;
  std::string out = kNoWrap;
  if (drawn_ > 0) out += fmt::format("\x1b[{}A", drawn_);
  for (const std::string& line : lines) out += "\r\x1b[2K" + line + "\n";
  // Lines of a longer picture before this one are wiped, and the cursor comes back.
  for (std::size_t i = lines.size(); i < drawn_; ++i) out += "\r\x1b[2K\n";
  if (drawn_ > lines.size()) out += fmt::format("\x1b[{}A", drawn_ - lines.size());
  out += kWrap;
  std::fwrite(out.data(), 1, out.size(), stream_);
  std::fflush(stream_);
  drawn_ = lines.size();
}

}  // namespace kiln::console
