// Real machines on a real network: boots a small Debian several times. Needs root and this host's kernel; the first run
// fetches the root file system with mmdebstrap and keeps it in $KILN_TEST_CACHE.
#include "machine/testing/real_machines.h"

namespace kiln::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::http_get;
using ::testing::IsEmpty;
using testing::kControlPlane;
using testing::kPatience;
using testing::kVpc;
using testing::lines_with;
using testing::RealMachines;
using testing::Running;
using testing::spec_of;
using testing::wait_for;
using testing::wall;

// A control plane that launches two machines and does nothing else until it is killed.
int control_plane(const std::vector<std::string>& arguments) {
  host::ThreadLoop loop(wall(), 4);
  store::Store store(arguments.at(2));
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

TEST_F(RealMachines, BootServeAndLeaveNothing) {
  Spec one = spec(10);
  one.files = {{"/etc/nginx/note", "laid over it"}, {"/etc/nowhere/note", "left out"}};
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
  EXPECT_EQ(inside(one, "cat /etc/nginx/note; ls -d /etc/nginx/nginx.conf /etc/nowhere 2>/dev/null").out,
            "laid over it/etc/nginx/nginx.conf\n");
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

// Of one that runs and of one that is stopped; what was removed or replaced is, in the image too.
TEST_F(RealMachines, AnImageOfAMachineHoldsWhatItHasWritten) {
  Spec one = spec(10);
  one.image = shared_->writable_image;
  ASSERT_EQ(launch(one), "");
  ASSERT_TRUE(wait_for([&] { return inside(one, "systemctl is-system-running").out == "running\n"; }));
  ASSERT_EQ(
      inside(one,
             "set -e; useradd --create-home worker; echo mine > /home/worker/note; chown worker: /home/worker/note;"
             "echo changed > /etc/issue; rm /etc/debian_version; rm -r /var/www/html; mkdir /var/www/html;"
             "echo new > /var/www/html/index.html; cp /bin/true /usr/local/bin/raised;"
             "chmod 4755 /usr/local/bin/raised; ln /etc/issue /etc/issue.linked; ln -s issue /etc/issue.symbolic;"
             "mkfifo /srv/pipe; touch /run/x /tmp/x")
          .err,
      "");
  const std::string root = fmt::format("/proc/{}/root", status(one).init.pid);
  ASSERT_EQ(::setxattr((root + "/etc/issue").c_str(), "user.colour", "red", 3, 0), 0);
  const host::FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (root + "/srv/socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);

  const auto began = wall().uptime();
  const store::Image taken = capture(one);
  fmt::print("an image of a running machine after {} ms\n", (wall().uptime() - began).count());
  ASSERT_EQ(taken.layers.size(), one.image.layers.size() + 1);
  EXPECT_EQ(inside(one, "echo after > /srv/after").err, "") << "it goes on";

  Spec two = spec(11);
  two.image = taken;
  ASSERT_EQ(launch(two), "");
  EXPECT_EQ(
      inside(two,
             "cat /etc/issue /home/worker/note; stat -c '%U %a' /home/worker/note /usr/local/bin/raised;"
             "ls /var/www/html /etc/debian_version /srv/socket /srv/after /tmp/x 2>/dev/null; stat -c %h /etc/issue;"
             "readlink /etc/issue.symbolic; stat -c %F /srv/pipe; hostname")
          .out,
      "changed\nmine\nworker 644\nroot 4755\n/var/www/html:\nindex.html\n2\nissue\nfifo\nip-172-31-0-11\n");
  char colour[8] = {};
  EXPECT_EQ(::getxattr(fmt::format("/proc/{}/root/etc/issue", status(two).init.pid).c_str(), "user.colour", colour, 8),
            3);
  EXPECT_EQ(inside(two, "rm -r /home/worker; cat /etc/machine-id").out, machine_id_of(two.id) + "\n");

  ASSERT_EQ(call([&](auto& machines, Done done) { machines.stop(two.id, Duration(10'000), std::move(done)); }), "");
  Spec three = spec(12);
  three.image = capture(two);
  ASSERT_EQ(three.image.layers.size(), taken.layers.size() + 1);
  EXPECT_EQ(launch(three), "");
  EXPECT_EQ(inside(three, "ls -d /home/worker /etc/issue 2>/dev/null").out, "/etc/issue\n");
  EXPECT_THAT(capture_failure(spec(13)), HasSubstr("does not exist"));
  ASSERT_EQ(inside(three, "truncate -s 9G /srv/hole").err, "");
  EXPECT_THAT(call([&](NspawnMachines& machines, Done done) {
                machines.capture(three.id, [done](std::exception_ptr failure, const Digest&) { done(failure); });
              }),
              HasSubstr("more bytes"))
      << "it would be written whole";
}

// Whoever was reading a disk when he was killed left its writers waiting.
TEST_F(RealMachines, ADiskThatWasLeftFrozenGoesOn) {
  const Spec one = spec(10);
  ASSERT_EQ(launch(one), "");
  const auto freeze = [&] {
    const host::FileDescriptor disk(
        ::open((state() / "instances" / one.id / "disk").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return ::ioctl(disk.get(), FIFREEZE, 0);
  };
  ASSERT_EQ(freeze(), 0);
  drop_machines();
  make_machines();
  host::call_on(running_->loop, [&] { EXPECT_THAT(machines_->adopt({one}), ::testing::ElementsAre(one.id)); });
  EXPECT_EQ(inside(one, "touch /srv/data/x && echo written").out, "written\n");
  ASSERT_EQ(freeze(), 0) << "and its removal, when all are removed, leaves nothing either";
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
  if (argc > 1 && std::string_view(argv[1]) == kiln::machine::kAgentCommand) {
    return kiln::machine::agent_main(argc - 1, argv + 1);
  }
  if (argc > 1 && std::string_view(argv[1]) == kiln::machine::kControlPlane) {
    return kiln::machine::control_plane({argv + 2, argv + argc});
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
