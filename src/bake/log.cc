// BakeLog: appending, and keeping the end at hand.
#include "bake/log.h"

#include <fmt/format.h>

#include "host/process.h"

namespace kiln::bake {
namespace {
constexpr std::size_t kTailBytes = std::size_t{16} << 10;
}

StepLog::StepLog(host::Path path, std::string_view step) : path_(std::move(path)), file_(path_, std::ios::app) {
  file_ << "=== " << step << '\n' << std::flush;
}

void StepLog::write(std::string_view output) {
  file_ << output << std::flush;
  tail_ += output;
  if (tail_.size() > 2 * kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
}

BakeLog::BakeLog(const host::Path& folder, const std::string& name, Time started)
    : folder_(std::filesystem::absolute(folder)),
      path_(folder_ / fmt::format("{}-{}-{}", format_basic_iso8601(started), host::self().pid, name)) {}

StepLog BakeLog::begin_step(std::size_t index, std::string_view step) {
  std::call_once(made_, [&] {
    host::make_folders(folder_);
    // Names begin with the time, so that the first are the oldest.
    const auto names = host::list_folder(folder_);
    for (std::size_t i = 0; i + kLogsMax <= names.size(); ++i) host::remove_tree(folder_ / names[i]);
    host::make_folders(path_);
  });
  return {path_ / fmt::format("{:02}-{}.log", index, step.substr(0, step.find(' '))), step};
}

}  // namespace kiln::bake
