// RequestLog: one line a call: when, who, which service and operation, how long it took, what was answered.
#pragma once

#include <fstream>
#include <mutex>
#include <string>

#include "base/time.h"
#include "host/file.h"

namespace kiln::region {

class RequestLog {
 public:
  // Nothing is written without a path. At 1 MiB the file becomes `<path>.old`, of which there is one.
  explicit RequestLog(host::Path path = {}) : path_(std::move(path)) {}
  // From any thread. `outcome` is "ok" or AWS's error code.
  void add(Time when, const std::string& caller, const std::string& service, const std::string& operation,
           Duration took, int status, const std::string& outcome);

 private:
  host::Path path_;
  std::mutex mutex_;
  std::ofstream file_;
};

}  // namespace kiln::region
