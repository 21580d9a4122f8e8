// LineLog: a file of lines that stays small: at 1 MiB it becomes `<path>.old`, of which there is one.
//
// A line is there when `add` returns and outlives the process, not a power cut. One for which there is no room is lost;
// nobody fails for it, and later ones are written again.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "host/file.h"

namespace kiln::region {

class LineLog {
 public:
  // Nothing is written without a path.
  explicit LineLog(host::Path path = {}) : path_(std::move(path)) {}
  // From any thread. `line` has no line break.
  void add(const std::string& line);

 private:
  host::Path path_;
  std::mutex mutex_;
  host::FileDescriptor file_;
};

// Text of a stranger's as a part of a line: control characters, bytes beyond ASCII and '\' as "\x0a".
std::string printable(std::string_view text);

}  // namespace kiln::region
