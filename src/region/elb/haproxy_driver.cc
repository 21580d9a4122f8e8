// HaproxyDriver: brings the HAProxy process to a wanted state, step by step.
#include "region/elb/haproxy_driver.h"

#include <algorithm>
#include <csignal>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "region/elb/haproxy.h"
#include "region/elb/haproxy_socket.h"

namespace kiln::region::elb {

namespace {

// HAProxy reads its file and forks in some 50 ms on a small machine; a busy one takes longer.
constexpr Duration kStartBudget{15'000};
constexpr Duration kMasterBudget{3'000};
constexpr Duration kPoll{5};
constexpr Duration kEndGrace{3'000};

host::Path record_path(const host::Path& folder) { return folder / "haproxy.json"; }
host::Path log_path(const HaproxySite& site) { return site.folder / "haproxy.log"; }

std::string last_words(const HaproxySite& site) {
  try {
    std::string log = host::read_file(log_path(site));
    std::string alerts;
    for (const std::string& line : split(last_lines(log, 40), '\n')) {
      if (line.find("[ALERT]") != std::string::npos) alerts = line;
    }
    return alerts.empty() ? last_lines(log, 3) : alerts;
  } catch (const Error&) {
    return "it left no log";
  }
}

int failed_reloads(const std::string& answer) {
  std::size_t at = answer.find("[failed: ");
  if (at == std::string::npos) return 0;
  std::size_t end = answer.find(']', at);
  return static_cast<int>(parse_int(answer.substr(at + 9, end - at - 9)).value_or(0));
}

}  // namespace

std::optional<host::ProcessRef> noted_haproxy(const host::Path& folder) {
  try {
    const auto record = nlohmann::json::parse(host::read_file(record_path(folder)), nullptr, false);
    if (!record.is_object() || !record.contains("process") || !record["process"].is_string()) return std::nullopt;
    return host::ProcessRef::parse(record["process"].get<std::string>());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    return std::nullopt;
  }
}

void HaproxyDriver::bring_to(const BalancerState& wanted) {
  if (!certain_ || !process_ || !host::alive(*process_)) look();
  if (!process_ && wanted.listeners.empty()) {
    forget();  // nothing to serve, nothing to run
    return;
  }
  SlotTable slots = place(wanted, slots_);
  certain_ = false;
  if (!process_) {
    start(wanted, slots);
  } else if (shape_ != shape_of(site_, wanted, slots)) {
    reload(wanted, slots);
  } else {
    tell(wanted, slots);
  }
  certain_ = true;
}

void HaproxyDriver::end() {
  if (!process_) process_ = find_process();
  if (process_) host::end_process(*process_, kEndGrace, SIGTERM);
  process_.reset();
  certain_ = false;
  forget();
}

// By what we wrote down; a master that was started just before we died, or whose note is gone, by its arguments. Its
// workers have the same and are younger.
std::optional<host::ProcessRef> HaproxyDriver::find_process() const {
  if (const auto noted = noted_haproxy(site_.folder); noted && host::alive(*noted)) return noted;
  std::optional<host::ProcessRef> oldest;
  for (const auto& [process, argv] : host::processes()) {
    const bool ours = std::ranges::find(argv, site_.config().string()) != argv.end() && argv[0].ends_with("haproxy");
    if (ours && (!oldest || process.start_ticks < oldest->start_ticks)) oldest = process;
  }
  return oldest;
}

std::optional<HaproxyDriver::Running> HaproxyDriver::running() const {
  try {
    for (const std::string& line : split(ask_haproxy(site_.admin_socket(), "show info"), '\n')) {
      std::vector<std::string> words = split(std::string(trim(line)), ' ');
      if (words.size() == 4 && words[0] == "description:" && words[1] == "kiln") {
        return Running{static_cast<int>(parse_int(words[2]).value_or(0)), words[3]};
      }
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unavailable && error.code() != ErrorCode::timeout) throw;
  }
  return std::nullopt;
}

void HaproxyDriver::look() {
  process_ = find_process();
  slots_.clear();
  shape_.clear();
  routes_.clear();
  if (!process_) return;
  auto found = running();
  if (!found) {
    // A master without a worker that answers serves nobody: begin again.
    end();
    return;
  }
  generation_ = std::max(generation_, found->generation);
  shape_ = found->shape;
  slots_ = parse_servers_state(ask_haproxy(site_.admin_socket(), "show servers state"));
}

void HaproxyDriver::write_files(const BalancerState& wanted, const SlotTable& slots) {
  ++generation_;
  shape_ = shape_of(site_, wanted, slots);
  routes_ = render_routes(wanted);
  host::write_file(site_.bad_gateway(), render_bad_gateway());
  host::write_file(site_.routes(), routes_);
  host::write_file(site_.config(), render_config(site_, wanted, slots, generation_), 0600);
}

void HaproxyDriver::start(const BalancerState& wanted, const SlotTable& slots) {
  host::make_folders(site_.folder);
  write_files(wanted, slots);
  host::Daemon daemon;
  daemon.argv = {
      "haproxy", "-W", "-db", "-S", site_.master_socket().string() + ",mode,600", "-f", site_.config().string()};
  daemon.output = log_path(site_).string();
  process_ = host::spawn_daemon(daemon);
  remember();
  wait_for_generation();
  slots_ = slots;
}

void HaproxyDriver::reload(const BalancerState& wanted, const SlotTable& slots) {
  write_files(wanted, slots);
  // A master that is still beginning would miss the signal.
  ask_master("show proc");
  host::send_signal(*process_, SIGUSR2);
  wait_for_generation();
  slots_ = slots;
}

void HaproxyDriver::wait_for_generation() {
  host::SystemClock clock;
  Duration deadline = clock.uptime() + kStartBudget;
  while (clock.uptime() < deadline) {
    auto found = running();
    if (found && found->generation == generation_) return;
    if (!process_ || !host::alive(*process_)) {
      process_.reset();
      throw Error(ErrorCode::io, fmt::format("HAProxy ended at its start: {}", last_words(site_)));
    }
    std::string workers;
    try {
      workers = ask_haproxy(site_.master_socket(), "show proc");
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unavailable && error.code() != ErrorCode::timeout) throw;
    }
    if (failed_reloads(workers) > 0) {
      throw Error(ErrorCode::io, fmt::format("HAProxy refused its new configuration: {}", last_words(site_)));
    }
    clock.sleep(kPoll);
  }
  throw Error(ErrorCode::timeout, fmt::format("HAProxy did not come up with generation {} within {}: {}", generation_,
                                              format_duration(kStartBudget), last_words(site_)));
}

// The master begins anew at each reload and does not listen for some milliseconds.
std::string HaproxyDriver::ask_master(std::string_view command) const {
  host::SystemClock clock;
  Duration deadline = clock.uptime() + kMasterBudget;
  for (;;) {
    try {
      return ask_haproxy(site_.master_socket(), command);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unavailable || clock.uptime() >= deadline) throw;
    }
    clock.sleep(kPoll);
  }
}

void HaproxyDriver::tell(const BalancerState& wanted, const SlotTable& slots) {
  std::string routes = render_routes(wanted);
  Changes steps = changes(slots_, slots);
  tell_haproxy(site_.admin_socket(), steps.opening);
  if (routes != routes_) {
    replace_map(site_.admin_socket(), site_.routes(), routes);
    host::write_file(site_.routes(), routes);
    routes_ = routes;
  }
  tell_haproxy(site_.admin_socket(), steps.closing);
  bool changed = !steps.opening.empty() || !steps.closing.empty();
  if (changed && !same_traffic(parse_servers_state(ask_haproxy(site_.admin_socket(), "show servers state")), slots)) {
    // It did not do what it was told; the file says all of it.
    reload(wanted, slots);
  }
  slots_ = slots;
}

void HaproxyDriver::forget() const {
  std::error_code ignored;
  std::filesystem::remove(record_path(site_.folder), ignored);
}

void HaproxyDriver::remember() const {
  nlohmann::json record{{"process", process_->str()}, {"generation", generation_}};
  host::write_file(record_path(site_.folder), record.dump() + "\n");
}

}  // namespace kiln::region::elb
