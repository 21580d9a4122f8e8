// LineLog: a bounded file.
#include "region/line_log.h"

#include <fmt/format.h>

namespace kiln::region {

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte >= 0x7f || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

void LineLog::add(const std::string& line) {
  if (path_.empty()) return;
  constexpr std::streamoff kBytesMax = 1 << 20;
  std::lock_guard lock(mutex_);
  if (!file_.is_open()) file_.open(path_, std::ios::app);
  if (file_.tellp() > kBytesMax) {
    file_.close();
    std::error_code ignored;  // a log that cannot be turned over goes on as it is
    std::filesystem::rename(path_, path_.string() + ".old", ignored);
    file_.open(path_, std::ios::app);
  }
  file_ << line << '\n' << std::flush;
}

}  // namespace kiln::region
