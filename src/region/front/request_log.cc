// RequestLog: a bounded file.
#include "region/front/request_log.h"

#include <fmt/format.h>

namespace kiln::region {
namespace {

// One word of a line, whatever a stranger has sent: names are written down before the signature is looked at.
std::string field(const std::string& text) {
  constexpr std::size_t kMax = 200;  // AWS's longest operation has 60
  std::string out;
  for (const char c : text.substr(0, kMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte >= 0x7f || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  if (text.size() > kMax) out += "...";
  return out.empty() ? "-" : out;
}

}  // namespace

void RequestLog::add(const LoggedCall& call) {
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
  file_ << fmt::format("{} {} {} {} {} {} ms {} {}\n", format_iso8601(call.when), field(call.caller),
                       field(call.region), field(call.service), field(call.operation), call.took.count(), call.status,
                       field(call.outcome))
        << std::flush;
}

}  // namespace kiln::region
