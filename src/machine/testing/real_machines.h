// RealMachines: real machines for tests: an image with a web server, a network, and what a test asks of both. Needs
// root.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <thread>

#include "base/text.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/process.h"
#include "machine/agent.h"
#include "machine/checks.h"
#include "machine/internal/life.h"
#include "machine/layers.h"
#include "machine/namespaces.h"
#include "machine/netns.h"
#include "machine/nspawn.h"
#include "machine/ruleset.h"
#include "machine/slots.h"
#include "machine/supervisor.h"
#include "machine/testing/base_layer.h"
#include "store/store.h"

namespace kiln::machine::testing {

inline constexpr Duration kPatience{120'000};  // in an emulated machine a boot takes 10 to 30 s

inline host::SystemClock& wall() {
  static host::SystemClock clock;
  return clock;
}

inline bool wait_for(const std::function<bool()>& done, Duration budget = kPatience, Duration pause = Duration(5)) {
  const Duration end = wall().uptime() + budget;
  while (!done()) {
    if (wall().uptime() > end) return false;
    wall().sleep(pause);
  }
  return true;
}

// Status line's code of GET / from inside a namespace (or the host's, when `netns` is empty); 0 when nothing answers in
// time.
inline std::pair<int, std::string> http_get(const std::string& netns, const std::string& address, int port,
                                            Duration timeout = Duration(300), const std::string& source = {}) {
  host::FileDescriptor fd;
  const auto open = [&fd] { fd = host::FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); };
  netns.empty() ? open() : run_in_namespace(namespace_path(netns), open);
  timeval limit{};
  limit.tv_sec = timeout.count() / 1000;
  limit.tv_usec = (timeout.count() % 1000) * 1000;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  if (!source.empty()) {
    ::inet_pton(AF_INET, source.c_str(), &to.sin_addr);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return {-1, std::strerror(errno)};
  }
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return {0, std::strerror(errno)};
  const std::string request = "GET / HTTP/1.0\r\nHost: test\r\n\r\n";
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return {0, std::strerror(errno)};
  std::string answer;
  char buffer[4096];
  for (ssize_t got; (got = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<std::size_t>(got));
  if (answer.size() < 12) return {0, "no answer"};
  return {static_cast<int>(parse_int(answer.substr(9, 3)).value_or(0)), answer};
}

// The loop on a thread of its own.
class Running {
 public:
  Running() : loop(wall(), 4), thread_([this] { loop.run(); }) {}
  ~Running() {
    loop.stop();
    thread_.join();
  }
  host::ThreadLoop loop;

 private:
  std::thread thread_;
};

inline std::vector<std::string> lines_with(const std::string& text, const std::string& part) {
  std::vector<std::string> found;
  for (const std::string& line : split(text, '\n')) {
    if (line.find(part) != std::string::npos) found.push_back(line);
  }
  return found;
}

inline constexpr const char* kControlPlane = "control-plane";
inline constexpr const char* kVpc = "vpc-1";

inline Spec spec_of(int number, const store::Image& image, std::uint64_t memory = 512ull << 20) {
  Spec spec;
  spec.id = fmt::format("i-{:017x}", number);
  spec.hostname = fmt::format("ip-172-31-0-{}", number);
  spec.image = image;
  spec.interface = {fmt::format("0a:00:00:00:00:{:02x}", number), fmt::format("172.31.0.{}", number), 20, "172.31.0.1",
                    kVpc};
  spec.limits = {memory, 1.0};
  return spec;
}

class RealMachines : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(::geteuid(), 0u) << "real machines need root: sudo ctest -L e2e";
    shared_ = new Shared;
    auto& store = shared_->store;
    const auto area = store.temporary();
    const host::Path base = area->path() / "base.erofs";
    std::filesystem::copy_file(testing::base_layer(), base);
    const host::Path page = area->path() / "page";
    host::make_folders(page / "var/www/html");
    host::make_folders(page / "srv/data");
    host::write_file(page / "var/www/html/index.html", "the page\n");
    host::run_checked({"mkfs.erofs", "-T0", (area->path() / "page.erofs").string(), page.string()});
    const std::string type(store::kErofsLayerType);
    const std::vector<store::Blob> layers = {store.put_file(base, type),
                                             store.put_file(area->path() / "page.erofs", type)};
    store::ImageConfig config;
    config.app = "web";
    config.writable = {"/srv/data", "/var/lib/nginx", "/var/log"};
    shared_->image = store.image(store.add_image(config, layers));
    config.read_only_root = false;
    shared_->writable_image = store.image(store.add_image(config, layers));
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }

  void SetUp() override {
    ASSERT_NE(shared_, nullptr);
    slot_.emplace(Slot::take(state(), "machine test", wall().now()));
    NetworkOptions options;
    options.slot = slot_->number();
    options.folder = state() / "network";
    network_ = std::make_unique<NamespaceNetwork>(options);
    network_->open();
    apply({});
    make_machines();
  }

  void TearDown() override {
    if (!slot_) return;
    drop_machines();
    const auto problems = remove_all_machines(state(), slot_->number());
    EXPECT_THAT(problems, ::testing::IsEmpty());
    network_->close();
    network_.reset();
    const std::string prefix = slot_->name();
    EXPECT_THAT(lines_with(host::read_file("/proc/self/mountinfo"), state().string()), ::testing::IsEmpty());
    EXPECT_THAT(namespaces_with_prefix(prefix + "-"), ::testing::IsEmpty());
    EXPECT_THAT(lines_with(host::run_checked({"ps", "-eo", "args"}).out, "/run/netns/" + prefix + "-"),
                ::testing::IsEmpty());
    EXPECT_THAT(lines_with(host::run_checked({"losetup", "-a"}).out, shared_->folder.path().string()),
                ::testing::IsEmpty());
    EXPECT_THAT(host::run_checked({"find", "/sys/fs/cgroup", "-name", prefix + "-*"}).out, "");
    EXPECT_THAT(lines_with(host::run_checked({"ps", "-eo", "args"}).out, state().string()), ::testing::IsEmpty());
    EXPECT_THAT(host::run_checked({"find", "/run/systemd/nspawn", "-name", prefix + "-*"}).out, "");
    slot_->release();
    slot_.reset();
    host::remove_tree(state());
  }

  host::Path state() const { return shared_->folder.path() / "region"; }

  void make_machines() {
    NspawnOptions options;
    options.folder = state();
    options.slot = slot_->number();
    host::call_on(running_->loop, [&] {
      machines_ = std::make_unique<NspawnMachines>(running_->loop, shared_->store, options);
      machines_->on_exit([this](const Exit& exit) {
        std::lock_guard lock(mutex_);
        exits_.push_back(exit);
      });
    });
  }
  void drop_machines() {
    host::call_on(running_->loop, [&] { machines_.reset(); });
  }

  Spec spec(int number, std::uint64_t memory = 512ull << 20) const { return spec_of(number, shared_->image, memory); }
  static Port port(const Spec& spec, std::vector<IngressRule> ingress) {
    return Port{spec.id, spec.interface, std::move(ingress), {EgressRule{"-1", 0, 0, {"0.0.0.0/0"}}}, false, ""};
  }
  static IngressRule http_from(std::string source) { return IngressRule{"tcp", 80, 80, {std::move(source)}}; }

  // Runs a call of the machines and waits for its callback; the failure's text, empty when it was good.
  std::string call(const std::function<void(NspawnMachines&, Done)>& act) {
    std::promise<std::string> promise;
    host::call_on(running_->loop, [&] {
      act(*machines_, [&promise](std::exception_ptr failure) {
        try {
          if (failure) std::rethrow_exception(failure);
          promise.set_value("");
        } catch (const std::exception& error) {
          promise.set_value(error.what());
        }
      });
    });
    auto future = promise.get_future();
    if (future.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
      ADD_FAILURE() << "no callback";
      std::abort();
    }
    return future.get();
  }
  std::string launch(const Spec& spec) {
    return call([&](NspawnMachines& machines, Done done) { machines.launch(spec, std::move(done)); });
  }
  std::string terminate(const Spec& spec) {
    return call(
        [&](NspawnMachines& machines, Done done) { machines.terminate(spec.id, Duration(5000), std::move(done)); });
  }
  // What it was given; a failure is a failure of the test.
  store::Image capture(const Spec& spec) {
    Digest image;
    EXPECT_EQ(call([&](NspawnMachines& machines, Done done) {
                machines.capture(spec.id, [&image, done](std::exception_ptr failure, const Digest& digest) {
                  image = digest;
                  done(failure);
                });
              }),
              "");
    return shared_->store.image(image);
  }
  std::string capture_failure(const Spec& spec) {
    std::string said;
    host::call_on(running_->loop, [&] {
      try {
        machines_->capture(spec.id, [](std::exception_ptr, const Digest&) {});
      } catch (const Error& error) {
        said = error.message();
      }
    });
    return said;
  }
  State state_of(const Spec& spec) {
    State state{};
    host::call_on(running_->loop, [&] { state = machines_->state(spec.id); });
    return state;
  }
  std::vector<Exit> exits() {
    std::lock_guard lock(mutex_);
    return exits_;
  }

  SupervisorStatus status(const Spec& spec) const { return read_status(state() / "instances" / spec.id).value(); }
  host::CommandResult inside(const Spec& spec, const std::string& script) const {
    host::Command command;
    command.argv = {
        "nsenter", "-t",  std::to_string(status(spec).init.pid), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "sh",
        "-c",      script};
    command.timeout = kPatience;
    return host::run(command);
  }
  std::string region() const { return vpc_namespaces(slot_->number()) + kVpc; }
  static Vpc vpc_of(std::vector<Port> ports, const char* id = kVpc) {
    Vpc vpc;
    vpc.id = id;
    vpc.cidr = "172.31.0.0/16";
    vpc.subnets = {{"172.31.0.0/20", "172.31.0.1"}};
    vpc.ports = std::move(ports);
    vpc.needed = true;
    return vpc;
  }
  void apply(std::vector<Port> ports) { network_->apply({vpc_of(std::move(ports))}); }
  bool serves(const Spec& spec, Duration budget = kPatience) const {
    return wait_for([&] { return http_get(region(), spec.interface.address, 80).first == 200; }, budget);
  }

  struct Shared {
    host::TemporaryFolder folder{"kiln-machine-test"};
    store::Store store{folder.path() / "store"};
    store::Image image;
    store::Image writable_image;
  };
  static inline Shared* shared_ = nullptr;

  std::optional<Slot> slot_;
  std::unique_ptr<NamespaceNetwork> network_;
  std::unique_ptr<Running> running_ = std::make_unique<Running>();
  std::unique_ptr<NspawnMachines> machines_;
  std::mutex mutex_;
  std::vector<Exit> exits_;
};

}  // namespace kiln::machine::testing
