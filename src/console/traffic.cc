// Traffic: the file between a load generator and a live screen.
#include "console/traffic.h"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kiln::console {

std::uint64_t Traffic::per_second() const {
  std::uint64_t sum = 0;
  for (const auto& [version, count] : requests) sum += count;
  return sum;
}

void write_traffic(const host::Path& path, const Traffic& traffic) {
  nlohmann::json json = {{"at", format_iso8601(traffic.at)},
                         {"requests", traffic.requests},
                         {"failed", traffic.failed},
                         {"total", traffic.total},
                         {"p99_ms", traffic.p99_ms}};
  std::string temporary = path.string() + ".new";
  std::ofstream(temporary) << json.dump() << "\n";
  std::rename(temporary.c_str(), path.c_str());
}

std::optional<Traffic> read_traffic(const host::Path& path, Time now) {
  try {
    nlohmann::json json = nlohmann::json::parse(host::read_file(path));
    Traffic traffic;
    traffic.at = parse_iso8601(json.at("at").get<std::string>());
    traffic.requests = json.at("requests").get<std::map<std::string, std::uint64_t>>();
    traffic.failed = json.at("failed").get<std::uint64_t>();
    traffic.total = json.at("total").get<std::uint64_t>();
    traffic.p99_ms = json.at("p99_ms").get<double>();
    if (now - traffic.at > std::chrono::seconds(3)) return std::nullopt;
    return traffic;
  } catch (const Error&) {
    return std::nullopt;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace kiln::console
