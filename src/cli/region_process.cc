// RegionProcess: the region as a process of this machine.
#include "cli/region_process.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "cli/base_images.h"
#include "http/server.h"
#include "machine/checks.h"
#include "machine/host_kind.h"
#include "machine/namespaces.h"
#include "machine/netns.h"
#include "machine/nspawn.h"
#include "machine/ruleset.h"
#include "machine/simulated.h"
#include "machine/slots.h"
#include "region/elb/haproxy.h"
#include "region/elb/prober.h"
#include "region/elb/simulated_balancer.h"
#include "region/elb/simulated_prober.h"
#include "region/partition.h"
#include "store/store.h"

namespace kiln::cli {
namespace {

constexpr std::size_t kWorkers = 4;  // mounts and process starts at once, on machines of a few cores
constexpr std::string_view kServeWords = "kiln region serve";  // who holds region.lock
constexpr std::string_view kStopWords = "kiln region stop";
constexpr Duration kStopGrace{5'000};
constexpr Duration kStopBudget{60'000};   // for another stop to take a hundred instances down
constexpr Duration kStartBudget{30'000};  // adopting a hundred instances takes a few seconds

host::Path log_of(const Context& context, const std::string& name) {
  return context.region_folder(name) / "region.log";
}

std::string slot_owner(const Context& context, const std::string& name) {
  return std::filesystem::weakly_canonical(context.region_folder(name)).string();
}

// Keys, consoles and disks are below it: its owner's only.
void make_private(const host::Path& folder) {
  host::make_folders(folder.parent_path());
  host::make_folders(folder, 0700);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
}

// The parts that a region stands on, real or simulated, and the order in which they come and go.
struct Parts {
  host::SystemClock clock;
  host::SystemRandom random;
  // Before the loop: its workers verify layers of the store and launch into the slot until it has joined them.
  std::optional<machine::Slot> slot;
  std::unique_ptr<store::Store> store;
  host::ThreadLoop loop{clock, kWorkers};
  std::unique_ptr<region::Journal> journal;
  std::unique_ptr<region::RequestLog> log;
  std::unique_ptr<region::LineLog> events;
  std::unique_ptr<machine::Network> network;
  std::unique_ptr<machine::Machines> machines;
  std::unique_ptr<region::elb::Balancer> balancer;
  std::unique_ptr<region::elb::Prober> prober;
  std::unique_ptr<region::ec2::BaseImages> base_images;
};

// A line of the control plane's own log, which is its stderr.
void log(const host::Clock& clock, const std::string& line) { talk(format_iso8601(clock.now()) + " " + line); }

void make_real(Parts& parts, const Context& context, const std::string& name) {
  host::Path folder = context.region_folder(name);
  parts.slot = machine::Slot::take(slot_owner(context, name), "kiln region " + name, context.clock.now());
  machine::NetworkOptions network;
  network.slot = parts.slot->number();
  network.folder = folder;
  parts.network = std::make_unique<machine::NamespaceNetwork>(network);
  parts.network->open();
  if (machine::raise_inotify_limit()) {
    log(context.clock, fmt::format("fs.inotify.max_user_instances of this host is {} now, for many instances at once",
                                   machine::kInotifyInstances));
  }
  machine::NspawnOptions machines;
  machines.folder = folder;
  machines.slot = parts.slot->number();
  machines.supervisor = {std::filesystem::read_symlink("/proc/self/exe").string()};
  parts.machines = std::make_unique<machine::NspawnMachines>(parts.loop, *parts.store, machines);
  make_private(folder / "haproxy");
  parts.balancer = std::make_unique<region::elb::Haproxy>(
      parts.loop, region::elb::HaproxySite{folder / "haproxy", machine::vpc_namespaces(parts.slot->number())},
      [&context](const std::string& line) { log(context.clock, line); });
  parts.prober = std::make_unique<region::elb::NamespaceProber>(
      parts.loop, machine::namespace_path(machine::vpc_namespaces(parts.slot->number())).string());
  parts.base_images =
      std::make_unique<BakedBaseImages>(parts.loop, parts.clock, *parts.store, context.home,
                                        [&context](const std::string& line) { log(context.clock, line); });
}

void make_simulated(Parts& parts) {
  parts.network = std::make_unique<machine::SimulatedNetwork>();
  parts.network->open();
  auto machines = std::make_unique<machine::SimulatedMachines>(parts.loop, parts.random);
  parts.prober = std::make_unique<region::elb::SimulatedProber>(
      parts.loop, [&simulated = *machines](const region::elb::Probe& probe) {
        return simulated.http_status_at(probe.address, probe.port, probe.path, probe.vpc);
      });
  parts.machines = std::move(machines);
  parts.balancer = std::make_unique<region::elb::SimulatedBalancer>(parts.loop);
  parts.base_images = std::make_unique<region::ec2::EmptyBaseImages>(parts.loop, *parts.store);
}

std::string new_secret(host::Random& random) { return random.hex(40); }

// Keys last as long as the region: clients that have them go on after a restart.
RegionRecord record_for(Context& context, const RegionStart& start) {
  RegionRecord record = read_region_record(context, start.name).value_or(RegionRecord{});
  record.name = start.name;
  record.machines = start.machines.value_or(record.machines.empty() ? "nspawn" : record.machines);
  record.throttle = start.throttle.value_or(record.throttle);
  record.describe_delay = start.describe_delay.value_or(record.describe_delay);
  if (record.access_key.empty()) {
    record.aws_region = "us-east-1";
    record.account = "123456789012";
    std::string tail = context.random.hex(16);
    for (char& c : tail) c = c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
    record.access_key = "AKIA" + tail;
    record.secret_key = new_secret(context.random);
  }
  if (record.root_seed.empty()) record.root_seed = context.random.hex(64);
  return record;
}

// What Parameter Store's secret values are sealed with, beside the journal that holds them.
std::string parameter_key(const host::Path& folder, host::Random& random) {
  const host::Path file = folder / "parameter.key";
  if (!std::filesystem::exists(file)) host::write_file(file, hex_decode(random.hex(64)), 0600);
  return host::read_file(file);
}

// "http://127.0.0.1:4577" → 4577.
std::optional<int> port_of(const RegionRecord& record) {
  const std::size_t colon = record.endpoint.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto port = parse_int(std::string_view(record.endpoint).substr(colon + 1));
  return port ? std::optional<int>(static_cast<int>(*port)) : std::nullopt;
}

std::unique_ptr<http::Server> listen_on(int port, http::Handler handler) {
  http::Server::Options options;
  options.port = static_cast<std::uint16_t>(port);
  return std::make_unique<http::Server>(options, std::move(handler));
}

// On the port of its last start, where its clients look for it, unless another one was asked for.
std::unique_ptr<http::Server> bind_region(const RegionStart& start, const RegionRecord& record,
                                          const http::Handler& handler) {
  const std::optional<int> last = port_of(record);
  if (start.port.value_or(0) != 0 || !last) return listen_on(start.port.value_or(kDefaultPort), handler);
  try {
    return listen_on(*last, handler);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::held || !start.port) throw;
    return listen_on(0, handler);
  }
}

// Why a control plane in the background did not start, left by it for the command that started it.
host::Path failure_path(const Context& context, const std::string& name) {
  return context.region_folder(name) / "failed.json";
}

void write_failure(const Context& context, const std::string& name, const Error& error) {
  try {
    nlohmann::json json = {{"process", host::self().str()},
                           {"code", to_string(error.code())},
                           {"message", error.message()},
                           {"next", error.next()}};
    host::write_file(failure_path(context, name), json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
                     0600);
  } catch (const Error&) {
    // Its log says it as well.
  }
}

std::optional<Error> read_failure(const Context& context, const std::string& name, const host::ProcessRef& process) {
  const host::Path path = failure_path(context, name);
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    const nlohmann::json json = nlohmann::json::parse(host::read_file(path));
    if (json.at("process") != process.str()) return std::nullopt;
    const std::string text = json.at("code");
    auto code = ErrorCode::usage;
    while (code != ErrorCode::internal && to_string(code) != text) {
      code = static_cast<ErrorCode>(static_cast<int>(code) + 1);
    }
    return Error(code, json.at("message"), json.at("next"));
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

void serve(Context& context, const RegionStart& start) {
  host::Path folder = context.region_folder(start.name);
  auto lock = host::FileLock::take(folder / "region.lock", kServeWords, context.clock.now());
  RegionRecord record = record_for(context, start);
  bool real = record.machines == "nspawn";
  if (real) machine::require_host(context.home);

  Parts parts;
  parts.store = std::make_unique<store::Store>(context.store_folder());
  parts.log = std::make_unique<region::RequestLog>(folder / "requests.log");
  parts.events = std::make_unique<region::LineLog>(folder / "events.log");
  region::Partition* partition = nullptr;
  // Bound before anything is made: a port in use changes nothing.
  auto server = bind_region(start, record, [&partition](http::Request request, http::Responder respond) {
    partition->handle(std::move(request), [respond](http::Response response) { respond(std::move(response)); });
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

  region::Partition own({parts.loop, parts.random, *parts.journal, *parts.store, *parts.machines, *parts.network,
                         *parts.balancer, *parts.prober, *parts.log, parts.base_images.get(),
                         [&context](const std::string& line) { log(context.clock, line); },
                         [&events = *parts.events](const std::string& line) { events.add(line); }},
                        {record.aws_region, record.account, record.access_key, record.secret_key, record.root_seed,
                         parameter_key(folder, parts.random), record.throttle, record.describe_delay});
  partition = &own;
  // However the loop ends, nobody asks it any more when it goes.
  const std::unique_ptr<http::Server, void (*)(http::Server*)> stops(server.get(),
                                                                     [](http::Server* it) { it->stop(); });
  context.watch_interrupts();
  parts.loop.post([&] {
    own.open();
    server->start();
    record.process = host::self();
    record.endpoint = server->origin();
    write_region_record(context, record);
    log(context.clock, fmt::format("region '{}' answers at {}", start.name, record.endpoint));
  });
  std::function<void()> watch = [&] {
    if (Context::interrupted()) return parts.loop.stop();
    parts.loop.after(Duration(100), watch);
  };
  parts.loop.post(watch);
  parts.loop.run();
  log(context.clock, fmt::format("region '{}' was told to end; instances and load balancers go on", start.name));
}

void require_as_asked(const RegionStart& start, const RegionRecord& record) {
  std::string other;
  if (start.machines && *start.machines != record.machines) other = *start.machines + " machines";
  if (start.port.value_or(0) != 0 && start.port != port_of(record)) other = fmt::format("port {}", *start.port);
  if (start.throttle && *start.throttle != record.throttle) other = *start.throttle ? "--throttle" : "--no-throttle";
  if (start.describe_delay && *start.describe_delay != record.describe_delay) other = "that --describe-delay";
  if (other.empty()) return;
  throw Error(ErrorCode::usage,
              fmt::format("region '{}' runs already, at {} with {} machines, and not with {}", start.name,
                          record.endpoint, record.machines, other),
              fmt::format("Stop it first, which ends its instances: kiln region stop --name {}", start.name));
}

[[noreturn]] void report_failure(const Context& context, const RegionStart& start, const host::ProcessRef& process,
                                 const std::string& said) {
  const std::string log = log_of(context, start.name).string();
  if (auto failure = read_failure(context, start.name, process)) {
    failure->suggest(fmt::format("Its log is {}", log));
    failure->add_context(fmt::format("starting region '{}'", start.name));
    throw Error(*failure);
  }
  throw Error(ErrorCode::io, fmt::format("region '{}' did not start: {}", start.name, last_lines(said, 5)),
              fmt::format("Its log is {}", log));
}

// The control plane that runs or is about to, by its lock: it may not have written down yet that it is there. Taken
// when it is gone, and until then no other one starts.
host::FileLock end_control_plane(Context& context, const std::string& name) {
  const host::Path path = context.region_folder(name) / "region.lock";
  const Duration end = context.clock.uptime() + kStopBudget;
  while (context.clock.uptime() < end) {
    if (auto lock = host::FileLock::try_take(path, kStopWords, context.clock.now())) return std::move(*lock);
    auto holder = host::FileLock::holder(path);
    auto process = holder && holder->what == kServeWords ? host::process_ref(holder->pid) : std::nullopt;
    if (process) host::end_process(*process, kStopGrace);
    if (!process) context.clock.sleep(Duration(20));
  }
  return with_context(fmt::format("stopping region '{}'", name),
                      [&] { return host::FileLock::take(path, kStopWords, context.clock.now()); });
}

// The slot of a control plane of that owner, which it takes before it makes anything outside its folder.
std::optional<int> slot_of(const std::string& owner) {
  for (const machine::SlotUse& use : machine::slots_in_use()) {
    if (use.owner == owner) return use.slot;
  }
  return std::nullopt;
}

// What a region whose state is in `folder` has outside of it.
void remove_real_things(Context& context, const host::Path& folder, machine::Slot& slot) {
  std::vector<std::string> left = machine::remove_all_machines(folder, slot.number());
  if (!left.empty()) {
    throw Error(ErrorCode::conflict,
                fmt::format("of the region in {} this could not be removed: {}", folder.string(), join(left, "; ")),
                "Run it again; what is still busy then is in /proc/mounts and in `losetup -a`.");
  }
  host::ThreadLoop loop(context.clock, 1);
  machine::NetworkOptions options;
  options.slot = slot.number();
  options.folder = folder;
  machine::NamespaceNetwork network(options);
  region::elb::Haproxy(loop, {folder / "haproxy", machine::vpc_namespaces(slot.number())}, [](const std::string&) {
  }).close();
  network.close();
  slot.release();
}

}  // namespace

int serve_region(Context& context, const RegionStart& start) {
  make_private(context.region_folder(start.name));
  try {
    serve(context, start);
  } catch (const Error& error) {
    write_failure(context, start.name, error);
    log(context.clock, fmt::format("the control plane of region '{}' ends: {}", start.name, error.message()));
    throw;
  }
  return 0;
}

RegionRecord start_region(Context& context, const RegionStart& start) {
  if (auto record = read_region_record(context, start.name); record && record->running()) {
    require_as_asked(start, *record);
    return *record;
  }
  if (record_for(context, start).machines == "nspawn") {
    with_context(fmt::format("starting region '{}'", start.name), [&] { machine::require_host(context.home); });
  }
  make_private(context.region_folder(start.name));
  host::Path log = log_of(context, start.name);
  std::uintmax_t said = std::filesystem::exists(log) ? std::filesystem::file_size(log) : 0;
  host::Daemon daemon;
  daemon.argv = {std::filesystem::read_symlink("/proc/self/exe").string(), "region", "serve", "--name", start.name};
  if (start.port) daemon.argv.insert(daemon.argv.end(), {"--port", std::to_string(*start.port)});
  if (start.machines) daemon.argv.insert(daemon.argv.end(), {"--machines", *start.machines});
  if (start.describe_delay) {
    daemon.argv.insert(daemon.argv.end(), {"--describe-delay", format_duration(*start.describe_delay)});
  }
  if (start.throttle) daemon.argv.emplace_back(*start.throttle ? "--throttle" : "--no-throttle");
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
      report_failure(context, start, process, text);
    }
    context.clock.sleep(Duration(5));
  }
  throw Error(ErrorCode::timeout,
              fmt::format("region '{}' did not answer within {}", start.name, format_duration(kStartBudget)),
              fmt::format("Its log is {}", log.string()));
}

void stop_region(Context& context, const std::string& name) {
  if (!std::filesystem::exists(context.region_folder(name))) return;
  auto lock = end_control_plane(context, name);
  const std::string owner = slot_owner(context, name);
  if (slot_of(owner)) {
    machine::Slot slot = machine::Slot::take(owner, kStopWords, context.clock.now());
    remove_real_things(context, context.region_folder(name), slot);
  }
  if (::geteuid() == 0) machine::Slot::tidy(kStopWords, context.clock.now());
}

void reset_region(Context& context, const std::string& name) {
  stop_region(context, name);
  host::remove_tree(context.region_folder(name));
}

bool RegionLook::serves() const { return holder && holder->what == kServeWords; }

RegionLook look_at_region(const Context& context, const std::string& name) {
  const host::Path folder = context.region_folder(name);
  return {host::FileLock::holder(folder / "region.lock"), slot_of(slot_owner(context, name)),
          region::elb::noted_haproxy(folder / "haproxy")};
}

bool remove_left_slot(Context& context, const machine::SlotUse& use, std::string_view what) {
  auto slot = machine::Slot::take_left(use.slot, what, context.clock.now());
  // Of one whose owner was never written down only the slot's number is known.
  const host::Path unknown = machine::SlotOptions().folder / fmt::format("{}.unknown", use.slot);
  if (slot) remove_real_things(context, use.owner.empty() ? unknown : use.owner, *slot);
  return slot.has_value();
}

std::uint64_t state_bytes(const host::Path& folder) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(
           folder, std::filesystem::directory_options::skip_permission_denied, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    // What is mounted below is not the region's own, or is in a file that is counted.
    static const std::set<std::string> kMounts = {"root", "layers", "disk", "rw"};
    if (kMounts.contains(it->path().filename())) {
      it.disable_recursion_pending();
      continue;
    }
    struct stat found {};
    constexpr std::uint64_t kBlock = 512;  // st_blocks, whatever the file system's blocks are
    if (::lstat(it->path().c_str(), &found) == 0 && S_ISREG(found.st_mode)) {
      sum += static_cast<std::uint64_t>(found.st_blocks) * kBlock;
    }
  }
  return sum;
}

}  // namespace kiln::cli
