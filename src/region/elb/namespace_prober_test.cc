// NamespaceProber: tests over loopback, in the caller's own namespace.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "host/file.h"
#include "region/elb/prober.h"

namespace kiln::region::elb {
namespace {

// Answers one connection after the other with `answer`, or not at all when it is empty.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer) : answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof here;
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&here), size), 0);
    EXPECT_EQ(listen(listener_.get(), 64), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&here), &size);
    port = ntohs(here.sin_port);
    thread_ = std::thread([this] {
      std::vector<host::FileDescriptor> silent;
      for (;;) {
        host::FileDescriptor fd(accept(listener_.get(), nullptr, nullptr));
        if (!fd) return;
        char bytes[2048];
        ssize_t count = recv(fd.get(), bytes, sizeof bytes, 0);
        if (count > 0) asked.assign(bytes, static_cast<std::size_t>(count));
        if (answer_.empty()) {
          silent.push_back(std::move(fd));
        } else if (answer_ != "close") {
          send(fd.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
        }
      }
    });
  }
  ~OneAnswer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  int port = 0;
  std::string asked;

 private:
  std::string answer_;
  host::FileDescriptor listener_;
  std::thread thread_;
};

class Probing : public ::testing::Test {
 protected:
  void SetUp() override {
    thread = std::thread([this] { loop.run(); });
    prober = std::make_unique<NamespaceProber>(loop, "");
  }
  void TearDown() override {
    prober.reset();
    loop.stop();
    thread.join();
  }
  ProbeResult ask(int port, Duration timeout = Duration(2'000)) {
    std::promise<ProbeResult> promise;
    host::call_on(loop, [&] {
      Probe probe{"127.0.0.1", port, "/healthz", timeout, timeout};
      prober->probe(probe, [&](const ProbeResult& result) { promise.set_value(result); });
    });
    return promise.get_future().get();
  }
  host::SystemClock clock;
  host::ThreadLoop loop{clock, 1};
  std::thread thread;
  std::unique_ptr<NamespaceProber> prober;
};

TEST_F(Probing, TakesTheStatusOfTheAnswerAndSaysWhoAsks) {
  OneAnswer server("HTTP/1.1 503 Not well\r\nContent-Length: 0\r\n\r\n");
  ProbeResult result = ask(server.port);
  EXPECT_EQ(result.kind, ProbeResult::Kind::answered);
  EXPECT_EQ(result.status, 503);
  EXPECT_EQ(server.asked.substr(0, 23), "GET /healthz HTTP/1.1\r\n");
  EXPECT_NE(server.asked.find("User-Agent: ELB-HealthChecker/2.0\r\n"), std::string::npos);
}

TEST_F(Probing, TellsRefusedFromSilentFromBroken) {
  int closed_port = 0;
  {
    OneAnswer server("close");
    closed_port = server.port;
    EXPECT_EQ(ask(server.port).kind, ProbeResult::Kind::broken);
  }
  EXPECT_EQ(ask(closed_port).kind, ProbeResult::Kind::refused);
  OneAnswer silent("");
  EXPECT_EQ(ask(silent.port, Duration(50)).kind, ProbeResult::Kind::timed_out);
  OneAnswer stranger("SSH-2.0-OpenSSH_9.2\r\n");
  EXPECT_EQ(ask(stranger.port).kind, ProbeResult::Kind::broken);
  OneAnswer endless(std::string(2000, 'x'));
  EXPECT_EQ(ask(endless.port).kind, ProbeResult::Kind::broken);
}

TEST_F(Probing, AsksManyAtOnce) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  constexpr int kCount = 300;
  std::promise<void> all;
  int left = kCount;
  int well = 0;
  host::call_on(loop, [&] {
    for (int i = 0; i < kCount; ++i) {
      Probe probe{"127.0.0.1", server.port, "/", Duration(20'000), Duration(20'000)};
      prober->probe(probe, [&](const ProbeResult& result) {
        well += result.status == 200 ? 1 : 0;
        if (--left == 0) all.set_value();
      });
    }
  });
  all.get_future().get();
  EXPECT_EQ(well, kCount);
}

TEST_F(Probing, AVpcWithoutANetworkIsUnreachable) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  prober = std::make_unique<NamespaceProber>(loop, "/run/netns/kiln-no-such-");
  EXPECT_EQ(ask(server.port).kind, ProbeResult::Kind::unreachable);
}

}  // namespace
}  // namespace kiln::region::elb
