// Real machines on a real network: boots a small Debian several times. Needs root and this host's kernel; the first run
// fetches the root file system with mmdebstrap and keeps it in $KILN_TEST_CACHE.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <thread>

#include "base/text.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/loop.h"
#include "host/process.h"
#include "machine/checks.h"
#include "machine/internal/life.h"
#include "machine/layers.h"
#include "machine/namespaces.h"
#include "machine/netns.h"
#include "machine/nspawn.h"
#include "machine/ruleset.h"
#include "machine/slots.h"
#include "machine/supervisor.h"
#include "store/store.h"

namespace kiln::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Duration kPatience{120'000};  // in an emulated machine a boot takes 10 to 30 s

host::SystemClock& wall() {
  static host::SystemClock clock;
  return clock;
}

bool wait_for(const std::function<bool()>& done, Duration budget = kPatience, Duration pause = Duration(5)) {
  const Duration end = wall().uptime() + budget;
  while (!done()) {
    if (wall().uptime() > end) return false;
    wall().sleep(pause);
  }
  return true;
}

// Status line's code of GET / from inside a namespace (or the host's, when `netns` is empty); 0 when nothing answers in
// time.
std::pair<int, std::string> http_get(const std::string& netns, const std::string& address, int port,
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

host::Path base_layer() {
  const char* given = std::getenv("KILN_TEST_CACHE");
  const host::Path cache = given != nullptr ? given : KILN_TEST_CACHE_DEFAULT;
  host::make_folders(cache);
  const auto lock =
      host::FileLock::wait(cache / "machine-base.lock", "making the base of the machine tests", wall().now());
  const host::Path file = cache / "machine-base.erofs";
  if (std::filesystem::exists(file)) return file;
  const host::TemporaryFolder work("machine-base", cache);
  const host::Path root = work.path() / "root";
  host::run_checked({"mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd-sysv,dbus,nginx-light",
                     "--aptopt=Acquire::Languages \"none\"", "bookworm", root.string()});
  host::run_checked({"mkfs.erofs", "-T0", (work.path() / "base.erofs").string(), root.string()});
  std::filesystem::rename(work.path() / "base.erofs", file);
  return file;
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

std::vector<std::string> lines_with(const std::string& text, const std::string& part) {
  std::vector<std::string> found;
  for (const std::string& line : split(text, '\n')) {
    if (line.find(part) != std::string::npos) found.push_back(line);
  }
  return found;
}

constexpr const char* kControlPlane = "control-plane";
constexpr const char* kVpc = "vpc-1";

Spec spec_of(int number, const store::Image& image, std::uint64_t memory = 512ull << 20) {
  Spec spec;
  spec.id = fmt::format("i-{:017x}", number);
  spec.hostname = fmt::format("ip-172-31-0-{}", number);
  spec.image = image;
  spec.interface = {fmt::format("0a:00:00:00:00:{:02x}", number), fmt::format("172.31.0.{}", number), 20, "172.31.0.1",
                    kVpc};
  spec.limits = {memory, 1.0};
  return spec;
}

// A control plane that launches two machines and does nothing else until it is killed.
int control_plane(const std::vector<std::string>& arguments) {
  host::ThreadLoop loop(wall(), 4);
  const store::Store store(arguments.at(2));
  NspawnOptions options;
  options.folder = arguments.at(0);
  options.slot = static_cast<int>(parse_int(arguments.at(1)).value());
  NspawnMachines machines(loop, store, options);
  const store::Image image = store.image(Digest::parse(arguments.at(3)));
  loop.post([&] {
    for (const int number : {20, 21}) machines.launch(spec_of(number, image), [](std::exception_ptr) {});
  });
  loop.run();
  return 0;
}

class RealMachines : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(::geteuid(), 0u) << "real machines need root: sudo ctest -L e2e";
    shared_ = new Shared;
    auto& store = shared_->store;
    const auto area = store.temporary();
    const host::Path base = area->path() / "base.erofs";
    std::filesystem::copy_file(base_layer(), base);
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
    EXPECT_THAT(problems, IsEmpty());
    network_->close();
    network_.reset();
    const std::string prefix = slot_->name();
    EXPECT_THAT(lines_with(host::read_file("/proc/self/mountinfo"), state().string()), IsEmpty());
    EXPECT_THAT(namespaces_with_prefix(prefix + "-"), IsEmpty());
    EXPECT_THAT(lines_with(host::run_checked({"ps", "-eo", "args"}).out, "/run/netns/" + prefix + "-"), IsEmpty());
    EXPECT_THAT(lines_with(host::run_checked({"losetup", "-a"}).out, shared_->folder.path().string()), IsEmpty());
    EXPECT_THAT(host::run_checked({"find", "/sys/fs/cgroup", "-name", prefix + "-*"}).out, "");
    EXPECT_THAT(lines_with(host::run_checked({"ps", "-eo", "args"}).out, state().string()), IsEmpty());
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
  static Shared* shared_;

  std::optional<Slot> slot_;
  std::unique_ptr<NamespaceNetwork> network_;
  std::unique_ptr<Running> running_ = std::make_unique<Running>();
  std::unique_ptr<NspawnMachines> machines_;
  std::mutex mutex_;
  std::vector<Exit> exits_;
};

RealMachines::Shared* RealMachines::shared_ = nullptr;

TEST_F(RealMachines, BootServeAndLeaveNothing) {
  const Spec one = spec(10);
  apply({port(one, {http_from("172.31.0.0/16")})});
  const Duration began = wall().uptime();
  ASSERT_EQ(launch(one), "");
  const Duration launched = wall().uptime();
  EXPECT_EQ(state_of(one), State::running);
  ASSERT_TRUE(serves(one));
  const Duration served = wall().uptime();
  fmt::print("one machine: init after {} ms, HTTP 200 after {} ms\n", (launched - began).count(),
             (served - began).count());
  EXPECT_THAT(http_get(region(), one.interface.address, 80).second, HasSubstr("the page"));
  EXPECT_THAT(inside(one, "hostname; cat /etc/machine-id").out, HasSubstr("ip-172-31-0-10\n" + machine_id_of(one.id)));
  EXPECT_EQ(inside(one, "systemctl is-system-running --wait").out, "running\n")
      << inside(one, "systemctl --failed").out;

  std::string console;
  host::call_on(running_->loop, [&] { console = machines_->console(one.id); });
  EXPECT_THAT(console, HasSubstr("Started nginx.service"));
  EXPECT_THAT(console, ::testing::Not(HasSubstr("login:")));

  const Duration asked = wall().uptime();
  ASSERT_EQ(terminate(one), "");
  fmt::print("terminated in {} ms\n", (wall().uptime() - asked).count());
  EXPECT_EQ(state_of(one), State::gone);
  EXPECT_EQ(terminate(one), "") << "ending what has ended is fine";
  EXPECT_THAT(exits(), IsEmpty()) << "we asked for it";
  EXPECT_THAT(host::list_folder(state() / "instances"), IsEmpty());
  EXPECT_THAT(mounts_below(state()), IsEmpty()) << "the last user of a layer unmounts it";
}

TEST_F(RealMachines, ReadOnlyRootAndWhatIsWritableStays) {
  const Spec one = spec(10);
  apply({port(one, {http_from("0.0.0.0/0")})});
  ASSERT_EQ(launch(one), "");
  ASSERT_TRUE(serves(one));
  for (const char* path : {"/x", "/etc/x", "/usr/bin/x", "/var/x", "/var/www/html/index.html", "/root/x"}) {
    EXPECT_THAT(inside(one, fmt::format("echo x > {}", path)).err, HasSubstr("Read-only file system")) << path;
  }
  EXPECT_FALSE(inside(one, "mount -o remount,rw / && touch /x").ok()) << "there is no layer to write to";
  for (const char* path : {"/srv/data/x", "/var/log/x", "/run/x", "/tmp/x", "/var/tmp/x"}) {
    EXPECT_EQ(inside(one, fmt::format("echo kept > {}", path)).err, "") << path;
  }
  const auto kept = [&] { return inside(one, "cat /srv/data/x /var/log/x /var/tmp/x; ls /run/x /tmp/x").out; };

  ASSERT_EQ(call([&](auto& machines, Done done) { machines.reboot(one.id, Duration(10'000), std::move(done)); }), "");
  EXPECT_EQ(status(one).boot, 2);
  ASSERT_TRUE(serves(one));
  EXPECT_EQ(kept(), "kept\nkept\nkept\n");

  ASSERT_EQ(call([&](auto& machines, Done done) { machines.stop(one.id, Duration(10'000), std::move(done)); }), "");
  EXPECT_EQ(state_of(one), State::stopped);
  EXPECT_EQ(http_get(region(), one.interface.address, 80).first, 0);
  ASSERT_EQ(call([&](auto& machines, Done done) { machines.start(one.id, std::move(done)); }), "");
  ASSERT_TRUE(serves(one));
  EXPECT_EQ(kept(), "kept\nkept\nkept\n");

  inside(one, "systemctl reboot");
  ASSERT_TRUE(wait_for([&] { return status(one).boot == 2 && status(one).init.pid > 0; }))
      << "a machine may reboot itself";
  ASSERT_TRUE(serves(one));
  EXPECT_EQ(kept(), "kept\nkept\nkept\n");
  EXPECT_EQ(state_of(one), State::running);
  EXPECT_THAT(exits(), IsEmpty());
}

// By the guest's own init, so with what root in the guest may do.
TEST_F(RealMachines, RootInAGuestOpensNoDeviceOfTheHost) {
  const Spec one = spec(10);
  ASSERT_EQ(launch(one), "");
  ASSERT_TRUE(wait_for([&] { return inside(one, "systemctl is-system-running").out == "running\n"; }));
  const auto as_guest = [&](const std::string& script) {
    return inside(one, "systemd-run --quiet --wait --pipe sh -c '" + script + "' 2>&1").out;
  };
  EXPECT_THAT(as_guest("mknod /run/node c 10 237 && echo made"), HasSubstr("Operation not permitted"));
  EXPECT_THAT(as_guest("echo x > /dev/null && head -c 1 /dev/urandom > /dev/null && echo good"), HasSubstr("good"));
  // The kernel's own device files, which it may still mount.
  const std::string opened = as_guest(
      "mkdir /run/all && mount -t devtmpfs none /run/all; cd /run/all && for one in loop-control mem net/tun vda sda "
      "nvme0n1 loop0 kmsg; do (: < $one) && echo opened $one; done; umount /run/all; echo ended");
  EXPECT_THAT(opened, HasSubstr("ended"));
  EXPECT_THAT(opened, HasSubstr("loop-control: Operation not permitted"));
  EXPECT_THAT(opened, ::testing::Not(HasSubstr("opened")));
  // Nor does it lift that: what it sees as the root of its devices' cgroup is below the one that closes them.
  const std::string lifted = as_guest(
      "mkdir -p /run/cg && mount -t cgroup -o devices none /run/cg && echo a > /run/cg/devices.allow && echo lifted; "
      "umount /run/cg; echo ended");
  EXPECT_THAT(lifted, HasSubstr("ended"));
  EXPECT_THAT(lifted, ::testing::Not(HasSubstr("lifted")));
  struct stat folder {};
  ASSERT_EQ(::stat((state() / "instances").c_str(), &folder), 0);
  EXPECT_EQ(folder.st_mode & 07777, 0700u) << "its setuid files are not for other users of the host";
}

TEST_F(RealMachines, AnImageThatIsNotReadOnlyMayBeWritten) {
  Spec one = spec(10);
  one.image = shared_->writable_image;
  ASSERT_EQ(launch(one), "");
  EXPECT_EQ(inside(one, "echo kept > /etc/x && rm /var/www/html/index.html").err, "");
  const Duration asked = wall().uptime();
  ASSERT_EQ(call([&](auto& machines, Done done) { machines.stop(one.id, Duration(60'000), std::move(done)); }), "");
  EXPECT_LT(wall().uptime() - asked, Duration(50'000)) << "a machine that has only begun to boot can be stopped too";
  ASSERT_EQ(call([&](auto& machines, Done done) { machines.start(one.id, std::move(done)); }), "");
  EXPECT_EQ(inside(one, "cat /etc/x; ls /var/www/html").out, "kept\nindex.nginx-debian.html\n");
}

TEST_F(RealMachines, SecurityGroupsHoldBothWays) {
  const Spec one = spec(10);
  const Spec two = spec(11);
  apply({port(one, {http_from("172.31.0.11")}), port(two, {http_from("172.31.0.0/16")})});
  EXPECT_EQ(call([&](auto& machines, Done done) { machines.launch(one, std::move(done)); }), "");
  ASSERT_EQ(launch(two), "");
  ASSERT_TRUE(serves(two));
  const std::string ns_one = slot_->name() + "-" + one.id;
  const std::string ns_two = slot_->name() + "-" + two.id;
  ASSERT_TRUE(wait_for([&] { return http_get(ns_two, one.interface.address, 80).first == 200; }))
      << "its source is named";
  EXPECT_EQ(http_get(ns_one, two.interface.address, 80).first, 200);
  EXPECT_EQ(http_get(region(), one.interface.address, 80).first, 0)
      << "a load balancer is not the machine that is named";
  EXPECT_EQ(http_get(ns_two, one.interface.address, 81).first, 0) << "no rule for that port";

  Port strict = port(one, {http_from("0.0.0.0/0")});
  strict.egress = {EgressRule{"tcp", 443, 443, {"0.0.0.0/0"}}};
  apply({strict, port(two, {http_from("172.31.0.0/16")})});
  EXPECT_EQ(http_get(region(), one.interface.address, 80).first, 200);
  EXPECT_EQ(http_get(ns_one, two.interface.address, 80).first, 0) << "egress allows 443 only";

  host::run_checked({"ip", "-n", ns_two, "address", "add", "172.31.0.77/32", "dev", "eth0"});
  EXPECT_EQ(http_get(ns_two, one.interface.address, 80, Duration(300), "172.31.0.77").first, 0)
      << "nobody speaks with an address that is not his";
  EXPECT_EQ(http_get(ns_two, one.interface.address, 80, Duration(300), "172.31.0.11").first, 200);
}

TEST_F(RealMachines, PublicAddressesForwardWhatIsOpenToEverybody) {
  const Spec one = spec(10);
  Port open = port(one, {http_from("0.0.0.0/0")});
  open.internet = true;
  open.public_address = network_->loopback_address(9);
  apply({open});
  ASSERT_EQ(launch(one), "");
  ASSERT_TRUE(serves(one));
  EXPECT_THAT(network_->problems(), IsEmpty());
  EXPECT_EQ(http_get("", open.public_address, 80).first, 200);
  open.ingress = {http_from("172.31.0.0/16")};
  apply({open});
  EXPECT_EQ(http_get("", open.public_address, 80).first, 0);
}

// An address of this host that is not loopback, or empty.
std::string own_address() {
  for (const std::string& line :
       split(host::run_checked({"ip", "-4", "-o", "address", "show", "scope", "global"}).out, '\n')) {
    const auto at = line.find("inet ");
    if (at != std::string::npos) return line.substr(at + 5, line.find('/', at) - at - 5);
  }
  return {};
}

TEST_F(RealMachines, EgressOnlyWithAWayOut) {
  const std::string outside = own_address();
  ASSERT_FALSE(outside.empty()) << "the test needs an address of this host";
  host::FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in any{};
  any.sin_family = AF_INET;
  ::inet_pton(AF_INET, outside.c_str(), &any.sin_addr);
  socklen_t size = sizeof any;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&any), size), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&any), &size);
  std::thread server([&] {
    for (int fd; (fd = ::accept(listener.get(), nullptr, nullptr)) >= 0;) {
      const std::string answer = "HTTP/1.0 200 OK\r\n\r\noutside";
      ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::shutdown(fd, SHUT_WR);
      char ignored[256];
      while (::recv(fd, ignored, sizeof ignored, 0) > 0) {
      }
      ::close(fd);
    }
  });
  const Spec one = spec(10);
  const Spec two = spec(11);
  Port out = port(one, {});
  out.internet = true;
  apply({out, port(two, {})});
  EXPECT_EQ(launch(one), "");
  EXPECT_EQ(launch(two), "");
  const int number = ntohs(any.sin_port);
  const auto from = [&](const Spec& spec) {
    return http_get(slot_->name() + "-" + spec.id, outside, number, Duration(1000)).first;
  };
  EXPECT_TRUE(wait_for([&] { return from(one) == 200; }, Duration(10'000)));
  EXPECT_EQ(from(two), 0) << "its subnet has no route out";
  apply({port(one, {}), port(two, {})});
  EXPECT_EQ(from(one), 0);

  NetworkOptions options;
  options.slot = slot_->number();
  options.folder = state() / "network";
  network_ = std::make_unique<NamespaceNetwork>(options);
  network_->open();
  apply({out, port(two, {})});
  EXPECT_TRUE(wait_for([&] { return from(one) == 200; }, Duration(10'000))) << "found again after a restart";
  const auto uplinks =
      lines_with(host::run_checked({"ps", "-eo", "args"}).out, "--netns-type=path /run/netns/" + region() + " ");
  EXPECT_EQ(uplinks.size(), 1u) << "and not started twice";
  ::shutdown(listener.get(), SHUT_RDWR);
  server.join();
}

TEST_F(RealMachines, VpcsWithTheSameAddressesKnowNothingOfEachOther) {
  const Spec one = spec(10);
  Spec other = spec(11);
  other.interface = one.interface;
  other.interface.vpc = "vpc-2";
  Spec asks = spec(12);
  asks.interface.vpc = "vpc-2";
  Port outside = port(one, {http_from("0.0.0.0/0")});
  outside.internet = true;
  outside.public_address = network_->loopback_address(9);
  Port inside = port(other, {http_from("0.0.0.0/0")});
  inside.public_address = network_->loopback_address(10);
  std::vector<std::string> heard;
  network_->on_change([&](const std::string& id, bool there) { heard.push_back((there ? "+" : "-") + id); });
  network_->apply({vpc_of({outside}), vpc_of({inside, port(asks, {})}, "vpc-2")});
  EXPECT_THAT(network_->made(), ElementsAre("vpc-1", "vpc-2"));
  for (const Spec& each : {other, asks}) ASSERT_EQ(launch(each), "");
  const std::string second = vpc_namespaces(slot_->number()) + "vpc-2";
  ASSERT_TRUE(wait_for([&] { return http_get(second, other.interface.address, 80).first == 200; }));
  EXPECT_EQ(http_get(region(), other.interface.address, 80).first, 0) << "the address is nobody's in the first";
  const std::string asking = slot_->name() + "-" + asks.id;
  EXPECT_EQ(http_get(asking, other.interface.address, 80).first, 200);
  EXPECT_EQ(http_get("", inside.public_address, 80).first, 0) << "a subnet without a way out cannot be reached";

  ASSERT_EQ(launch(one), "");
  ASSERT_TRUE(serves(one));
  EXPECT_EQ(http_get("", outside.public_address, 80).first, 200);
  ASSERT_EQ(terminate(one), "");
  EXPECT_EQ(http_get(region(), one.interface.address, 80).first, 0);
  EXPECT_EQ(http_get(asking, other.interface.address, 80).first, 200) << "the other has the address still";

  inside.internet = true;
  network_->apply({vpc_of({}), vpc_of({inside, port(asks, {})}, "vpc-2")});
  EXPECT_EQ(http_get("", inside.public_address, 80).first, 200) << "the way out is the way in";
  EXPECT_TRUE(network_->listen("vpc-2", kMetadataAddress, 80));
  EXPECT_THROW(network_->listen("vpc-9", kMetadataAddress, 80), Error);

  for (const Spec& each : {other, asks}) ASSERT_EQ(terminate(each), "");
  network_->apply({vpc_of({})});
  EXPECT_THAT(heard, ElementsAre("+vpc-2", "-vpc-2"));
  EXPECT_FALSE(namespace_exists(second));
  EXPECT_THAT(lines_with(host::run_checked({"ps", "-eo", "args"}).out, "/run/netns/" + second), IsEmpty());
}

TEST_F(RealMachines, MemoryLimitEndsTheHogAndNotTheMachine) {
  const Spec one = spec(10, 256ull << 20);
  apply({port(one, {http_from("0.0.0.0/0")})});
  ASSERT_EQ(launch(one), "");
  ASSERT_TRUE(serves(one));
  const auto hog = inside(
      one, "systemd-run --unit=hog --quiet --wait --pipe tail /dev/zero || systemctl show -P Result hog; echo ended");
  EXPECT_THAT(hog.out, HasSubstr("ended")) << hog.err;
  EXPECT_THAT(hog.out + hog.err, ::testing::AnyOf(HasSubstr("oom-kill"), HasSubstr("signal"))) << "the kernel ended it";
  EXPECT_TRUE(serves(one)) << "the rest of the machine lives";
  EXPECT_EQ(state_of(one), State::running);
}

TEST_F(RealMachines, ItsDeathIsSeen) {
  const Spec one = spec(10);
  const Spec two = spec(11);
  const Spec three = spec(12);
  for (const Spec& each : {one, two, three}) ASSERT_EQ(launch(each), "");
  const host::ProcessRef supervisor = status(one).supervisor;
  const host::ProcessRef init = status(one).init;
  const std::string children = host::read_file(fmt::format("/proc/{0}/task/{0}/children", supervisor.pid));
  ::kill(static_cast<pid_t>(parse_int(trim(children)).value()), SIGKILL);
  ASSERT_TRUE(wait_for([&] { return exits().size() == 1; }));
  EXPECT_EQ(exits()[0].id, one.id);
  EXPECT_EQ(exits()[0].reason, "killed by signal 9");
  EXPECT_FALSE(host::alive(init)) << "nothing of it goes on";
  EXPECT_FALSE(exits()[0].asked);
  EXPECT_EQ(state_of(one), State::stopped);

  ASSERT_TRUE(wait_for([&] { return inside(two, "systemctl poweroff").ok(); })) << "it must have booted so far";
  ASSERT_TRUE(wait_for([&] { return exits().size() == 2; }));
  EXPECT_EQ(exits()[1].id, two.id);
  EXPECT_EQ(exits()[1].reason, "powered off");

  ::kill(status(three).supervisor.pid, SIGKILL);
  ASSERT_TRUE(wait_for([&] { return exits().size() == 3; }));
  EXPECT_EQ(exits()[2].id, three.id);
  EXPECT_EQ(terminate(one), "");
}

TEST_F(RealMachines, AdoptionFindsWhatLivesAndRemovesWhatNobodyKnows) {
  const Spec lives = spec(10);
  const Spec dies = spec(11);
  const Spec unknown = spec(12);
  const Spec half = spec(13);
  const std::vector<IngressRule> open = {http_from("0.0.0.0/0")};
  apply({port(lives, open), port(dies, open), port(unknown, open)});
  for (const Spec& each : {lives, dies, unknown}) ASSERT_EQ(launch(each), "");
  ASSERT_TRUE(serves(lives));
  const host::ProcessRef init = status(lives).init;
  host::call_on(running_->loop, [&] { machines_->launch(half, [](std::exception_ptr) {}); });
  drop_machines();
  ::kill(status(dies).supervisor.pid, SIGKILL);
  EXPECT_EQ(http_get(region(), lives.interface.address, 80).first, 200) << "it goes on without us";
  // The step that was under way comes to its end; nobody hears of it.
  running_.reset();
  running_ = std::make_unique<Running>();

  make_machines();
  std::vector<std::string> found;
  host::call_on(running_->loop, [&] { found = machines_->adopt({lives, dies}); });
  EXPECT_THAT(found, ElementsAre(lives.id));
  EXPECT_EQ(status(lives).init, init);
  ASSERT_TRUE(wait_for([&] { return exits().size() == 1; }));
  EXPECT_EQ(exits()[0].id, dies.id);
  EXPECT_EQ(state_of(dies), State::stopped);
  EXPECT_THAT(host::list_folder(state() / "instances"), ElementsAre(lives.id, dies.id));
  EXPECT_EQ(machine_namespaces(slot_->number()).size(), 2u);
  EXPECT_EQ(http_get(region(), lives.interface.address, 80).first, 200);
  EXPECT_EQ(call([&](auto& machines, Done done) { machines.start(dies.id, std::move(done)); }), "");
  EXPECT_TRUE(serves(dies));
  EXPECT_EQ(terminate(lives), "");
  EXPECT_EQ(terminate(dies), "");
  EXPECT_THAT(mounts_below(state()), IsEmpty());
}

TEST_F(RealMachines, AControlPlaneKilledAtAnyMomentOfALaunchLeavesNothingThatIsNotFound) {
  // From before the first mount (its blobs are verified first) until after init runs.
  std::size_t ever_live = 0;
  std::vector<int> delays_ms = {5, 50, 100, 150, 180, 200, 220, 240, 260, 280, 300, 330, 360, 400, 450, 500, 600};
  for (std::size_t i = 0; i < delays_ms.size(); ++i) {
    const int delay_ms = delays_ms[i];
    host::Daemon child;
    child.argv = {"/proc/self/exe",
                  kControlPlane,
                  state().string(),
                  std::to_string(slot_->number()),
                  shared_->store.folder().string(),
                  shared_->image.digest.str()};
    const host::ProcessRef process = host::spawn_daemon(child);
    wall().sleep(Duration(delay_ms));
    ::kill(process.pid, SIGKILL);
    ASSERT_TRUE(host::wait_gone(process, kPatience));
    make_machines();
    std::vector<std::string> live;
    const std::vector<Spec> specs = {spec_of(20, shared_->image), spec_of(21, shared_->image)};
    host::call_on(running_->loop, [&] { live = machines_->adopt(specs); });
    ever_live += live.size();
    EXPECT_EQ(host::list_folder(state() / "instances"), live) << "after " << delay_ms << " ms";
    EXPECT_EQ(machine_namespaces(slot_->number()).size(), live.size());
    EXPECT_EQ(running_supervisors(state()).size(), live.size());
    for (const Spec& each : specs) EXPECT_EQ(terminate(each), "");
    EXPECT_THAT(mounts_below(state()), IsEmpty());
    EXPECT_THAT(running_supervisors(state()), IsEmpty());
    drop_machines();
    // A slow host has not come far enough yet.
    if (i + 1 == delays_ms.size() && ever_live == 0 && delay_ms < 60'000) delays_ms.push_back(delay_ms * 2);
  }
  EXPECT_GT(ever_live, 0u) << "the last ones must have come far enough";
  make_machines();
}

TEST_F(RealMachines, TerminateOvertakesALaunch) {
  const Spec one = spec(10);
  std::promise<std::string> launched;
  host::call_on(running_->loop, [&] {
    machines_->launch(one, [&](std::exception_ptr failure) {
      try {
        if (failure) std::rethrow_exception(failure);
        launched.set_value("launched");
      } catch (const Error& error) {
        launched.set_value(std::string(to_string(error.code())));
      }
    });
  });
  EXPECT_EQ(terminate(one), "");
  EXPECT_EQ(launched.get_future().get(), "cancelled");
  EXPECT_EQ(state_of(one), State::gone);
  EXPECT_THAT(host::list_folder(state() / "instances"), IsEmpty());
}

TEST_F(RealMachines, AnAlteredBlobIsNamedAndNothingIsLeft) {
  const auto area = shared_->store.temporary();
  host::make_folders(area->path() / "layer/etc");
  host::write_file(area->path() / "layer/etc/x", "x");
  host::run_checked({"mkfs.erofs", (area->path() / "x.erofs").string(), (area->path() / "layer").string()});
  store::Image image = shared_->image;
  image.layers.push_back(shared_->store.put_file(area->path() / "x.erofs", std::string(store::kErofsLayerType)));
  const host::Path blob = shared_->store.path_of(image.layers.back().digest);
  ::chmod(blob.c_str(), 0644);
  std::fstream(blob, std::ios::in | std::ios::out | std::ios::binary).seekp(1024) << "altered";
  Spec one = spec(10);
  one.image = image;
  EXPECT_THAT(launch(one), HasSubstr(image.layers.back().digest.hex()));
  EXPECT_THAT(mounts_below(state()), IsEmpty());
  EXPECT_THAT(host::list_folder(state() / "instances"), IsEmpty());
}

TEST_F(RealMachines, AnImageWithoutInitFailsWithWhatWasSaid) {
  const auto area = shared_->store.temporary();
  host::make_folders(area->path() / "layer/usr");
  host::write_file(area->path() / "layer/etc-release", "x");
  host::run_checked({"mkfs.erofs", (area->path() / "x.erofs").string(), (area->path() / "layer").string()});
  Spec one = spec(10);
  one.image.layers = {shared_->store.put_file(area->path() / "x.erofs", std::string(store::kErofsLayerType))};
  EXPECT_THAT(launch(one), HasSubstr("ended before its init ran"));
  EXPECT_THAT(mounts_below(state()), IsEmpty());
}

TEST_F(RealMachines, AConsoleThatIsFloodedStaysSmall) {
  const Spec one = spec(10);
  ASSERT_EQ(launch(one), "");
  inside(one, "yes flood | head -c 3000000 > /dev/console; echo last line > /dev/console");
  std::string console;
  EXPECT_TRUE(wait_for([&] {
    host::call_on(running_->loop, [&] { console = machines_->console(one.id); });
    return console.find("last line") != std::string::npos;
  }));
  EXPECT_LE(console.size(), kConsoleKept);
  EXPECT_LE(std::filesystem::file_size(state() / "instances" / one.id / "console.log"), kConsoleFileMax);
}

class SeveralMachines : public RealMachines, public ::testing::WithParamInterface<int> {};

TEST_P(SeveralMachines, BootAtOnce) {
  std::vector<Spec> specs;
  std::vector<Port> ports;
  for (int number = 10; number < 10 + GetParam(); ++number) {
    specs.push_back(spec(number));
    ports.push_back(port(specs.back(), {http_from("172.31.0.0/16")}));
  }
  const Duration applied = wall().uptime();
  apply(ports);
  const Duration began = wall().uptime();
  std::vector<std::future<std::string>> calls;
  for (const Spec& each : specs) calls.push_back(std::async(std::launch::async, [&] { return launch(each); }));
  for (auto& each : calls) EXPECT_EQ(each.get(), "");
  const Duration launched = wall().uptime();
  for (const Spec& each : specs) EXPECT_TRUE(serves(each));
  fmt::print("{} at once: rules {} ms, init after {} ms, all HTTP 200 after {} ms\n", GetParam(),
             (began - applied).count(), (launched - began).count(), (wall().uptime() - began).count());
  const Duration asked = wall().uptime();
  calls.clear();
  for (const Spec& each : specs) calls.push_back(std::async(std::launch::async, [&] { return terminate(each); }));
  for (auto& each : calls) EXPECT_EQ(each.get(), "");
  fmt::print("{} terminated in {} ms\n", GetParam(), (wall().uptime() - asked).count());
}

INSTANTIATE_TEST_SUITE_P(Machines, SeveralMachines, ::testing::Values(4, 12));

TEST(HostChecks, HoldOnAHostThatRunsTheseTests) {
  for (const Check& check : check_host("/tmp"))
    EXPECT_TRUE(check.ok || !check.required) << check.name << ": " << check.found;
  EXPECT_NO_THROW(require_host("/tmp"));
}

}  // namespace
}  // namespace kiln::machine

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == kiln::machine::kSupervisorCommand) {
    return kiln::machine::supervisor_main(argc - 1, argv + 1);
  }
  if (argc > 1 && std::string_view(argv[1]) == kiln::machine::kControlPlane) {
    return kiln::machine::control_plane({argv + 2, argv + argc});
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
