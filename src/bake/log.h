// BakeLog: the whole output of one bake, kept as a file. Private to this room.
#pragma once

#include <fstream>
#include <string>
#include <string_view>

#include "base/time.h"
#include "host/file.h"

namespace kiln::bake {

inline constexpr std::size_t kLogsMax = 100;  // older ones go when a new one begins

class BakeLog {
 public:
  // Makes nothing yet: a bake that runs nothing leaves no log. `name` is the app's.
  BakeLog(const host::Path& folder, const std::string& name, Time started);
  void begin_step(std::string_view step);
  void write(std::string_view output);
  const host::Path& path() const { return path_; }
  // The end of what the step has written, at most 16 KiB.
  const std::string& tail() const { return tail_; }

 private:
  void open();

  host::Path folder_;
  host::Path path_;
  std::ofstream file_;
  std::string tail_;
};

}  // namespace kiln::bake
