// RequestLog: a call as a line.
#include "region/front/request_log.h"

#include <fmt/format.h>

namespace kiln::region {
namespace {

// One word of a line, whatever a stranger has sent: names are written down before the signature is looked at.
std::string field(const std::string& text) {
  constexpr std::size_t kMax = 200;  // AWS's longest operation has 60
  std::string out;
  for (const char c : printable(text.substr(0, kMax))) {
    out += c == ' ' ? "\\x20" : std::string(1, c);
  }
  if (text.size() > kMax) out += "...";
  return out.empty() ? "-" : out;
}

}  // namespace

void RequestLog::add(const LoggedCall& call) {
  log_.add(fmt::format("{} {} {} {} {} {} ms {} {}", format_iso8601(call.when), field(call.caller), field(call.region),
                       field(call.service), field(call.operation), call.took.count(), call.status,
                       field(call.outcome)));
}

}  // namespace kiln::region
