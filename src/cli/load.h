// Load: requests at a steady rate, every answer checked.
//
// Requests are sent at their appointed times whether or not earlier ones have been answered (open loop, as far as its
// connections reach), and latency counts from the appointed time: a slow server cannot hide by slowing the sender.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "host/clock.h"

namespace kiln::cli {

struct LoadOptions {
  std::string url;          // http://127.77.0.1:8080/path
  double rate = 500;        // requests a second, over all connections
  int connections = 16;     // one thread and one keep-alive connection each
  int status = 200;         // what an answer must have
  std::string contains;     // what its body must hold; empty: anything
  std::string status_file;  // rewritten each second (console/traffic.h); empty: none
};

struct LoadReport {
  std::uint64_t sent = 0;
  std::uint64_t failed = 0;
  std::map<std::string, std::uint64_t> by_version;  // answers by the first "1.2.3" in their body; "" without one
  std::vector<std::string> failures;                // the first 20: when, and what was wrong
  double p50_ms = 0, p99_ms = 0, max_ms = 0;
  Duration took{};
  double per_second() const;
};

class Load {
 public:
  Load(LoadOptions options, host::Clock& clock);
  ~Load();  // stops
  void start();
  // Waits for the requests under way (at most their time-out of 10 s) and counts what there was.
  LoadReport stop();
  LoadReport report() const;  // so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::cli
