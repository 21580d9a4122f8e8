// LineLog: a bounded file.
#include "region/line_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

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
  constexpr off_t kBytesMax = 1 << 20;
  const auto open = [&] {
    file_ = host::FileDescriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  };
  const std::string whole = line + "\n";
  std::lock_guard lock(mutex_);
  if (!file_) open();
  if (::lseek(file_.get(), 0, SEEK_END) > kBytesMax) {
    std::error_code ignored;  // a log that cannot be turned over goes on as it is
    std::filesystem::rename(path_, path_.string() + ".old", ignored);
    open();
  }
  // Whole or not at all, but for a disk that fills up in the middle of it.
  while (::write(file_.get(), whole.data(), whole.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace kiln::region
