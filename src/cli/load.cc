// Load: requests at a steady rate, every answer checked.
#include "cli/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "console/traffic.h"
#include "http/client.h"

namespace kiln::cli {
namespace {

using Steady = std::chrono::steady_clock;
constexpr std::size_t kFailuresKept = 20;

// Latencies in buckets that grow by 5 %: quantiles within that, in constant memory.
class Histogram {
 public:
  void add(double ms) {
    std::size_t bucket = 0;
    for (double edge = 0.05; edge < ms && bucket + 1 < counts_.size(); edge *= 1.05) ++bucket;
    ++counts_[bucket];
    ++total_;
    max_ = std::max(max_, ms);
  }
  double quantile(double q) const {
    std::uint64_t wanted = static_cast<std::uint64_t>(q * static_cast<double>(total_));
    std::uint64_t seen = 0;
    double edge = 0.05;
    for (std::uint64_t count : counts_) {
      seen += count;
      if (seen > wanted) return std::min(edge, max_);
      edge *= 1.05;
    }
    return max_;
  }
  double max() const { return max_; }
  void clear() { *this = Histogram(); }

 private:
  std::array<std::uint64_t, 280> counts_{};  // 0.05 ms x 1.05^280: 43 s
  std::uint64_t total_ = 0;
  double max_ = 0;
};

// The first "1.2.3" in a body.
std::string version_in(std::string_view body) {
  auto digit = [&](std::size_t i) { return i < body.size() && std::isdigit(static_cast<unsigned char>(body[i])) != 0; };
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (!digit(i) || (i > 0 && (digit(i - 1) || body[i - 1] == '.'))) continue;
    std::size_t end = i;
    int dots = 0;
    while (digit(end) || (end < body.size() && body[end] == '.' && digit(end + 1) && dots < 2)) {
      if (body[end] == '.') ++dots;
      ++end;
    }
    if (dots == 2) return std::string(body.substr(i, end - i));
  }
  return {};
}

struct Target {
  std::string origin;
  std::string path;
};

Target target_of(const std::string& url) {
  if (!url.starts_with("http://") && !url.starts_with("https://")) {
    throw Error(ErrorCode::usage, fmt::format("'{}' is not an URL", url), "Write it as http://127.0.0.1:8080/path");
  }
  std::size_t slash = url.find('/', url.find("://") + 3);
  if (slash == std::string::npos) return {url, "/"};
  return {url.substr(0, slash), url.substr(slash)};
}

}  // namespace

double LoadReport::per_second() const {
  return took.count() == 0 ? 0 : static_cast<double>(sent) * 1000 / static_cast<double>(took.count());
}

struct Load::State {
  State(LoadOptions the_options, host::Clock& the_clock)
      : options(std::move(the_options)), clock(the_clock), target(target_of(options.url)) {}

  LoadOptions options;
  host::Clock& clock;
  Target target;
  std::vector<std::thread> threads;
  std::atomic<bool> stopping{false};
  std::atomic<std::uint64_t> next{0};  // number of the next request to be sent
  Steady::time_point began;

  mutable std::mutex mutex;
  LoadReport total;
  Histogram latencies;
  std::map<std::string, std::uint64_t> second_by_version;
  Histogram second_latencies;

  void send_one(http::Client& client, Steady::time_point appointed) {
    http::Request request;
    request.path = target.path;
    std::string wrong, version;
    try {
      http::Timeouts timeouts;
      timeouts.total = Duration(10'000);
      http::Response response = client.send(target.origin, request, timeouts);
      version = version_in(response.body);
      if (response.status != options.status) {
        wrong = fmt::format("answered {}", response.status);
      } else if (response.body.find(options.contains) == std::string::npos) {
        wrong = fmt::format("its body is not what it should be: '{}'", response.body.substr(0, 80));
      }
    } catch (const Error& error) {
      wrong = error.message();
    }
    double ms = std::chrono::duration<double, std::milli>(Steady::now() - appointed).count();
    std::lock_guard lock(mutex);
    ++total.sent;
    latencies.add(ms);
    second_latencies.add(ms);
    if (wrong.empty()) {
      ++total.by_version[version];
      ++second_by_version[version];
    } else {
      ++total.failed;
      if (total.failures.size() < kFailuresKept) {
        total.failures.push_back(format_iso8601(clock.now()) + " " + wrong);
      }
    }
  }

  void work() {
    http::Client client;
    while (!stopping) {
      std::uint64_t number = next++;
      auto appointed = began + std::chrono::duration_cast<Steady::duration>(
                                   std::chrono::duration<double>(static_cast<double>(number) / options.rate));
      while (!stopping && Steady::now() < appointed) {
        std::this_thread::sleep_until(std::min(appointed, Steady::now() + std::chrono::milliseconds(100)));
      }
      if (!stopping) send_one(client, appointed);
    }
  }

  void tell() {
    while (!stopping) {
      for (int i = 0; i < 10 && !stopping; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
      console::Traffic traffic;
      {
        std::lock_guard lock(mutex);
        traffic.requests = std::move(second_by_version);
        traffic.failed = total.failed;
        traffic.total = total.sent;
        traffic.p99_ms = second_latencies.quantile(0.99);
        second_by_version.clear();
        second_latencies.clear();
      }
      traffic.at = clock.now();
      if (!options.status_file.empty()) console::write_traffic(options.status_file, traffic);
    }
  }
};

Load::Load(LoadOptions options, host::Clock& clock) : state_(std::make_unique<State>(std::move(options), clock)) {
  if (state_->options.rate <= 0 || state_->options.rate > 100'000 || state_->options.connections < 1 ||
      state_->options.connections > 1000) {
    throw Error(ErrorCode::usage, "a load has 1 to 1,000 connections and up to 100,000 requests a second",
                "Give --connections and --rate within these.");
  }
}

Load::~Load() { stop(); }

void Load::start() {
  state_->began = Steady::now();
  for (int i = 0; i < state_->options.connections; ++i) state_->threads.emplace_back([this] { state_->work(); });
  state_->threads.emplace_back([this] { state_->tell(); });
}

LoadReport Load::report() const {
  std::lock_guard lock(state_->mutex);
  LoadReport report = state_->total;
  report.p50_ms = state_->latencies.quantile(0.5);
  report.p99_ms = state_->latencies.quantile(0.99);
  report.max_ms = state_->latencies.max();
  if (report.took.count() == 0) report.took = std::chrono::duration_cast<Duration>(Steady::now() - state_->began);
  return report;
}

LoadReport Load::stop() {
  if (!state_->threads.empty()) {
    state_->stopping = true;
    for (std::thread& thread : state_->threads) thread.join();
    state_->threads.clear();
    state_->total.took = std::chrono::duration_cast<Duration>(Steady::now() - state_->began);
  }
  return report();
}

}  // namespace kiln::cli
