// RegionProcess: the region as a process of this machine.
#include "cli/region_process.h"

#include <fmt/format.h>

#include <csignal>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "http/server.h"
#include "machine/checks.h"
#include "machine/netns.h"
#include "machine/nspawn.h"
#include "machine/simulated.h"
#include "machine/slots.h"
#include "region/elb/haproxy.h"
#include "region/elb/prober.h"
#include "region/elb/simulated_balancer.h"
#include "region/elb/simulated_prober.h"
#include "region/region.h"
#include "store/store.h"

namespace kiln::cli {
namespace {

constexpr std::size_t kWorkers = 4;       // mounts and process starts at once, on machines of a few cores
constexpr Duration kStartBudget{30'000};  // adopting a hundred instances takes a few seconds

host::Path log_of(const Context& context, const std::string& name) {
  return context.region_folder(name) / "region.log";
}

std::string slot_owner(const Context& context, const std::string& name) {
  return std::filesystem::weakly_canonical(context.region_folder(name)).string();
}

// The parts that a region stands on, real or simulated, and the order in which they come and go.
struct Parts {
  host::SystemClock clock;
  host::SystemRandom random;
  host::ThreadLoop loop{clock, kWorkers};
  std::optional<machine::Slot> slot;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<region::Journal> journal;
  std::unique_ptr<region::RequestLog> log;
  std::unique_ptr<machine::Network> network;
  std::unique_ptr<machine::Machines> machines;
  std::unique_ptr<region::elb::Balancer> balancer;
  std::unique_ptr<region::elb::Prober> prober;
};

void make_real(Parts& parts, const Context& context, const std::string& name) {
  host::Path folder = context.region_folder(name);
  parts.slot = machine::Slot::take(slot_owner(context, name), "kiln region " + name, context.clock.now());
  machine::NetworkOptions network;
  network.slot = parts.slot->number();
  network.folder = folder;
  parts.network = std::make_unique<machine::NamespaceNetwork>(network);
  parts.network->open();
  machine::NspawnOptions machines;
  machines.folder = folder;
  machines.slot = parts.slot->number();
  machines.region_namespace = parts.network->namespace_name();
  machines.supervisor = {std::filesystem::read_symlink("/proc/self/exe").string()};
  parts.machines = std::make_unique<machine::NspawnMachines>(parts.loop, *parts.store, machines);
  host::make_folders(folder / "haproxy");
  parts.balancer = std::make_unique<region::elb::Haproxy>(
      parts.loop, region::elb::HaproxySite{folder / "haproxy", parts.network->namespace_name()},
      [](const std::string& line) { talk(line); });
  parts.prober =
      std::make_unique<region::elb::NamespaceProber>(parts.loop, "/run/netns/" + parts.network->namespace_name());
}

void make_simulated(Parts& parts) {
  parts.network = std::make_unique<machine::SimulatedNetwork>();
  parts.network->open();
  auto machines = std::make_unique<machine::SimulatedMachines>(parts.loop, parts.random);
  parts.prober = std::make_unique<region::elb::SimulatedProber>(
      parts.loop, [&simulated = *machines](const std::string& address, int port, const std::string& path) {
        return simulated.http_status_at(address, port, path);
      });
  parts.machines = std::move(machines);
  parts.balancer = std::make_unique<region::elb::SimulatedBalancer>(parts.loop);
}

std::string new_secret(host::Random& random) { return random.hex(40); }

// Keys last as long as the region: clients that have them go on after a restart.
RegionRecord record_for(Context& context, const RegionStart& start) {
  RegionRecord record = read_region_record(context, start.name).value_or(RegionRecord{});
  record.name = start.name;
  record.machines = start.machines;
  if (record.access_key.empty()) {
    record.aws_region = "us-east-1";
    record.account = "123456789012";
    std::string tail = context.random.hex(16);
    for (char& c : tail) c = c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
    record.access_key = "AKIA" + tail;
    record.secret_key = new_secret(context.random);
  }
  return record;
}

}  // namespace

int serve_region(Context& context, const RegionStart& start) {
  host::Path folder = context.region_folder(start.name);
  host::make_folders(folder);
  auto lock = with_context(fmt::format("starting region '{}'", start.name), [&] {
    return host::FileLock::take(folder / "region.lock", "kiln region serve", context.clock.now());
  });
  bool real = start.machines == "nspawn";
  if (real) machine::require_host(context.home);

  Parts parts;
  parts.store = std::make_unique<store::Store>(context.store_folder());
  parts.log = std::make_unique<region::RequestLog>(folder / "requests.log");
  RegionRecord record = record_for(context, start);
  region::Region* region = nullptr;
  // Bound before anything is made: a port in use changes nothing.
  http::Server::Options options;
  options.port = static_cast<std::uint16_t>(start.port);
  http::Server server(options, [&region](http::Request request, http::Responder respond) {
    region->handle(std::move(request), [respond](http::Response response) { respond(std::move(response)); });
  });
  if (real) {
    parts.journal = std::make_unique<region::FileJournal>(folder / "journal.db");
    make_real(parts, context, start.name);
    record.slot = parts.slot->number();
  } else {
    // Simulated machines die with the process, and what refers to them with them.
    parts.journal = std::make_unique<region::MemoryJournal>();
    make_simulated(parts);
  }

  region::Region own({parts.loop, parts.random, *parts.journal, *parts.store, *parts.machines, *parts.network,
                      *parts.balancer, *parts.prober, *parts.log},
                     {record.aws_region, record.account, record.access_key, record.secret_key});
  region = &own;
  context.watch_interrupts();
  parts.loop.post([&] {
    own.open();
    server.start();
    record.process = host::self();
    record.endpoint = server.origin();
    write_region_record(context, record);
    talk(fmt::format("{} region '{}' answers at {}", format_iso8601(context.clock.now()), start.name, record.endpoint));
  });
  std::function<void()> watch = [&] {
    if (Context::interrupted()) return parts.loop.stop();
    parts.loop.after(Duration(100), watch);
  };
  parts.loop.post(watch);
  parts.loop.run();
  server.stop();
  return 0;
}

RegionRecord start_region(Context& context, const RegionStart& start) {
  if (auto record = read_region_record(context, start.name); record && record->running()) return *record;
  host::make_folders(context.region_folder(start.name));
  if (start.machines == "nspawn") {
    with_context(fmt::format("starting region '{}'", start.name), [&] { machine::require_host(context.home); });
  }
  host::Path log = log_of(context, start.name);
  std::uintmax_t said = std::filesystem::exists(log) ? std::filesystem::file_size(log) : 0;
  host::Daemon daemon;
  daemon.argv = {std::filesystem::read_symlink("/proc/self/exe").string(),
                 "region",
                 "serve",
                 "--name",
                 start.name,
                 "--port",
                 std::to_string(start.port),
                 "--machines",
                 start.machines};
  daemon.env = {{"KILN_HOME", context.home.string()}};
  daemon.output = log.string();
  host::ProcessRef process = host::spawn_daemon(daemon);
  Duration end = context.clock.uptime() + kStartBudget;
  while (context.clock.uptime() < end) {
    auto record = read_region_record(context, start.name);
    if (record && record->process == process && record->running()) return *record;
    if (!host::alive(process)) {
      std::string text = host::read_file(log);
      text.erase(0, std::min<std::size_t>(text.size(), said));
      bool held = text.find(" holds it") != std::string::npos || text.find("in use") != std::string::npos;
      throw Error(held ? ErrorCode::held : ErrorCode::io,
                  fmt::format("region '{}' did not start: {}", start.name, last_lines(text, 5)),
                  fmt::format("Its log is {}", log.string()));
    }
    context.clock.sleep(Duration(5));
  }
  throw Error(ErrorCode::timeout,
              fmt::format("region '{}' did not answer within {}", start.name, format_duration(kStartBudget)),
              fmt::format("Its log is {}", log.string()));
}

void stop_region(Context& context, const std::string& name) {
  auto record = read_region_record(context, name);
  if (!record) return;
  host::end_process(record->process, Duration(5'000));
  if (record->machines != "nspawn" || record->slot < 0) return;
  host::Path folder = context.region_folder(name);
  // Its slot is ours as long as we hold the owner's lock: another start cannot come between.
  auto lock = host::FileLock::wait(folder / "region.lock", "kiln region stop", context.clock.now());
  machine::Slot slot = machine::Slot::take(slot_owner(context, name), "kiln region stop", context.clock.now());
  std::vector<std::string> left = machine::remove_all_machines(folder, slot.number());
  if (!left.empty()) {
    throw Error(ErrorCode::conflict,
                fmt::format("of region '{}' this could not be removed: {}", name, join(left, "; ")));
  }
  host::ThreadLoop loop(context.clock, 1);
  machine::NetworkOptions options;
  options.slot = slot.number();
  options.folder = folder;
  machine::NamespaceNetwork network(options);
  region::elb::Haproxy(loop, {folder / "haproxy", network.namespace_name()}, [](const std::string&) {}).close();
  network.close();
  slot.release();
}

void reset_region(Context& context, const std::string& name) {
  stop_region(context, name);
  host::remove_tree(context.region_folder(name));
}

std::uint64_t state_bytes(const host::Path& folder) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(
           folder, std::filesystem::directory_options::skip_permission_denied, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    // What is mounted below is not the region's own.
    if (it->path().filename() == "root" || it->path().filename() == "layers") {
      it.disable_recursion_pending();
      continue;
    }
    std::error_code ignored;
    if (it->is_regular_file(ignored)) sum += it->file_size(ignored);
  }
  return sum;
}

}  // namespace kiln::cli
