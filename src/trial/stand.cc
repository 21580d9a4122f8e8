// Stand: see stand.h.
#include "trial/stand.h"

#include <fmt/format.h>
#include <unistd.h>

#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "host/lock.h"
#include "host/loop.h"
#include "http/client.h"
#include "machine/host_kind.h"
#include "machine/namespaces.h"
#include "machine/netns.h"
#include "machine/nspawn.h"
#include "machine/slots.h"
#include "machine/supervisor.h"
#include "trial/secrets.h"

namespace kiln::trial {
namespace {

constexpr std::size_t kWorkers = 2;
constexpr Duration kLook{50};             // between looks at `cancelled`
constexpr Duration kLaunchMost{120'000};  // an emulated machine takes 30 s
constexpr std::string_view kWhat = "kiln test";
// Every stand has a network of its own, so all have the same addresses.
constexpr const char* kVpc = "vpc-trial";
constexpr const char* kAddress = "172.31.0.10";
constexpr const char* kGateway = "172.31.0.1";
constexpr int kPrefix = 20;
// There is no metadata service to wait for: cloud-init does here what it does on a computer that is in no cloud.
constexpr const char* kCloudInit = "/etc/cloud/cloud.cfg.d/99_kiln_test.cfg";
constexpr const char* kNoCloud = "datasource_list: [None]\n";

machine::Vpc network_of(const std::string& id, const machine::Interface& interface) {
  machine::Vpc vpc;
  vpc.id = kVpc;
  vpc.cidr = "172.31.0.0/16";
  vpc.subnets = {{"172.31.0.0/20", kGateway}};
  vpc.needed = true;
  machine::Port port;
  port.id = id;
  port.interface = interface;
  // No way out: what an image does must not hang on what the internet says today.
  port.ingress = {{"-1", 0, 0, {"0.0.0.0/0"}}};
  port.egress = {{"-1", 0, 0, {"0.0.0.0/0"}}};
  vpc.ports = {port};
  return vpc;
}

host::Path instance_of(const host::Path& folder) {
  const auto ids = std::filesystem::exists(folder / "instances") ? host::list_folder(folder / "instances")
                                                                 : std::vector<std::string>();
  return ids.empty() ? host::Path() : folder / "instances" / ids.front();
}

// The machine's supervisor and init, when both are there.
std::optional<machine::SupervisorStatus> running_in(const host::Path& folder) {
  const host::Path instance = instance_of(folder);
  if (instance.empty()) return std::nullopt;
  auto status = machine::read_status(instance);
  if (!status || !host::alive(status->supervisor) || !host::alive(status->init)) return std::nullopt;
  return status;
}

bool is_kept(const host::Path& folder) {
  return std::filesystem::exists(folder / "kept.json") && running_in(folder).has_value();
}

void remove_network(const host::Path& folder, int slot) {
  machine::NetworkOptions options;
  options.slot = slot;
  options.folder = folder;
  machine::NamespaceNetwork(options).close();
}

// With its lock held.
void remove_stand(const host::Path& folder, machine::Slot& slot) {
  const std::vector<std::string> left = machine::remove_all_machines(folder, slot.number());
  remove_network(folder, slot.number());
  if (!left.empty()) {
    throw Error(ErrorCode::conflict,
                fmt::format("of the test in {} this could not be removed: {}", folder.string(), join(left, "; ")));
  }
  slot.release();
  host::remove_tree(folder);
}

void remove_stand(const host::Path& folder, Time now) {
  machine::Slot slot = machine::Slot::take(folder, kWhat, now);
  remove_stand(folder, slot);
}

// Held while stands are made and found, so that one that is just being made is not taken for a dead one.
host::FileLock lock_all(const host::Path& trials, Time now) {
  host::make_folders(trials.parent_path());
  host::make_folders(trials, 0700);
  return host::FileLock::wait(trials / "lock", kWhat, now);
}

int sweep_locked(const host::Path& trials, Time now) {
  int removed = 0;
  for (const std::string& name : host::list_folder(trials)) {
    const host::Path folder = trials / name;
    if (!std::filesystem::is_directory(folder)) continue;
    const auto lock = host::FileLock::try_take(folder / "stand.lock", kWhat, now);
    if (!lock || is_kept(folder)) continue;
    remove_stand(folder, now);
    ++removed;
  }
  return removed;
}

}  // namespace

struct RealStand::Parts {
  Parts(host::Clock& the_clock, store::Store& the_store, StandOptions the_options)
      : clock(the_clock), store(the_store), options(std::move(the_options)) {}

  host::Clock& clock;
  store::Store& store;
  StandOptions options;
  host::Path folder;
  std::optional<host::FileLock> lock;
  std::optional<machine::Slot> slot;
  machine::Spec spec;
  std::unique_ptr<machine::NamespaceNetwork> network;
  std::unique_ptr<host::ThreadLoop> loop;
  std::unique_ptr<machine::NspawnMachines> machines;
  std::thread thread;
  bool kept = false;

  void start_loop() {
    loop = std::make_unique<host::ThreadLoop>(clock, kWorkers);
    thread = std::thread([this] { loop->run(); });
    machine::NspawnOptions nspawn;
    nspawn.folder = folder;
    nspawn.slot = slot->number();
    nspawn.supervisor = {std::filesystem::read_symlink("/proc/self/exe").string()};
    host::call_on(*loop, [&] { machines = std::make_unique<machine::NspawnMachines>(*loop, store, nspawn); });
  }

  void stop_loop() {
    if (!thread.joinable()) return;
    host::call_on(*loop, [&] { machines.reset(); });
    loop->stop();
    thread.join();
    loop.reset();
  }

  bool cancelled() const { return options.cancelled && options.cancelled(); }

  // Waits for what a callback on the loop promises. The promise is shared: the callback may come after we have gone.
  template <typename Value>
  Value wait_for(std::future<Value> answer, Duration most, const std::string& what,
                 const std::function<void()>& give_up = {}) {
    const Duration end = clock.uptime() + most;
    while (answer.wait_for(kLook) != std::future_status::ready) {
      const bool stop = cancelled();
      if (!stop && clock.uptime() < end) continue;
      if (give_up) give_up();
      if (stop) throw Error(ErrorCode::cancelled, fmt::format("{} was interrupted", what));
      throw Error(ErrorCode::timeout, fmt::format("{} did not end within {}", what, format_duration(most)));
    }
    return answer.get();
  }
};

RealStand::RealStand(host::Clock& clock, host::Random& random, store::Store& store, StandOptions options)
    : parts_(std::make_unique<Parts>(clock, store, std::move(options))) {
  if (::geteuid() != 0) {
    throw Error(ErrorCode::denied, "an image is tested on a real instance, and that needs root",
                "Run it with sudo -E.");
  }
  Parts& parts = *parts_;
  const host::FileLock all = lock_all(parts.options.trials, clock.now());
  sweep_locked(parts.options.trials, clock.now());
  parts.folder = parts.options.trials / random.hex(8);
  host::make_folders(parts.folder, 0700);
  parts.lock = host::FileLock::take(parts.folder / "stand.lock", kWhat, clock.now());
  parts.slot = machine::Slot::take(parts.folder, kWhat, clock.now());
  parts.spec.id = "i-" + random.hex(17);
  parts.spec.hostname = "ip-172-31-0-10";
  parts.spec.interface = {"0a:00:00:00:00:0a", kAddress, kPrefix, kGateway, kVpc};
}

RealStand::~RealStand() {
  Parts& parts = *parts_;
  try {
    parts.stop_loop();
    parts.network.reset();
    if (!parts.kept) remove_stand(parts.folder, *parts.slot);
  } catch (const std::exception&) {
    // The next stand removes it, and says what it cannot remove.
  }
}

void RealStand::boot() {
  Parts& parts = *parts_;
  parts.spec.image = parts.options.image;
  parts.spec.limits = parts.options.limits;
  parts.spec.files = {{kCloudInit, kNoCloud}};
  machine::raise_inotify_limit();
  machine::NetworkOptions wires;
  wires.slot = parts.slot->number();
  wires.folder = parts.folder;
  parts.network = std::make_unique<machine::NamespaceNetwork>(wires);
  parts.network->open();
  parts.network->apply({network_of(parts.spec.id, parts.spec.interface)});
  parts.start_loop();
  auto done = std::make_shared<std::promise<std::exception_ptr>>();
  auto answer = done->get_future();
  host::call_on(*parts.loop, [&] {
    parts.machines->launch(parts.spec, [done](std::exception_ptr failure) { done->set_value(std::move(failure)); });
  });
  if (auto failure = parts.wait_for(std::move(answer), kLaunchMost, "starting an instance of " + parts.options.what)) {
    std::rethrow_exception(failure);
  }
}

machine::CommandEnd RealStand::ask(const machine::Command& command) {
  Parts& parts = *parts_;
  auto done = std::make_shared<std::promise<machine::CommandEnd>>();
  auto answer = done->get_future();
  host::call_on(*parts.loop, [&] {
    parts.machines->run(parts.spec.id, command, [done](const machine::CommandEnd& end) { done->set_value(end); });
  });
  const Duration most = command.delivery + command.timeout + kLaunchMost;
  return parts.wait_for(std::move(answer), most, "a check of " + parts.options.what, [&] {
    host::call_on(*parts.loop, [&] { parts.machines->cancel(parts.spec.id, command.id); });
  });
}

http::Response RealStand::fetch(int port, const http::Request& request, Duration timeout) {
  const std::string origin = fmt::format("http://{}:{}", kAddress, port);
  const std::string inside = machine::vpc_namespaces(parts_->slot->number()) + kVpc;
  http::Response response;
  machine::run_in_namespace(machine::namespace_path(inside), [&] {
    http::Timeouts timeouts;
    timeouts.connect = std::min(timeout, timeouts.connect);
    timeouts.total = timeout;
    http::Client client;
    response = client.send(origin, request, timeouts);
  });
  return response;
}

std::vector<std::string> RealStand::secrets(const std::vector<std::string>& except) const {
  std::vector<host::Path> folders;  // the layers, mounted
  for (const store::Blob& layer : parts_->spec.image.layers) {
    folders.insert(folders.begin(), parts_->folder / "layers" / layer.digest.hex());
  }
  return secrets_in(folders, except);
}

std::string RealStand::console() const {
  const host::Path instance = instance_of(parts_->folder);
  if (instance.empty() || !std::filesystem::exists(instance / "console.log")) return {};
  return host::read_file(instance / "console.log");
}

std::string RealStand::keep() {
  Parts& parts = *parts_;
  nlohmann::json json = {{"what", parts.options.what}, {"since", format_iso8601(parts.clock.now())}};
  host::write_file(parts.folder / "kept.json", json.dump(2) + "\n", 0600);
  parts.kept = true;
  return parts.folder.filename().string();
}

std::vector<Kept> kept(const host::Path& trials) {
  std::vector<Kept> all;
  if (!std::filesystem::exists(trials)) return all;
  for (const std::string& name : host::list_folder(trials)) {
    if (!std::filesystem::is_directory(trials / name) || !is_kept(trials / name)) continue;
    Kept one{.name = name, .what = {}, .address = kAddress};
    const auto json = nlohmann::json::parse(host::read_file(trials / name / "kept.json"), nullptr, false);
    if (json.is_object()) one.what = json.value("what", "");
    all.push_back(one);
  }
  return all;
}

namespace {

host::Path folder_of_kept(const host::Path& trials, const std::string& name) {
  std::vector<std::string> names;
  for (const Kept& one : kept(trials)) {
    if (one.name == name) return trials / name;
    names.push_back(one.name);
  }
  throw Error(ErrorCode::not_found, fmt::format("no instance '{}' was kept by a test", name),
              names.empty() ? "None is kept now; kiln test --keep keeps one." : "There are: " + join(names, ", "));
}

}  // namespace

std::vector<std::string> shell_into(const host::Path& trials, const std::string& name) {
  const auto status = running_in(folder_of_kept(trials, name));
  if (!status) throw Error(ErrorCode::not_found, fmt::format("the instance '{}' has ended", name));
  return {"nsenter",  "--target", std::to_string(status->init.pid),
          "--mount",  "--uts",    "--ipc",
          "--net",    "--pid",    "--root",
          "--wdns=/", "/bin/sh",  "-l"};
}

void end_kept(const host::Clock& clock, const host::Path& trials, const std::string& name) {
  const host::FileLock all = lock_all(trials, clock.now());
  const host::Path folder = folder_of_kept(trials, name);
  const auto lock = host::FileLock::take(folder / "stand.lock", kWhat, clock.now());
  remove_stand(folder, clock.now());
}

std::vector<host::Path> dead(const host::Path& trials) {
  std::vector<host::Path> folders;
  if (!std::filesystem::exists(trials)) return folders;
  for (const std::string& name : host::list_folder(trials)) {
    const host::Path folder = trials / name;
    if (!std::filesystem::is_directory(folder) || is_kept(folder)) continue;
    if (!host::FileLock::holder(folder / "stand.lock")) folders.push_back(folder);
  }
  return folders;
}

int sweep(const host::Clock& clock, const host::Path& trials) {
  if (!std::filesystem::exists(trials)) return 0;
  const host::FileLock all = lock_all(trials, clock.now());
  return sweep_locked(trials, clock.now());
}

}  // namespace kiln::trial
