// Server: the listening socket, the pool of handlers, and answers that find their way back.
#include "http/server.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "base/error.h"
#include "http/internal/connections.h"
#include "http/port_holder.h"

namespace kiln::http {

namespace {

// As much as the kernel lets (net.core.somaxconn), so that a burst of clients queues and is not turned away.
constexpr int backlog = 4096;

std::string origin_of(const std::string& host, std::uint16_t port) {
  const bool ipv6 = host.find(':') != std::string::npos;
  return ipv6 ? fmt::format("http://[{}]:{}", host, port) : fmt::format("http://{}:{}", host, port);
}

[[noreturn]] void cannot_listen(const std::string& host, std::uint16_t port, int error) {
  const std::string where = fmt::format("{}:{}", host, port);
  if (error == EADDRINUSE) {
    std::string holder = port_holder(port);
    throw Error(ErrorCode::held,
                fmt::format("port {} of {} is in use by {}", port, host, holder.empty() ? "another process" : holder),
                "end that process, or choose another port");
  }
  if (error == EACCES || error == EPERM) {
    throw Error(ErrorCode::denied, fmt::format("no permission to listen on {}", where),
                port < 1024 ? "choose a port of 1024 or above, or run as root" : "");
  }
  if (error == EADDRNOTAVAIL) {
    throw Error(ErrorCode::invalid, fmt::format("{} is no address of this machine", host),
                "choose one that `ip address` shows");
  }
  throw Error(ErrorCode::io, fmt::format("cannot listen on {}: {}", where, std::strerror(error)));
}

std::uint16_t port_of(const host::FileDescriptor& listener) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&name), &length);
  return ntohs(name.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(name).sin_port
                                         : reinterpret_cast<sockaddr_in6&>(name).sin6_port);
}

}  // namespace

// Not SO_REUSEPORT: with it two servers would share the port in silence.
host::FileDescriptor listen_on(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    throw Error(ErrorCode::invalid, fmt::format("'{}' is not an IP address to listen on", host),
                "write it as 127.0.0.1 or ::1");
  }
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> address(found, &freeaddrinfo);
  host::FileDescriptor fd(socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!fd || bind(fd.get(), address->ai_addr, address->ai_addrlen) != 0 || listen(fd.get(), backlog) != 0) {
    cannot_listen(host, port, errno);
  }
  return fd;
}

struct Responder::State {
  State(std::shared_ptr<Mailbox> to, std::uint64_t id, bool is_head, bool keep)
      : mailbox(std::move(to)), connection(id), head(is_head), keep_alive(keep) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    Response nothing;
    nothing.status = 500;
    answer(nothing);
  }

  void answer(const Response& response) {
    if (!answered.exchange(true)) {
      mailbox->put(
          {connection, serialize(response, head, !keep_alive, host::SystemClock().now()), !keep_alive, response.hops});
    }
  }

  std::shared_ptr<Mailbox> mailbox;
  std::uint64_t connection;
  bool head;
  bool keep_alive;
  std::atomic<bool> answered{false};
};

void Responder::operator()(Response response) const { state_->answer(response); }

Handler answering(std::function<Response(const Request&)> handler) {
  return
      [handler = std::move(handler)](const Request& request, const Responder& respond) { respond(handler(request)); };
}

struct Server::State {
  struct Job {
    Request request;
    Responder respond;
  };

  State(Options given, host::FileDescriptor listener, Handler to_call)
      : options(std::move(given)), handler(std::move(to_call)), port(port_of(listener)) {
    connections = std::make_unique<Connections>(
        options, std::move(listener), mailbox, [this](std::uint64_t id, Request request, bool keep_alive) {
          const bool head = request.method == "HEAD";
          std::lock_guard lock(mutex);
          // At most one job a connection, so the queue is bounded by the connections.
          jobs.push_back(
              {std::move(request), Responder(std::make_shared<Responder::State>(mailbox, id, head, keep_alive))});
          ready.notify_one();
        });
  }

  void work() {
    for (;;) {
      std::unique_lock lock(mutex);
      ready.wait(lock, [this] { return stopped || !jobs.empty(); });
      if (jobs.empty()) {
        return;
      }
      Job job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      try {
        handler(std::move(job.request), job.respond);
      } catch (...) {
        // Whatever it was, the handler's owner has had its chance to log it; the client sees that it went wrong.
        Response failed;
        failed.status = 500;
        job.respond(std::move(failed));
      }
    }
  }

  Options options;
  Handler handler;
  std::uint16_t port = 0;
  std::shared_ptr<Mailbox> mailbox = std::make_shared<Mailbox>();
  std::mutex mutex;
  std::condition_variable ready;
  std::deque<Job> jobs;
  bool stopped = false;
  std::unique_ptr<Connections> connections;
  std::thread sockets;
  std::vector<std::thread> pool;
};

Server::Server(Options options, Handler handler)
    : Server(options, listen_on(options.host, options.port), std::move(handler)) {}

Server::Server(Options options, host::FileDescriptor listener, Handler handler)
    : state_(std::make_unique<State>(std::move(options), std::move(listener), std::move(handler))) {}

Server::~Server() { stop(); }

void Server::start() {
  KILN_ASSERT(!state_->sockets.joinable(), "a server is started once");
  state_->sockets = std::thread([this] { state_->connections->run(); });
  for (std::size_t i = 0; i < state_->options.threads; ++i) {
    state_->pool.emplace_back([this] { state_->work(); });
  }
}

std::uint16_t Server::port() const { return state_->port; }

std::string Server::origin() const { return origin_of(state_->options.host, state_->port); }

void Server::stop(Duration grace) {
  if (state_->sockets.joinable()) {
    state_->connections->stop(grace);
    state_->sockets.join();
  }
  {
    std::lock_guard lock(state_->mutex);
    state_->stopped = true;
    state_->jobs.clear();
  }
  state_->ready.notify_all();
  for (std::thread& thread : state_->pool) {
    thread.join();
  }
  state_->pool.clear();
}

}  // namespace kiln::http
