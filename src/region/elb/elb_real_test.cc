// Elb over the real data plane and the real prober: a fleet is replaced under load, and no request fails. Needs root.
#include <unistd.h>

#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "region/elb/haproxy.h"
#include "region/elb/testing/real_world.h"
#include "region/elb/testing/simulated_world.h"

namespace kiln::region::elb {
namespace {

using testing::FakeEc2;
using testing::Load;
using testing::TinyServer;

constexpr int kPort = 8081;

class RealElb : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(getuid(), 0u) << "real load balancers need root: sudo ctest -L e2e";
    ns = std::make_unique<testing::TestNamespace>();
    folder = std::make_unique<host::TemporaryFolder>("elb", "/tmp");
    thread = std::thread([this] { loop.run(); });
    start();
    host::call_on(loop, [&] {
      front = elb->create_load_balancer({"front", {"subnet-a", "subnet-b"}, {"sg-1"}, "internet-facing", {}}).arn;
      web = make_group("web");
      rule = elb->create_listener(front, kPort, {{{web, 1}}, false, 0}, {}).arn;
    });
  }
  void TearDown() override {
    if (!thread.joinable()) return;
    host::call_on(loop, [&] {
      balancer->close();
      kill();
    });
    loop.stop();
    thread.join();
  }

  void start() {
    host::call_on(loop, [&] {
      balancer = std::make_unique<Haproxy>(loop, HaproxySite{folder->path() / "haproxy", ns->name_before_vpc()},
                                           [](const std::string& line) {
                                             const bool usual = line.find("HAProxy runs as process") != line.npos;
                                             EXPECT_TRUE(usual) << line;
                                           });
      prober = std::make_unique<NamespaceProber>(loop, "/run/netns/" + ns->name_before_vpc());
      addresses = std::make_unique<LoopbackPool>([this](int) { return address; });
      elb = std::make_unique<Elb>(loop, random, journal, ec2, *balancer, *prober, *addresses, Options());
      loop.set_turn_end([this] { journal.commit(); });
      elb->open();
    });
  }
  void kill() {
    elb.reset();
    prober.reset();
    balancer.reset();
  }
  TargetGroupArn make_group(const std::string& name) {
    NewTargetGroup wanted{name, "vpc-1", 80, {}, {}};
    wanted.check.path = "/healthz";
    wanted.check.interval_seconds = 5;
    wanted.check.timeout_seconds = 2;
    TargetGroupArn arn = elb->create_target_group(wanted).arn;
    elb->set_attributes(arn, {{"deregistration_delay.timeout_seconds", "1"}});
    return arn;
  }
  // An instance with a server that begins a moment after it was registered, as one that boots.
  void launch(const TargetGroupArn& group, int number) {
    std::string id = fmt::format("i-{}", number);
    host::call_on(loop, [&] {
      ec2.instances[id] = {"vpc-1", "us-east-1a", fmt::format("10.77.0.{}", number), InstancePhase::running};
      elb->register_targets(group, {{id, 0}});
    });
    rest(100);
    servers[number] =
        std::make_unique<TinyServer>(*ns, fmt::format("10.77.0.{}", number), 80, fmt::format("s{}", number));
  }
  TargetHealth health(const TargetGroupArn& group, int number) {
    TargetHealth result;
    host::call_on(loop, [&] { result = elb->target_health(group, {fmt::format("i-{}", number), 0}); });
    return result;
  }
  void wait_for(const TargetGroupArn& group, int number, TargetState state) {
    Duration deadline = clock.uptime() + Duration(15'000);
    while (clock.uptime() < deadline && health(group, number).state != state) rest(10);
    ASSERT_EQ(to_string(health(group, number).state), to_string(state)) << "i-" << number;
  }
  // Draining, then the end of the machine.
  void retire(const TargetGroupArn& group, int number) {
    host::call_on(loop, [&] { elb->deregister_targets(group, {{fmt::format("i-{}", number), 0}}); });
    wait_for(group, number, TargetState::unused);
    servers.erase(number);
    host::call_on(loop, [&] {
      ec2.instances.erase(fmt::format("i-{}", number));
      elb->instance_changed(fmt::format("i-{}", number));
    });
  }
  static void rest(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

  const std::string address = fmt::format("127.79.{}.{}", getpid() / 250 % 250, getpid() % 250 + 1);
  host::SystemClock clock;
  host::ThreadLoop loop{clock, 2};
  std::thread thread;
  host::SystemRandom random;
  MemoryJournal journal;
  FakeEc2 ec2;
  std::unique_ptr<testing::TestNamespace> ns;
  std::unique_ptr<host::TemporaryFolder> folder;
  std::unique_ptr<Haproxy> balancer;
  std::unique_ptr<NamespaceProber> prober;
  std::unique_ptr<LoopbackPool> addresses;
  std::unique_ptr<Elb> elb;
  std::map<int, std::unique_ptr<TinyServer>> servers;
  LoadBalancerArn front;
  TargetGroupArn web;
  ListenerArn rule;
};

TEST_F(RealElb, ReplacesAFleetUnderLoadWhileItsControlPlaneDies) {
  for (int i = 1; i <= 4; ++i) launch(web, i);
  for (int i = 1; i <= 4; ++i) wait_for(web, i, TargetState::healthy);
  rest(200);
  Load busy(address, kPort, 6, 0);
  Load idle(address, kPort, 6, 400);
  for (int i = 1; i <= 4; ++i) {
    launch(web, 10 + i);
    wait_for(web, 10 + i, TargetState::healthy);
    if (i == 2) {
      host::call_on(loop, [&] { kill(); });
      rest(300);
      start();
      EXPECT_EQ(to_string(health(web, 12).state), "healthy");
    }
    retire(web, i);
  }
  busy.take_bodies();
  rest(300);
  EXPECT_EQ(busy.take_bodies().size(), 4U);
  busy.stop();
  idle.stop();
  EXPECT_EQ(busy.failed(), 0) << busy.first_failure();
  EXPECT_EQ(idle.failed(), 0) << idle.first_failure();
  EXPECT_GT(busy.sent(), 1000);
}

TEST_F(RealElb, ShiftsToANewGroupByWeightAndBackUnderLoad) {
  for (int i = 1; i <= 2; ++i) launch(web, i);
  for (int i = 1; i <= 2; ++i) wait_for(web, i, TargetState::healthy);
  rest(200);
  Load load(address, kPort, 6, 0);
  TargetGroupArn green;
  host::call_on(loop, [&] {
    green = make_group("green");
    elb->modify_listener(rule, std::nullopt, Forward{{{web, 100}, {green, 0}}, false, 0});
  });
  for (int i = 3; i <= 4; ++i) launch(green, i);
  for (int i = 3; i <= 4; ++i) wait_for(green, i, TargetState::healthy);
  rest(200);
  for (int weight : {10, 50, 100}) {
    host::call_on(loop, [&] {
      elb->modify_listener(rule, std::nullopt, Forward{{{web, 100 - weight}, {green, weight}}, false, 0});
    });
    rest(300);
  }
  load.take_bodies();
  rest(200);
  auto bodies = load.take_bodies();
  EXPECT_EQ(bodies.count("s1") + bodies.count("s2"), 0U);
  host::call_on(loop, [&] { elb->modify_listener(rule, std::nullopt, Forward{{{web, 1}}, false, 0}); });
  wait_for(green, 3, TargetState::unused);
  rest(300);
  load.stop();
  EXPECT_EQ(load.failed(), 0) << load.first_failure();
}

TEST_F(RealElb, TakesASickTargetOutOfService) {
  launch(web, 1);
  launch(web, 2);
  wait_for(web, 1, TargetState::healthy);
  wait_for(web, 2, TargetState::healthy);
  servers[1]->health = 500;
  wait_for(web, 1, TargetState::unhealthy);
  EXPECT_EQ(health(web, 1).description, "Health checks failed with these codes: [500]");
  rest(200);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(testing::get(address, kPort, "/").body, "s2");
}

}  // namespace
}  // namespace kiln::region::elb
