// Haproxy with a real HAProxy, real servers in a namespace and clients that never stop: no request may fail. Needs
// root.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <future>
#include <set>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/text.h"
#include "host/process.h"
#include "region/elb/haproxy.h"
#include "region/elb/haproxy_socket.h"
#include "region/elb/testing/real_world.h"

namespace kiln::region::elb {
namespace {

using testing::Answer;
using testing::get;
using testing::Load;
using testing::TinyServer;

constexpr int kPort = 8080;

class RealHaproxy : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(getuid(), 0u) << "real load balancers need root: sudo ctest -L e2e";
    ns = std::make_unique<testing::TestNamespace>();
    // The kernel's limit for a socket's path is short; so is this one.
    folder = std::make_unique<host::TemporaryFolder>("elb", "/tmp");
    thread = std::thread([this] { loop.run(); });
    open();
  }

  void TearDown() override {
    if (!thread.joinable()) return;
    host::call_on(loop, [&] {
      balancer->close();
      balancer.reset();
    });
    loop.stop();
    thread.join();
  }

  HaproxySite site() const { return {folder->path() / "haproxy", ns->name()}; }

  void open() {
    host::call_on(loop, [&] {
      balancer = std::make_unique<Haproxy>(loop, site(), [this](const std::string& line) {
        std::lock_guard lock(log_mutex);
        log.push_back(line);
      });
    });
  }

  // Applies and waits until it is in force.
  void apply(const BalancerState& state) {
    std::promise<void> promise;
    host::call_on(loop, [&] {
      balancer->apply(
          state, [&](std::exception_ptr failure) { failure ? promise.set_exception(failure) : promise.set_value(); });
    });
    promise.get_future().get();
  }

  TinyServer& server(int number) {
    auto& slot = servers[number];
    if (!slot) {
      slot = std::make_unique<TinyServer>(*ns, fmt::format("10.77.0.{}", number), 80, fmt::format("s{}", number));
    }
    return *slot;
  }

  static ServerState accepting(int number) {
    return {fmt::format("10.77.0.{}", number), 80, ServerMode::accepting, 100};
  }
  static ServerState closed(int number) { return {fmt::format("10.77.0.{}", number), 80, ServerMode::closed, 100}; }

  BalancerState one_group(std::vector<ServerState> members) const {
    BalancerState state;
    state.groups = {{"web", false, 0, false, std::move(members)}};
    state.listeners = {{"front", address, kPort, {{"web", 1}}, false, 0, 60}};
    return state;
  }

  host::ProcessRef master() const {
    std::string record = host::read_file(site().folder / "haproxy.json");
    std::size_t at = record.find("\"process\":\"") + 11;
    return host::ProcessRef::parse(record.substr(at, record.find('"', at) - at)).value();
  }

  std::string info(const std::string& name) const {
    for (const std::string& line : split(ask_haproxy(site().admin_socket(), "show info"), '\n')) {
      if (line.starts_with(name + ": ")) return line.substr(name.size() + 2);
    }
    return "";
  }

  static void expect_none_failed(Load& load, int least_sent) {
    load.stop();
    EXPECT_EQ(load.failed(), 0) << load.first_failure() << " (of " << load.sent() << ")";
    EXPECT_GT(load.sent(), least_sent);
  }

  // True as soon as it holds; false when it does not within 20 s.
  static bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 2000; ++i, rest(10)) {
      if (holds()) return true;
    }
    return false;
  }
  static void rest(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

  // Side by side with other runs of this test and with regions, which use 127.77.
  const std::string address = fmt::format("127.78.{}.{}", getpid() / 250 % 250, getpid() % 250 + 1);
  host::SystemClock clock;
  host::ThreadLoop loop{clock, 2};
  std::thread thread;
  std::unique_ptr<testing::TestNamespace> ns;
  std::unique_ptr<host::TemporaryFolder> folder;
  std::unique_ptr<Haproxy> balancer;
  std::mutex log_mutex;
  std::vector<std::string> log;
  std::map<int, std::unique_ptr<TinyServer>> servers;
};

TEST_F(RealHaproxy, LosesNoRequestWhileServersComeAndGo) {
  for (int i = 1; i <= 6; ++i) server(i);
  apply(one_group({accepting(1), accepting(2)}));
  std::string generation = info("description");
  Load load(address, kPort, 8, 0);
  for (int round = 0; round < 20; ++round) {
    int old_one = round % 6 + 1;
    int old_two = (round + 1) % 6 + 1;
    int next = (round + 2) % 6 + 1;
    apply(one_group({accepting(old_one), accepting(old_two), accepting(next)}));
    apply(one_group({closed(old_one), accepting(old_two), accepting(next)}));
    rest(40);
    apply(one_group({accepting(old_two), accepting(next)}));
    // As a machine that is ended after its draining.
    servers.erase(old_one);
    server(old_one);
  }
  expect_none_failed(load, 500);
  EXPECT_EQ(info("description"), generation) << "a change of servers is no reload";
}

TEST_F(RealHaproxy, LosesNoRequestInReloads) {
  server(1);
  server(2);
  BalancerState state = one_group({accepting(1), accepting(2)});
  apply(state);
  Load busy(address, kPort, 6, 0);
  Load idle(address, kPort, 6, 120);
  std::string generation = info("description");
  for (int round = 0; round < 10; ++round) {
    state.groups.push_back({fmt::format("other{}", round), false, 0, false, {accepting(1)}});
    apply(state);
    rest(60);
  }
  idle.stop();
  EXPECT_EQ(idle.failed(), 0) << idle.first_failure();
  expect_none_failed(busy, 500);
  EXPECT_NE(info("description"), generation);
}

TEST_F(RealHaproxy, AnIdleConnectionOfAnOldWorkerFollowsTheStateThatHoldsNow) {
  server(1);
  server(2);
  apply(one_group({accepting(1)}));
  Load idle(address, kPort, 4, 1500);
  // Each has asked once, and keeps its connection in the first worker.
  ASSERT_TRUE(eventually([&] { return server(1).served() >= 4; }));
  BalancerState next = one_group({accepting(1)});
  next.groups.push_back({"other", false, 0, false, {}});
  apply(next);
  next.groups[0].servers = {accepting(2)};
  apply(next);
  servers.erase(1);
  EXPECT_TRUE(eventually([&] { return server(2).served() >= 4; }));
  expect_none_failed(idle, 7);
}

TEST_F(RealHaproxy, GrowsPastItsSlotsWithoutALostRequest) {
  server(1);
  apply(one_group({accepting(1)}));
  Load load(address, kPort, 4, 0);
  std::vector<ServerState> members;
  for (int i = 1; i <= 40; ++i) {
    server(i);
    members.push_back(accepting(i));
    if (i % 8 == 1) apply(one_group(members));
  }
  apply(one_group(members));
  load.take_bodies();
  std::set<std::string> seen;
  EXPECT_TRUE(eventually([&] {
    for (const auto& [body, count] : load.take_bodies()) seen.insert(body);
    return seen.size() == 40;
  }));
  expect_none_failed(load, 200);
}

TEST_F(RealHaproxy, SharesRequestsByWeightAndChangesWeightsWithoutAReload) {
  server(1);
  server(2);
  BalancerState state;
  state.groups = {{"blue", false, 0, false, {accepting(1)}}, {"green", false, 0, false, {accepting(2)}}};
  state.listeners = {{"front", address, kPort, {{"blue", 900}, {"green", 100}}, false, 0, 60}};
  apply(state);
  std::string generation = info("description");
  Load load(address, kPort, 4, 0);
  auto share_of_green = [&] {
    rest(200);  // what was under way when the weights changed
    load.take_bodies();
    rest(1000);
    auto bodies = load.take_bodies();
    return static_cast<double>(bodies["s2"]) / std::max(1, bodies["s1"] + bodies["s2"]);
  };
  EXPECT_NEAR(share_of_green(), 0.1, 0.04);
  state.listeners[0].routes = {{"blue", 1}, {"green", 1}};
  apply(state);
  EXPECT_NEAR(share_of_green(), 0.5, 0.06);
  state.listeners[0].routes = {{"blue", 0}, {"green", 999}};
  apply(state);
  EXPECT_EQ(share_of_green(), 1.0);
  expect_none_failed(load, 500);
  EXPECT_EQ(info("description"), generation);
}

TEST_F(RealHaproxy, ARequestUnderWayFinishesWhileItsServerDrains) {
  server(1);
  server(2);
  apply(one_group({accepting(1)}));
  auto slow = std::async(std::launch::async, [&] { return get(address, kPort, "/slow"); });
  rest(200);
  apply(one_group({closed(1), accepting(2)}));
  EXPECT_EQ(get(address, kPort, "/").body, "s2");
  Answer answer = slow.get();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "s1");
}

TEST_F(RealHaproxy, CutsConnectionsWhenDrainingIsOver) {
  server(1);
  server(2);
  apply(one_group({accepting(1)}));
  auto slow = std::async(std::launch::async, [&] { return get(address, kPort, "/slow"); });
  rest(200);
  apply(one_group({closed(1), accepting(2)}));
  apply(one_group({accepting(2)}));
  Answer answer = slow.get();
  EXPECT_NE(answer.status, 200);
}

TEST_F(RealHaproxy, AnswersAsAlbWhenNobodyCanServe) {
  apply(one_group({}));
  Answer none = get(address, kPort, "/");
  EXPECT_EQ(none.status, 503);
  EXPECT_NE(none.body.find("503 Service Temporarily Unavailable"), std::string::npos);
  EXPECT_NE(to_lower(none.head).find("server: awselb/2.0"), std::string::npos);
  apply(one_group({accepting(1)}));  // nobody listens there
  Answer refused = get(address, kPort, "/");
  EXPECT_EQ(refused.status, 502);
  EXPECT_NE(refused.body.find("502 Bad Gateway"), std::string::npos);
  apply(one_group({closed(1)}));
  EXPECT_EQ(get(address, kPort, "/").status, 503);
}

TEST_F(RealHaproxy, AddsAlbsHeadersOnce) {
  server(1);
  apply(one_group({accepting(1)}));
  std::string head = to_lower(get(address, kPort, "/headers", "X-Forwarded-For: 198.51.100.7\r\n").body);
  EXPECT_NE(head.find("x-forwarded-for: 198.51.100.7, 127.0.0.1\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("x-forwarded-proto: http\r\n"), std::string::npos);
  EXPECT_NE(head.find("x-forwarded-port: 8080\r\n"), std::string::npos);
  EXPECT_NE(head.find("x-amzn-trace-id: root=1-"), std::string::npos);
  std::string traced =
      get(address, kPort, "/headers", "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678\r\n").body;
  EXPECT_NE(traced.find(";Root=1-67891233-abcdef012345678912345678"), std::string::npos) << traced;
}

TEST_F(RealHaproxy, KeepsAClientAtItsServerAndFreesItWhenThatDrains) {
  server(1);
  server(2);
  BalancerState state = one_group({accepting(1), accepting(2)});
  state.groups[0].sticky = true;
  state.groups[0].sticky_seconds = 60;
  apply(state);
  Answer first = get(address, kPort, "/");
  std::size_t at = first.head.find("AWSALB=");
  ASSERT_NE(at, std::string::npos) << first.head;
  std::string cookie = "Cookie: " + first.head.substr(at, first.head.find(';', at) - at) + "\r\n";
  for (int i = 0; i < 10; ++i) EXPECT_EQ(get(address, kPort, "/", cookie).body, first.body);
  state.groups[0].servers = {first.body == "s1" ? closed(1) : accepting(1),
                             first.body == "s2" ? closed(2) : accepting(2)};
  apply(state);
  for (int i = 0; i < 10; ++i) EXPECT_NE(get(address, kPort, "/", cookie).body, first.body);
}

TEST_F(RealHaproxy, KeepsAClientInItsTargetGroupByAwsalbtg) {
  server(1);
  server(2);
  BalancerState state;
  state.groups = {{"blue", false, 0, false, {accepting(1)}}, {"green", false, 0, false, {accepting(2)}}};
  state.listeners = {{"front", address, kPort, {{"blue", 1}, {"green", 1}}, true, 100, 60}};
  apply(state);
  Answer first = get(address, kPort, "/");
  std::size_t at = first.head.find("AWSALBTG=");
  ASSERT_NE(at, std::string::npos) << first.head;
  std::string cookie = "Cookie: " + first.head.substr(at, first.head.find(';', at) - at) + "\r\n";
  for (int i = 0; i < 20; ++i) EXPECT_EQ(get(address, kPort, "/", cookie).body, first.body);
}

TEST_F(RealHaproxy, GoesOnWhenItsControllerDiesAndIsFoundAgain) {
  server(1);
  server(2);
  apply(one_group({accepting(1)}));
  host::ProcessRef before = master();
  std::string generation = info("description");
  Load load(address, kPort, 4, 0);
  host::call_on(loop, [&] { balancer.reset(); });
  rest(200);
  open();
  apply(one_group({closed(1), accepting(2)}));
  EXPECT_EQ(master(), before);
  EXPECT_EQ(info("description"), generation) << "the same shape needs no reload";
  load.take_bodies();
  rest(100);
  auto answered = load.take_bodies();
  EXPECT_LE(answered["s1"], 4) << "but what was under way, one a client";
  EXPECT_GT(answered["s2"], 0);
  expect_none_failed(load, 100);
  // Also when what was written down of it is lost.
  host::call_on(loop, [&] { balancer.reset(); });
  host::remove_tree(site().folder / "haproxy.json");
  open();
  apply(one_group({accepting(1)}));
  EXPECT_TRUE(host::alive(before));
  EXPECT_EQ(get(address, kPort, "/").body, "s1");
}

TEST_F(RealHaproxy, IsStartedAgainAtOnceWhenItDies) {
  server(1);
  apply(one_group({accepting(1)}));
  host::ProcessRef before = master();
  ASSERT_TRUE(host::send_signal(before, SIGKILL));
  Duration deadline = clock.uptime() + Duration(5'000);
  while (clock.uptime() < deadline &&
         (host::alive(before) || master() == before || get(address, kPort, "/").status != 200))
    rest(20);
  EXPECT_EQ(get(address, kPort, "/").body, "s1");
  EXPECT_NE(master(), before);
  std::lock_guard lock(log_mutex);
  EXPECT_TRUE(std::ranges::any_of(log, [&](const std::string& line) {
    return line.find(std::to_string(before.pid) + ") has died") != std::string::npos;
  }));
  EXPECT_NE(log.back().find("runs as process " + std::to_string(master().pid)), std::string::npos) << log.back();
}

TEST_F(RealHaproxy, NamesAPortThatSomebodyElseHolds) {
  host::FileDescriptor holder;
  host::call_on(loop, [&] { EXPECT_NO_THROW(balancer->check_free(address, kPort)); });
  TinyServer other(*ns, "10.77.0.1", kPort, "x");  // in another namespace: not ours
  host::call_on(loop, [&] { EXPECT_NO_THROW(balancer->check_free(address, kPort)); });
  apply(one_group({}));
  host::call_on(loop, [&] { EXPECT_NO_THROW(balancer->check_free(address, kPort)) << "our own listener"; });
  host::call_on(loop, [&] {
    Haproxy stranger(loop, {folder->path() / "other", ""}, [](const std::string&) {});
    try {
      stranger.check_free(address, kPort);
      ADD_FAILURE() << "the port is held by the first HAProxy";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::held);
      EXPECT_NE(error.message().find(fmt::format("{}:{}", address, kPort)), std::string::npos);
    }
  });
}

}  // namespace
}  // namespace kiln::region::elb
