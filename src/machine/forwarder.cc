// Forwarder: see forwarder.h. One thread, one epoll; each connection is two sockets and two buffers of bounded size.
#include "machine/forwarder.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "host/clock.h"
#include "machine/namespaces.h"
#include "machine/slots.h"

namespace kiln::machine {
namespace {

constexpr std::size_t kBuffer = 64 * 1024;
constexpr std::size_t kConnectionsMax = 1024;
constexpr int kPortsOfRuleMax = 64;
constexpr int kPause = 100;  // ms without accepting once descriptors have run out, as http/connections.cc does
constexpr std::array kWellKnown = {22, 80, 443, 3000, 3389, 5000, 8000, 8080, 8443, 9000};

sockaddr_in socket_address(const Endpoint& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  if (::inet_pton(AF_INET, endpoint.address.c_str(), &address.sin_addr) != 1) {
    throw Error(ErrorCode::invalid, fmt::format("\"{}\" is no IPv4 address", endpoint.address));
  }
  return address;
}

// One direction of a connection: what was read and is not yet written.
struct Half {
  std::string bytes;
  bool ended = false;  // the reader's side has sent its end
  bool told = false;   // and the writer's side knows
};

struct Connection {
  host::FileDescriptor client;
  host::FileDescriptor target;
  bool connected = false;
  Half up;    // client → target
  Half down;  // target → client
};

// Reads what there is room for; false when the connection is broken.
bool fill(int from, Half& half) {
  char buffer[16384];
  while (!half.ended && half.bytes.size() < kBuffer) {
    const ssize_t got = ::recv(from, buffer, std::min(sizeof buffer, kBuffer - half.bytes.size()), 0);
    if (got > 0) {
      half.bytes.append(buffer, static_cast<std::size_t>(got));
    } else if (got == 0) {
      half.ended = true;
    } else {
      return errno == EAGAIN || errno == EINTR;
    }
  }
  return true;
}

bool drain(int to, Half& half) {
  while (!half.bytes.empty()) {
    const ssize_t sent = ::send(to, half.bytes.data(), half.bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    half.bytes.erase(0, static_cast<std::size_t>(sent));
  }
  if (half.ended && !half.told) {
    ::shutdown(to, SHUT_WR);
    half.told = true;
  }
  return true;
}

std::uint32_t interest(const Half& reads, const Half& writes) {
  std::uint32_t events = 0;
  if (!reads.ended && reads.bytes.size() < kBuffer) events |= EPOLLIN;
  if (!writes.bytes.empty() || (writes.ended && !writes.told)) events |= EPOLLOUT;
  return events;
}

}  // namespace

struct Forwarder::State {
  explicit State(std::string from) : source(std::move(from)) {}

  void run();
  void accept_from(int listener, const Target& target);
  host::FileDescriptor socket_inside(const std::string& network);  // none when there is no such namespace
  void pause();  // accepts nothing for a while: there are no descriptors left
  void go_on();
  void serve(const std::shared_ptr<Connection>& connection, int fd, std::uint32_t events);
  void watch(const std::shared_ptr<Connection>& connection);
  void drop(const std::shared_ptr<Connection>& connection);
  void control(int operation, int fd, std::uint32_t events);

  std::string source;
  host::FileDescriptor epoll{::epoll_create1(EPOLL_CLOEXEC)};
  host::FileDescriptor wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::thread thread;

  std::mutex mutex;  // guards the next four, which `set` changes
  bool stopping = false;
  std::map<Endpoint, host::FileDescriptor> listeners;
  std::map<int, Target> targets;  // listener → where its connections go
  std::vector<host::FileDescriptor> closing;

  // The thread's own.
  std::map<int, std::shared_ptr<Connection>> connections;  // by both of their sockets
  host::SystemClock clock;
  bool paused = false;
  Duration accept_again{0};
};

void Forwarder::State::control(int operation, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  ::epoll_ctl(epoll.get(), operation, fd, &event);
}

void Forwarder::State::run() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), paused ? kPause : -1);
    if (paused && clock.uptime() >= accept_again) go_on();
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == wake.get()) {
        std::uint64_t ignored;
        [[maybe_unused]] const ssize_t got = ::read(fd, &ignored, sizeof ignored);
        std::lock_guard lock(mutex);
        closing.clear();
        if (stopping) return;
        continue;
      }
      if (const auto found = connections.find(fd); found != connections.end()) {
        serve(std::shared_ptr<Connection>(found->second), fd, events[static_cast<std::size_t>(i)].events);
        continue;
      }
      Target target;
      {
        std::lock_guard lock(mutex);
        const auto found = targets.find(fd);
        if (found == targets.end()) continue;
        target = found->second;
      }
      accept_from(fd, target);
    }
  }
}

// Listeners stay readable: without a pause this thread would do nothing but try.
void Forwarder::State::pause() {
  std::lock_guard lock(mutex);
  paused = true;
  accept_again = clock.uptime() + Duration(kPause);
  for (const auto& [fd, target] : targets) control(EPOLL_CTL_MOD, fd, 0);
}

void Forwarder::State::go_on() {
  std::lock_guard lock(mutex);
  paused = false;
  for (const auto& [fd, target] : targets) control(EPOLL_CTL_MOD, fd, EPOLLIN);
}

host::FileDescriptor Forwarder::State::socket_inside(const std::string& network) {
  const host::FileDescriptor ours(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const host::FileDescriptor theirs(::open(namespace_path(network).c_str(), O_RDONLY | O_CLOEXEC));
  if (!ours || !theirs || ::setns(theirs.get(), CLONE_NEWNET) != 0) return {};
  // What is made with socket(2) stays where it was made.
  host::FileDescriptor made(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  KILN_ASSERT(::setns(ours.get(), CLONE_NEWNET) == 0, "a thread may always go back where it was");
  return made;
}

void Forwarder::State::accept_from(int listener, const Target& target) {
  host::FileDescriptor client(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) return pause();
  if (!client || connections.size() / 2 >= kConnectionsMax) return;
  auto connection = std::make_shared<Connection>();
  connection->client = std::move(client);
  connection->target = socket_inside(target.network);
  if (!connection->target) return;
  const int on = 1;
  ::setsockopt(connection->client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(connection->target.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!source.empty()) {
    const sockaddr_in from = socket_address({source, 0});
    ::setsockopt(connection->target.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    ::bind(connection->target.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from);
  }
  const sockaddr_in to = socket_address(target.endpoint);
  if (::connect(connection->target.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS) {
    return;
  }
  connections[connection->client.get()] = connection;
  connections[connection->target.get()] = connection;
  control(EPOLL_CTL_ADD, connection->client.get(), 0);
  control(EPOLL_CTL_ADD, connection->target.get(), EPOLLOUT);
}

void Forwarder::State::serve(const std::shared_ptr<Connection>& connection, int fd, std::uint32_t events) {
  Connection& c = *connection;
  if (!c.connected) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(c.target.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (fd != c.target.get() || error != 0 || (events & EPOLLOUT) == 0) return drop(connection);
    c.connected = true;
  }
  const bool good = fill(c.client.get(), c.up) && fill(c.target.get(), c.down) && drain(c.target.get(), c.up) &&
                    drain(c.client.get(), c.down);
  const bool over = c.up.told && c.down.told;
  if (!good || over || (events & EPOLLERR) != 0) return drop(connection);
  watch(connection);
}

void Forwarder::State::watch(const std::shared_ptr<Connection>& connection) {
  control(EPOLL_CTL_MOD, connection->client.get(), interest(connection->up, connection->down));
  control(EPOLL_CTL_MOD, connection->target.get(), interest(connection->down, connection->up));
}

void Forwarder::State::drop(const std::shared_ptr<Connection>& connection) {
  connections.erase(connection->client.get());
  connections.erase(connection->target.get());
}

Forwarder::Forwarder(std::string source) : state_(std::make_unique<State>(std::move(source))) {
  KILN_ASSERT(state_->epoll && state_->wake, "epoll and eventfd are always there");
  state_->control(EPOLL_CTL_ADD, state_->wake.get(), EPOLLIN);
}

Forwarder::~Forwarder() {
  if (!state_->thread.joinable()) return;
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  ::eventfd_write(state_->wake.get(), 1);
  state_->thread.join();
}

std::vector<std::string> Forwarder::set(const std::map<Endpoint, Target>& wanted) {
  State& state = *state_;
  std::vector<std::string> problems;
  // The thread starts with the first port: most regions of tests never need it.
  if (!wanted.empty() && !state.thread.joinable()) state.thread = std::thread([&state] { state.run(); });
  std::lock_guard lock(state.mutex);
  for (auto it = state.listeners.begin(); it != state.listeners.end();) {
    if (wanted.contains(it->first)) {
      ++it;
      continue;
    }
    // Closed by the thread, so that its number is not given to another file while the thread still names it.
    state.targets.erase(it->second.get());
    ::epoll_ctl(state.epoll.get(), EPOLL_CTL_DEL, it->second.get(), nullptr);
    ::shutdown(it->second.get(), SHUT_RDWR);
    state.closing.push_back(std::move(it->second));
    it = state.listeners.erase(it);
    ::eventfd_write(state.wake.get(), 1);
  }
  for (const auto& [endpoint, target] : wanted) {
    if (const auto found = state.listeners.find(endpoint); found != state.listeners.end()) {
      state.targets[found->second.get()] = target;
      continue;
    }
    host::FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const sockaddr_in address = socket_address(endpoint);
    const int on = 1;
    ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener.get(), 128) != 0) {
      problems.push_back(fmt::format("{}:{}: {}", endpoint.address, endpoint.port, std::strerror(errno)));
      continue;
    }
    state.targets[listener.get()] = target;
    state.control(EPOLL_CTL_ADD, listener.get(), EPOLLIN);
    state.listeners.emplace(endpoint, std::move(listener));
  }
  return problems;
}

namespace {

void add_forwards(std::map<Endpoint, Target>& wanted, const Port& port, const std::string& network) {
  for (const IngressRule& rule : port.ingress) {
    if (rule.protocol != "tcp" && rule.protocol != "-1") continue;
    if (std::find(rule.sources.begin(), rule.sources.end(), "0.0.0.0/0") == rule.sources.end()) continue;
    const int from = rule.protocol == "-1" ? 1 : std::max(rule.from_port, 1);
    const int to = rule.protocol == "-1" ? 65535 : std::min(rule.to_port, 65535);
    const auto add = [&](int number) {
      const auto tcp = static_cast<std::uint16_t>(number);
      wanted[{port.public_address, tcp}] = {network, {port.interface.address, tcp}};
    };
    if (to - from < kPortsOfRuleMax) {
      for (int number = from; number <= to; ++number) add(number);
    } else {
      for (int number : kWellKnown) {
        if (from <= number && number <= to) add(number);
      }
    }
  }
}

}  // namespace

std::map<Endpoint, Target> forwards(const std::vector<Vpc>& vpcs, int slot) {
  std::map<Endpoint, Target> wanted;
  for (const Vpc& vpc : vpcs) {
    for (const Port& port : vpc.ports) {
      if (port.internet && !port.public_address.empty()) add_forwards(wanted, port, vpc_namespaces(slot) + vpc.id);
    }
  }
  return wanted;
}

}  // namespace kiln::machine
