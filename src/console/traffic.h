// Traffic: what a load generator saw in the last second, as it tells others through a small file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/time.h"
#include "host/file.h"

namespace kiln::console {

struct Traffic {
  Time at{};
  std::map<std::string, std::uint64_t> requests;  // of the last second, by the version that answered
  std::uint64_t failed = 0;                       // since the load began
  std::uint64_t total = 0;                        // since the load began
  double p99_ms = 0;                              // of the last second

  std::uint64_t per_second() const;
};

// Replaces the file as a whole; a reader never sees half of it. Not durable: it is worth a second.
void write_traffic(const host::Path& path, const Traffic& traffic);
// nullopt when there is none, it cannot be read, or it is older than 3 s.
std::optional<Traffic> read_traffic(const host::Path& path, Time now);

}  // namespace kiln::console
