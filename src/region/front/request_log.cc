// RequestLog: a bounded file.
#include "region/front/request_log.h"

#include <fmt/format.h>

namespace kiln::region {

void RequestLog::add(Time when, const std::string& caller, const std::string& service, const std::string& operation,
                     Duration took, int status, const std::string& outcome) {
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
  file_ << fmt::format("{} {} {} {} {} ms {} {}\n", format_iso8601(when), caller.empty() ? "-" : caller,
                       service.empty() ? "-" : service, operation.empty() ? "-" : operation, took.count(), status,
                       outcome)
        << std::flush;
}

}  // namespace kiln::region
