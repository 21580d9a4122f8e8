// BakeLog: the whole output of one bake, kept as a folder with a file a step. Private to this room.
#pragma once

#include <fstream>
#include <mutex>
#include <string>
#include <string_view>

#include "base/time.h"
#include "host/file.h"

namespace kiln::bake {

inline constexpr std::size_t kLogsMax = 100;  // bakes; older ones go when a new one begins

// The output of one step, in a file of its own: steps run side by side.
class StepLog {
 public:
  StepLog(host::Path path, std::string_view step);
  void write(std::string_view output);
  const host::Path& path() const { return path_; }
  // The end of what the step has written, at most 16 KiB.
  const std::string& tail() const { return tail_; }

 private:
  host::Path path_;
  std::ofstream file_;
  std::string tail_;
};

class BakeLog {
 public:
  // Makes nothing yet: a bake that runs nothing leaves no log. `name` is the app's.
  BakeLog(const host::Path& folder, const std::string& name, Time started);
  // Of layer `index`. Safe from several threads.
  StepLog begin_step(std::size_t index, std::string_view step);
  const host::Path& path() const { return path_; }  // a folder with a file a step: "02-packages.log"

 private:
  host::Path folder_;
  host::Path path_;
  std::once_flag made_;
};

}  // namespace kiln::bake
