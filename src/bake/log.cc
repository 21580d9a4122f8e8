// BakeLog: appending, and keeping the end at hand.
#include "bake/log.h"

#include <fmt/format.h>

#include "host/process.h"

namespace kiln::bake {
namespace {
constexpr std::size_t kTailBytes = std::size_t{16} << 10;
}

BakeLog::BakeLog(const host::Path& folder, const std::string& name, Time started)
    : folder_(std::filesystem::absolute(folder)),
      path_(folder_ / fmt::format("{}-{}-{}.log", format_basic_iso8601(started), host::self().pid, name)) {}

void BakeLog::begin_step(std::string_view step) {
  open();
  tail_.clear();
  file_ << "=== " << step << '\n' << std::flush;
}

void BakeLog::write(std::string_view output) {
  file_ << output << std::flush;
  tail_ += output;
  if (tail_.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
}

void BakeLog::open() {
  if (file_.is_open()) return;
  host::make_folders(folder_);
  // Names begin with the time, so that the first are the oldest.
  const auto names = host::list_folder(folder_);
  for (std::size_t i = 0; i + kLogsMax <= names.size(); ++i) host::remove_tree(folder_ / names[i]);
  file_.open(path_, std::ios::app);
}

}  // namespace kiln::bake
