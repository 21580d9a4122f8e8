// NamespaceProber: HTTP probes by sockets made inside network namespaces, all watched by one thread.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "host/file.h"
#include "region/elb/prober.h"

namespace kiln::region::elb {

namespace {

// A status line is short; what answers more than this without one speaks no HTTP.
constexpr std::size_t kStatusLineMax = 1024;

struct Exchange {
  Probe probe;
  ProbeDone done;
  host::FileDescriptor socket;
  bool connected = false;
  std::string request;  // what is left to send
  std::string answer;
  std::multimap<Duration, int>::iterator deadline;
  Duration give_up{};  // of the whole exchange
};

// "HTTP/1.1 200 OK"; nullopt when more is needed, 0 when it is no HTTP.
std::optional<int> read_status(const std::string& answer) {
  std::size_t end = answer.find('\n');
  if (end == std::string::npos && answer.size() < kStatusLineMax) return std::nullopt;
  if (answer.size() < 12 || !answer.starts_with("HTTP/1.")) return 0;
  auto status = parse_int(answer.substr(9, 3));
  return status && *status >= 100 && *status <= 599 ? static_cast<int>(*status) : 0;
}

// A socket of that namespace; the thread is where it was afterwards.
host::FileDescriptor socket_inside(const std::string& path) {
  const auto make = [] {
    return host::FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  };
  if (path.empty()) return make();
  const host::FileDescriptor ours(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const host::FileDescriptor theirs(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!ours || !theirs || setns(theirs.get(), CLONE_NEWNET) != 0) return {};
  host::FileDescriptor made = make();
  KILN_ASSERT(setns(ours.get(), CLONE_NEWNET) == 0, "a thread may always go back where it was");
  return made;
}

}  // namespace

struct NamespaceProber::State : std::enable_shared_from_this<NamespaceProber::State> {
  State(host::Loop& on, std::string before, std::size_t most) : loop(on), namespaces(std::move(before)), limit(most) {}

  host::Loop& loop;
  const std::string namespaces;
  const std::size_t limit;
  host::SystemClock clock;
  std::thread thread;
  std::atomic<bool> ended = false;
  host::FileDescriptor epoll;
  host::FileDescriptor wake;

  std::mutex mutex;
  std::deque<std::pair<Probe, ProbeDone>> asked;

  // The thread's own.
  std::map<int, Exchange> exchanges;
  std::multimap<Duration, int> deadlines;
  std::deque<std::pair<Probe, ProbeDone>> queue;

  void run() {
    std::array<epoll_event, 256> events{};
    while (!ended) {
      int count = epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), next_wait());
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.fd == wake.get()) {
          take_asked();
        } else {
          advance(event.data.fd, event.events);
        }
      }
      expire();
      while (exchanges.size() < limit && !queue.empty()) {
        auto [probe, done] = std::move(queue.front());
        queue.pop_front();
        begin(std::move(probe), std::move(done));
      }
    }
  }

  int next_wait() {
    if (deadlines.empty()) return -1;
    return static_cast<int>(std::clamp<std::int64_t>((deadlines.begin()->first - clock.uptime()).count(), 0, 60'000));
  }

  void take_asked() {
    std::uint64_t ignored = 0;
    if (read(wake.get(), &ignored, sizeof ignored) < 0) return;
    std::lock_guard lock(mutex);
    queue.insert(queue.end(), std::make_move_iterator(asked.begin()), std::make_move_iterator(asked.end()));
    asked.clear();
  }

  void report(ProbeDone done, ProbeResult result) {
    loop.post([self = shared_from_this(), done = std::move(done), result] {
      if (!self->ended) done(result);
    });
  }

  void begin(Probe probe, ProbeDone done) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(probe.port));
    host::FileDescriptor socket = socket_inside(namespaces.empty() ? namespaces : namespaces + probe.vpc);
    if (!socket || inet_pton(AF_INET, probe.address.c_str(), &where.sin_addr) != 1) {
      return report(std::move(done), {ProbeResult::Kind::unreachable, 0});
    }
    int connected = connect(socket.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where);
    if (connected != 0 && errno != EINPROGRESS) return report(std::move(done), failure_of(errno));
    int fd = socket.get();
    Exchange exchange;
    exchange.request = fmt::format(
        "GET {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: "
        "gzip, compressed\r\n\r\n",
        probe.path, probe.address, probe.port);
    Duration now = clock.uptime();
    exchange.give_up = now + probe.timeout;
    exchange.deadline = deadlines.emplace(now + std::min(probe.timeout, probe.connect_timeout), fd);
    exchange.probe = std::move(probe);
    exchange.done = std::move(done);
    exchange.socket = std::move(socket);
    exchanges.emplace(fd, std::move(exchange));
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.fd = fd;
    epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
  }

  static ProbeResult failure_of(int error) {
    bool refused = error == ECONNREFUSED || error == ECONNRESET;
    return {refused ? ProbeResult::Kind::refused : ProbeResult::Kind::unreachable, 0};
  }

  void finish(int fd, ProbeResult result) {
    auto found = exchanges.find(fd);
    deadlines.erase(found->second.deadline);
    ProbeDone done = std::move(found->second.done);
    exchanges.erase(found);  // closes the socket, which leaves epoll with it
    report(std::move(done), result);
  }

  void expire() {
    Duration now = clock.uptime();
    while (!deadlines.empty() && deadlines.begin()->first <= now) {
      int fd = deadlines.begin()->second;
      bool connected = exchanges.at(fd).connected;
      finish(fd, {connected ? ProbeResult::Kind::timed_out : ProbeResult::Kind::unreachable, 0});
    }
  }

  void advance(int fd, std::uint32_t events) {
    auto found = exchanges.find(fd);
    if (found == exchanges.end()) return;
    Exchange& exchange = found->second;
    if (!exchange.connected) {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) return finish(fd, failure_of(error));
      exchange.connected = true;
      deadlines.erase(exchange.deadline);
      exchange.deadline = deadlines.emplace(exchange.give_up, fd);
    }
    if (!exchange.request.empty() && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
      return send_request(fd, exchange);
    read_answer(fd, exchange);
  }

  void send_request(int fd, Exchange& exchange) {
    ssize_t sent = send(fd, exchange.request.data(), exchange.request.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (sent < 0) return finish(fd, {ProbeResult::Kind::broken, 0});
    exchange.request.erase(0, static_cast<std::size_t>(sent));
    if (!exchange.request.empty()) return;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll.get(), EPOLL_CTL_MOD, fd, &event);
  }

  void read_answer(int fd, Exchange& exchange) {
    std::array<char, 4096> buffer{};
    ssize_t count = recv(fd, buffer.data(), buffer.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return finish(fd, {ProbeResult::Kind::broken, 0});
    exchange.answer.append(buffer.data(), static_cast<std::size_t>(count));
    auto status = read_status(exchange.answer);
    if (!status) return;
    finish(fd, *status == 0 ? ProbeResult{ProbeResult::Kind::broken, 0}
                            : ProbeResult{ProbeResult::Kind::answered, *status});
  }
};

NamespaceProber::NamespaceProber(host::Loop& loop, std::string namespaces, std::size_t limit)
    : state_(std::make_shared<State>(loop, std::move(namespaces), limit)) {
  State& state = *state_;
  state.epoll = host::FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  state.wake = host::FileDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state.epoll || !state.wake) {
    throw Error(ErrorCode::io, fmt::format("cannot make the health prober: {}", std::strerror(errno)));
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = state.wake.get();
  epoll_ctl(state.epoll.get(), EPOLL_CTL_ADD, state.wake.get(), &event);
  state.thread = std::thread([self = state_] { self->run(); });
}

NamespaceProber::~NamespaceProber() {
  state_->ended = true;
  std::uint64_t one = 1;
  if (write(state_->wake.get(), &one, sizeof one) < 0) {
    // Full: the thread is about to wake anyway.
  }
  state_->thread.join();
}

void NamespaceProber::probe(const Probe& probe, ProbeDone done) {
  {
    std::lock_guard lock(state_->mutex);
    state_->asked.emplace_back(probe, std::move(done));
  }
  std::uint64_t one = 1;
  if (write(state_->wake.get(), &one, sizeof one) < 0) {
    // Full: the thread is about to wake anyway.
  }
}

}  // namespace kiln::region::elb
