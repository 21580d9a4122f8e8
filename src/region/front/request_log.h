// RequestLog: one line a call: when, who, where, which service and operation, how long it took, what was answered.
#pragma once

#include <string>

#include "base/time.h"
#include "region/line_log.h"

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
  explicit RequestLog(host::Path path = {}) : log_(std::move(path)) {}
  void add(const LoggedCall& call);  // from any thread

 private:
  LineLog log_;
};

}  // namespace kiln::region
