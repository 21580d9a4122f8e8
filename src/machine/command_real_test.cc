// Commands in a real machine: run by its own init, with an end whatever the machine does. Needs root; the root file
// system is that of real_test.cc.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <future>
#include <thread>

#include "base/text.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/process.h"
#include "machine/agent.h"
#include "machine/internal/quick_file.h"
#include "machine/netns.h"
#include "machine/nspawn.h"
#include "machine/slots.h"
#include "machine/supervisor.h"
#include "machine/testing/base_layer.h"
#include "store/store.h"

namespace kiln::machine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using How = CommandEnd::How;

host::SystemClock& wall() {
  static host::SystemClock clock;
  return clock;
}

Spec spec_of(int number, const store::Image& image) {
  Spec spec;
  spec.id = fmt::format("i-{:017x}", number);
  spec.hostname = fmt::format("ip-172-31-0-{}", number);
  spec.image = image;
  spec.interface = {fmt::format("0a:00:00:00:00:{:02x}", number), fmt::format("172.31.0.{}", number), 20, "172.31.0.1",
                    "vpc-1"};
  spec.limits = {512ull << 20, 1.0};
  return spec;
}

// A region's machines, with one that runs; all tests share it.
struct World {
  World() {
    slot.emplace(Slot::take(state(), "command test", wall().now()));
    NetworkOptions wires;
    wires.slot = slot->number();
    wires.folder = state() / "network";
    network = std::make_unique<NamespaceNetwork>(wires);
    network->open();
    Vpc vpc;
    vpc.id = "vpc-1";
    vpc.cidr = "172.31.0.0/16";
    vpc.subnets = {{"172.31.0.0/20", "172.31.0.1"}};
    vpc.needed = true;
    network->apply({vpc});
    const auto area = store.temporary();
    std::filesystem::copy_file(testing::base_layer(), area->path() / "base.erofs");
    store::ImageConfig config;
    config.app = "web";
    config.read_only_root = false;
    image = store.image(
        store.add_image(config, {store.put_file(area->path() / "base.erofs", std::string(store::kErofsLayerType))}));
    start();
  }
  ~World() {
    stop();
    remove_all_machines(state(), slot->number());
    network->close();
  }
  // The control plane's part.
  void start() {
    loop = std::make_unique<host::ThreadLoop>(wall(), 4);
    thread = std::thread([this] { loop->run(); });
    NspawnOptions options;
    options.folder = state();
    options.slot = slot->number();
    host::call_on(*loop, [&] { machines = std::make_unique<NspawnMachines>(*loop, store, options); });
  }
  void stop() {
    host::call_on(*loop, [&] { machines.reset(); });
    loop->stop();
    thread.join();
  }
  host::Path state() const { return folder.path() / "region"; }
  std::string call(const std::function<void(Done)>& act) {
    std::promise<std::string> promise;
    host::call_on(*loop, [&] {
      act([&promise](std::exception_ptr failure) {
        try {
          if (failure) std::rethrow_exception(failure);
          promise.set_value("");
        } catch (const std::exception& error) {
          promise.set_value(error.what());
        }
      });
    });
    return promise.get_future().get();
  }
  std::string launch(const Spec& spec) {
    return call([&](Done done) { machines->launch(spec, std::move(done)); });
  }
  std::string terminate(const Spec& spec) {
    return call([&](Done done) { machines->terminate(spec.id, Duration(5000), std::move(done)); });
  }

  host::TemporaryFolder folder{"kiln-command-test"};
  store::Store store{folder.path() / "store"};
  store::Image image;
  std::optional<Slot> slot;
  std::unique_ptr<NamespaceNetwork> network;
  std::unique_ptr<host::ThreadLoop> loop;
  std::thread thread;
  std::unique_ptr<NspawnMachines> machines;
};

class RealCommands : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(::geteuid(), 0u) << "real machines need root: sudo ctest -L e2e";
    world_ = new World;
    ASSERT_EQ(world_->launch(spec_of(10, world_->image)), "");
  }
  static void TearDownTestSuite() {
    delete world_;
    world_ = nullptr;
  }

  static Command command(const std::string& script) {
    static int number = 0;
    Command made;
    made.id = fmt::format("command-{}", ++number);
    made.script = script;
    made.delivery = Duration(60'000);
    return made;
  }
  std::future<CommandEnd> begin(const Command& asked, const Spec& in) {
    auto promise = std::make_shared<std::promise<CommandEnd>>();
    host::call_on(*world_->loop, [&] {
      world_->machines->run(in.id, asked, [promise](const CommandEnd& end) { promise->set_value(end); });
    });
    return promise->get_future();
  }
  std::future<CommandEnd> begin(const Command& asked) { return begin(asked, machine()); }
  CommandEnd run(const Command& asked) { return begin(asked).get(); }
  CommandEnd run(const std::string& script) { return run(command(script)); }
  Spec machine() const { return spec_of(10, world_->image); }
  pid_t init(const Spec& spec) const { return read_status(world_->state() / "instances" / spec.id).value().init.pid; }
  // By the host's powers, which commands do not have.
  std::string inside(const std::string& script) const {
    host::Command asked;
    asked.argv = {"nsenter", "-t", std::to_string(init(machine())), "-m", "-p", "-n", "-C", "-r", "sh", "-c", script};
    asked.timeout = Duration(20'000);
    return host::run(asked).out;
  }
  // Processes of the machine whose arguments hold that.
  int processes(const std::string& text) {
    const std::string pattern = fmt::format("[{}]{}", text.substr(0, 1), text.substr(1));
    return static_cast<int>(
        parse_int(trim(inside("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -cx '" + pattern + "'")))
            .value_or(-1));
  }
  bool wait_for(const std::function<bool()>& done, Duration budget = Duration(20'000)) const {
    const Duration end = wall().uptime() + budget;
    while (!done()) {
      if (wall().uptime() > end) return false;
      wall().sleep(Duration(10));
    }
    return true;
  }
  int agents() const { return agents(machine()); }
  int agents(const Spec& spec) const {
    const std::string folder = (world_->state() / "instances" / spec.id).string();
    const std::vector<std::string> all = split(host::run_checked({"ps", "-eo", "args"}).out, '\n');
    return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const std::string& line) {
      return line.find(std::string(kAgentCommand) + " " + folder) != std::string::npos;
    }));
  }

  static World* world_;
};

World* RealCommands::world_ = nullptr;

TEST_F(RealCommands, AScriptRunsAsTheMachinesRootUnderItsOwnInit) {
  Command asked = command("echo out; echo err >&2; id -u; cat /proc/1/comm; pwd; echo $WORD; cat /proc/self/cgroup");
  asked.environment = {{"WORD", "a $HOME and \"b\""}};
  const Duration began = wall().uptime();
  const CommandEnd end = run(asked);
  fmt::print("the first command, which waits for the boot: {} ms\n", (wall().uptime() - began).count());
  EXPECT_EQ(end.how, How::exited);
  EXPECT_EQ(end.status, 0);
  EXPECT_THAT(end.out, HasSubstr("out\n0\nsystemd\n/usr/bin\na $HOME and \"b\"\n"));
  EXPECT_THAT(end.out, HasSubstr("kiln-command-" + asked.id + ".service"));
  EXPECT_EQ(end.err, "err\n");
  EXPECT_LE(end.started, end.ended);
}

TEST_F(RealCommands, ACommandHasNoMorePowersThanItsMachine) {
  const auto bounds = [](const std::string& status) {
    for (const std::string& line : split(status, '\n')) {
      if (line.starts_with("CapBnd:")) return line;
    }
    return std::string("none");
  };
  const CommandEnd end = run("cat /proc/self/status");
  EXPECT_EQ(bounds(end.out), bounds(host::read_file(fmt::format("/proc/{}/status", init(machine())))));
  EXPECT_NE(run("mknod /tmp/x b 1 1").status, 0);
}

TEST_F(RealCommands, TheExitStatusIsTheScripts) {
  EXPECT_EQ(run("exit 3").status, 3);
  EXPECT_EQ(run("kill -9 $$").status, 137);
  EXPECT_EQ(run("no-such-program").status, 127);
  EXPECT_EQ(run("#!/bin/bash\n[[ -n $BASH_VERSION ]] && exit 7").status, 7);
  Command asked = command("pwd");
  asked.directory = "/var/tmp";
  EXPECT_EQ(run(asked).out, "/var/tmp\n");
  EXPECT_EQ(run("printf 'a\\0b%%$x$$' | wc -c").how, How::exited);
  EXPECT_EQ(run("cat; echo end").out, "end\n") << "there is no input";
}

TEST_F(RealCommands, ManyAtOnce) {
  std::vector<std::future<CommandEnd>> ends;
  const Duration began = wall().uptime();
  for (int i = 0; i < 20; ++i) ends.push_back(begin(command(fmt::format("sleep 0.2; echo {}", i))));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ends[static_cast<std::size_t>(i)].get().out, fmt::format("{}\n", i));
  fmt::print("20 commands of 200 ms at once: {} ms\n", (wall().uptime() - began).count());
  const Duration alone = wall().uptime();
  run("true");
  fmt::print("one command: {} ms\n", (wall().uptime() - alone).count());
}

TEST_F(RealCommands, ATimeoutKillsTheWholeTree) {
  Command asked = command("echo begun; setsid sleep 9871 & (sleep 9871 & sleep 9871) & wait");
  asked.timeout = Duration(1'000);
  const CommandEnd end = run(asked);
  EXPECT_EQ(end.how, How::timed_out);
  EXPECT_EQ(end.out, "begun\n");
  EXPECT_TRUE(wait_for([&] { return processes("9871") == 0; })) << processes("9871");
}

TEST_F(RealCommands, CancelKillsTheWholeTree) {
  const Command asked = command("trap '' TERM; sleep 9872 & sleep 9872");
  auto end = begin(asked);
  EXPECT_TRUE(wait_for([&] { return processes("9872") == 2; })) << processes("9872");
  host::call_on(*world_->loop, [&] { world_->machines->cancel(machine().id, asked.id); });
  EXPECT_EQ(end.get().how, How::cancelled);
  EXPECT_TRUE(wait_for([&] { return processes("9872") == 0; }));
}

TEST_F(RealCommands, WhatAScriptLeavesInTheBackgroundGoesOnAndIsHeardOut) {
  const CommandEnd end = run("(while :; do echo word; sleep 0.05; done) & sleep 9873 & echo left");
  EXPECT_EQ(end.how, How::exited);
  EXPECT_THAT(end.out, HasSubstr("left\n"));
  wall().sleep(Duration(300));
  EXPECT_EQ(processes("9873"), 1);
  EXPECT_GE(agents(), 1) << "somebody still reads what it writes";
  inside("for p in /proc/[0-9]*; do grep -q kiln-command $p/cgroup 2>/dev/null && kill -9 ${p#/proc/}; done");
  EXPECT_TRUE(wait_for([&] { return agents() == 0; }));
}

TEST_F(RealCommands, OfAFloodTheFirstIsKept) {
  const CommandEnd end = run("yes | head -c 1048576; yes no | head -c 1048576 >&2; exit 5");
  EXPECT_EQ(end.status, 5);
  EXPECT_EQ(end.out.size(), kCommandOutMax);
  EXPECT_EQ(end.err.size(), kCommandErrMax);
  EXPECT_TRUE(end.out_cut);
  EXPECT_TRUE(end.err_cut);
  Command forever = command("yes");
  forever.timeout = Duration(1'500);
  EXPECT_EQ(run(forever).how, How::timed_out);
}

TEST_F(RealCommands, NothingOfACommandIsLeftInTheMachineOrBesideIt) {
  run("true");
  EXPECT_TRUE(wait_for([&] { return agents() == 0; }));
  EXPECT_EQ(inside("ls /run/kiln-commands"), "");
  EXPECT_THAT(inside("systemctl list-units --all 'kiln-command-*' --no-legend"), IsEmpty());
  EXPECT_TRUE(
      wait_for([&] { return host::list_folder(world_->state() / "instances" / machine().id / "commands").empty(); }));
}

// A machine's root may do anything in it; what it does to the socket harms nobody but itself.
class HostileMachine : public RealCommands {
 protected:
  void SetUp() override {
    ASSERT_EQ(run("echo booted").out, "booted\n");
    inside("mv /run/systemd/private /run/systemd/kept");
  }
  void TearDown() override { inside("rm -rf /run/systemd/private; mv /run/systemd/kept /run/systemd/private"); }
  CommandEnd tried() {
    Command asked = command("echo never");
    asked.delivery = Duration(500);
    const CommandEnd end = run(asked);
    EXPECT_TRUE(wait_for([&] { return agents() == 0; })) << "nobody stays with a command that was not begun";
    return end;
  }
};

TEST_F(HostileMachine, ALinkIsNotFollowed) {
  inside("ln -s kept /run/systemd/private");
  EXPECT_EQ(tried().how, How::undelivered);
  inside("rm /run/systemd/private; ln -s /proc/1/root/run/systemd/kept /run/systemd/private");
  EXPECT_EQ(tried().how, How::undelivered);
}

TEST_F(HostileMachine, AnotherProcesssSocketIsNotInit) {
  inside("systemd-socket-activate -l /run/systemd/private sleep 1000 >/dev/null 2>&1 & echo $! >/run/fake");
  EXPECT_TRUE(wait_for([&] { return inside("ls -l /run/systemd/private").starts_with("srw"); }));
  EXPECT_EQ(tried().how, How::undelivered);
  EXPECT_EQ(inside("kill $(cat /run/fake) && echo killed"), "killed\n");
}

TEST_F(HostileMachine, WhatIsNoSocketIsRefused) {
  inside("mkfifo /run/systemd/private");
  EXPECT_EQ(tried().how, How::undelivered);
  inside("rm /run/systemd/private; mkdir /run/systemd/private");
  EXPECT_EQ(tried().how, How::undelivered);
}

TEST_F(RealCommands, AnInitThatHangsIsGivenUp) {
  Command asked = command("echo never");
  asked.delivery = Duration(1'000);
  ::kill(init(machine()), SIGSTOP);
  const Duration began = wall().uptime();
  auto end = begin(asked);
  // Meanwhile the host's own work goes on.
  bool answered = false;
  host::call_on(*world_->loop, [&] { answered = true; });
  EXPECT_TRUE(answered);
  EXPECT_EQ(end.get().how, How::undelivered);
  EXPECT_LT(wall().uptime() - began, Duration(15'000));
  ::kill(init(machine()), SIGCONT);
  EXPECT_EQ(run("echo again").out, "again\n");
  EXPECT_TRUE(wait_for([&] { return agents() == 0; }));
}

TEST_F(RealCommands, AnInitThatHangsUnderACommandLosesIt) {
  const Command asked = command("sleep 30");
  auto end = begin(asked);
  EXPECT_TRUE(wait_for([&] { return processes("30") == 1; }));
  ::kill(init(machine()), SIGSTOP);
  EXPECT_EQ(end.get().how, How::lost);
  ::kill(init(machine()), SIGCONT);
  inside("systemctl kill --signal=KILL kiln-command-" + asked.id);
}

TEST_F(RealCommands, ACommandOutlivesTheControlPlaneAndRunsOnce) {
  inside("rm -f /var/tmp/ran");
  const Command asked = command("echo ran >> /var/tmp/ran; sleep 1; echo done");
  const Command ended = command("echo ended");
  begin(asked);
  begin(ended);
  EXPECT_TRUE(wait_for([&] { return inside("cat /var/tmp/ran") == "ran\n"; }));
  world_->stop();
  wall().sleep(Duration(200));
  world_->start();
  host::call_on(*world_->loop, [&] { world_->machines->adopt({machine()}); });
  EXPECT_EQ(run(asked).out, "done\n");
  EXPECT_EQ(run(ended).out, "ended\n");
  EXPECT_EQ(inside("cat /var/tmp/ran"), "ran\n");
}

TEST_F(RealCommands, AMachineThatEndsEndsItsCommands) {
  const Spec other = spec_of(11, world_->image);
  ASSERT_EQ(world_->launch(other), "");
  auto end = begin(command("echo begun; sleep 60"), other);
  EXPECT_TRUE(wait_for([&] { return agents(other) == 1; }));
  EXPECT_EQ(world_->terminate(other), "");
  const CommandEnd how = end.get();
  // Its init may have had the time to end it.
  EXPECT_TRUE(how.how == How::lost || how.how == How::undelivered || how.status != 0);
  EXPECT_TRUE(wait_for([&] { return agents(other) == 0; }));
}

TEST_F(RealCommands, AnAgentThatIsKilledLeavesItsCommandLost) {
  auto end = begin(command("sleep 60"));
  EXPECT_TRUE(wait_for([&] { return processes("60") == 1; }));
  host::Command kill;
  kill.argv = {"pkill", "-9", "-f", std::string(kAgentCommand) + " " + world_->state().string()};
  host::run(kill);
  EXPECT_EQ(end.get().how, How::lost);
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
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
