// RequestLog: one line a call: when, who, where, which service and operation, how long it took, what was answered.
#pragma once

#include <fstream>
#include <mutex>
#include <string>

#include "base/time.h"
#include "host/file.h"

namespace kiln::region {

struct LoggedCall {
  Time when{};
  std::string caller;  // the access key
  std::string region;
  std::string service;
  std::string operation;
  Duration took{0};
  int status = 0;
  std::string outcome;  // "ok" or AWS's error code
};

class RequestLog {
 public:
  // Nothing is written without a path. At 1 MiB the file becomes `<path>.old`, of which there is one.
  explicit RequestLog(host::Path path = {}) : path_(std::move(path)) {}
  void add(const LoggedCall& call);  // from any thread

 private:
  host::Path path_;
  std::mutex mutex_;
  std::ofstream file_;
};

}  // namespace kiln::region
