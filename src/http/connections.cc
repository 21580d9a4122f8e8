// Connections: the sockets of a server, all of one thread.
#include "http/internal/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "http/date.h"

namespace kiln::http {

namespace {

constexpr std::uint64_t listener_id = 0;
constexpr std::uint64_t mailbox_id = 1;
// How long a client may take to read the last answer before the socket goes.
constexpr Duration linger_max(2000);
constexpr Duration never = Duration::max();

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

std::string peer_of(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = {};
  const void* raw = address.ss_family == AF_INET
                        ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in&>(address).sin_addr)
                        : &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  inet_ntop(address.ss_family, raw, text, sizeof text);
  return text;
}

}  // namespace

std::string serialize(const Response& response, bool head, bool close, Time now) {
  const bool bodiless = response.status < 200 || response.status == 204 || response.status == 304;
  std::string text = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
  text.reserve(text.size() + 512 + response.body.size());
  for (const auto& [name, value] : response.headers.fields()) {
    std::string lower = to_lower(name);
    if (lower == "content-length" || lower == "connection" || lower == "transfer-encoding") {
      continue;
    }
    text.append(name).append(": ");
    for (char c : value) {
      text += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;  // a value must not begin a header of its own
    }
    text.append("\r\n");
  }
  if (!response.headers.has("date")) {
    text.append("Date: ").append(format_date(now)).append("\r\n");
  }
  if (!bodiless) {
    text.append("Content-Length: ").append(std::to_string(response.body.size())).append("\r\n");
  }
  text.append(close ? "Connection: close\r\n\r\n" : "\r\n");
  if (!head && !bodiless) {
    text.append(response.body);
  }
  return text;
}

Mailbox::Mailbox() : wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

void Mailbox::put(Reply reply) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = replies_.empty();
    replies_.push_back(std::move(reply));
  }
  if (first) {
    wake();
  }
}

void Mailbox::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);  // full means that it is awake already
}

std::vector<Reply> Mailbox::take() {
  std::uint64_t count = 0;
  [[maybe_unused]] ssize_t got = ::read(wake_.get(), &count, sizeof count);
  std::lock_guard lock(mutex_);
  return std::exchange(replies_, {});
}

struct Connections::Connection {
  Connection(std::uint64_t number, int socket, const ParserLimits& limits) : id(number), fd(socket), parser(limits) {}

  std::uint64_t id;
  host::FileDescriptor fd;
  std::string peer;
  RequestParser parser;
  std::string out;           // bytes to write
  std::size_t written = 0;   // of them
  bool readable = true;      // the socket may have bytes (edge-triggered)
  bool busy = false;         // a request of it is being answered
  bool close_after = false;  // nothing more is read; closes when `out` is written
  int hops = 0;              // of its packets; 0: the system's
  bool lingering = false;    // all is written; what still comes is dropped, so that the client can read the answer
  Duration deadline = never;
};

Connections::Connections(const Server::Options& options, host::FileDescriptor listener,
                         std::shared_ptr<Mailbox> mailbox, OnRequest on_request)
    : options_(options),
      listener_(std::move(listener)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      mailbox_(std::move(mailbox)),
      on_request_(std::move(on_request)),
      next_look_(never) {
  for (auto [fd, id] : {std::pair(listener_.get(), listener_id), std::pair(mailbox_->fd(), mailbox_id)}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = id;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      throw Error(ErrorCode::io, fmt::format("cannot watch a socket: {}", std::strerror(errno)));
    }
  }
}

Connections::~Connections() = default;

void Connections::run() {
  std::array<epoll_event, 128> events;
  while (!finished()) {
    int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms());
    for (int i = 0; i < count; ++i) {
      const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
      if (id == listener_id) {
        accept_all();
      } else if (id == mailbox_id) {
        deliver();
      } else if (auto found = connections_.find(id); found != connections_.end()) {
        on_event(*found->second, events[static_cast<std::size_t>(i)].events);
      }
    }
    if (clock_.uptime() >= next_look_) {
      end_the_late();
    }
  }
  connections_.clear();
}

void Connections::stop(Duration grace) {
  stop_by_ms_ = (clock_.uptime() + grace).count();
  stopping_ = true;
  mailbox_->wake();
}

// While stopping: idle connections go, those with an answer under way stay until it is written or the time is over.
bool Connections::finished() {
  if (!stopping_) {
    return false;
  }
  if (listener_) {
    listener_.reset();
    std::vector<std::uint64_t> idle;
    for (auto& [id, connection] : connections_) {
      if (!connection->busy && connection->out.empty()) {
        idle.push_back(id);
      }
      connection->close_after = true;
    }
    for (std::uint64_t id : idle) {
      close(id);
    }
    next_look_ = std::min(next_look_, Duration(stop_by_ms_));
  }
  bool owed = std::any_of(connections_.begin(), connections_.end(),
                          [](const auto& entry) { return entry.second->busy || !entry.second->out.empty(); });
  return !owed || clock_.uptime() >= Duration(stop_by_ms_);
}

int Connections::wait_ms() const {
  Duration until = stopping_ ? std::min(next_look_, Duration(stop_by_ms_)) : next_look_;
  if (until == never) {
    return -1;
  }
  return static_cast<int>(std::clamp((until - clock_.uptime()).count() + 1, std::int64_t{0}, std::int64_t{60'000}));
}

void Connections::accept_all() {
  accept_again_ = false;
  while (listener_) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    int fd = accept4(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) {
        continue;
      }
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // The listener stays readable: without a pause this thread would do nothing but try.
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
        accept_again_ = true;
        next_look_ = std::min(next_look_, clock_.uptime() + Duration(100));
      }
      return;
    }
    std::string peer = peer_of(address);
    std::size_t& of_peer = of_peer_[peer];
    if (options_.peer_connections_max != 0 && of_peer >= options_.peer_connections_max) {
      ::close(fd);
      continue;
    }
    ++of_peer;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::uint64_t id = next_id_++;
    auto& connection =
        *connections_
             .emplace(id, std::make_unique<Connection>(id, fd,
                                                       ParserLimits{options_.line_bytes_max, options_.header_bytes_max,
                                                                    options_.body_bytes_max}))
             .first->second;
    connection.peer = std::move(peer);
    set_deadline(connection, options_.idle_timeout);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = id;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      close(id);
    } else if (connections_.size() > options_.connections_max) {
      refuse(connection, {503, "too many connections"});
    }
  }
}

void Connections::deliver() {
  for (Reply& reply : mailbox_->take()) {
    auto found = connections_.find(reply.connection);
    if (found == connections_.end() || !found->second->busy) {
      continue;  // the client has gone
    }
    Connection& connection = *found->second;
    connection.busy = false;
    connection.close_after |= reply.close;
    set_hops(connection, reply.hops);
    connection.out += reply.bytes;
    set_deadline(connection, options_.write_timeout);
    write(connection);
  }
}

void Connections::on_event(Connection& connection, std::uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    close(connection.id);
    return;
  }
  if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) {
    connection.readable = true;
  }
  if ((events & EPOLLOUT) != 0 && !connection.out.empty()) {
    write(connection);  // may close it, and reads on when all is written
    return;
  }
  if (connection.readable) {
    read(connection);
  }
}

// Reads until nothing is there, or a request is ready: then what follows waits in the kernel until it is answered and
// the answer is written, so that a client that does not read cannot make answers pile up.
void Connections::read(Connection& connection) {
  static thread_local std::array<char, std::size_t{64} << 10> buffer;
  while (connection.readable &&
         (connection.lingering || (!connection.busy && !connection.close_after && connection.out.empty()))) {
    ssize_t count = recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      connection.readable = false;
      return;
    }
    if (count <= 0) {
      close(connection.id);
      return;
    }
    if (connection.lingering) {
      continue;
    }
    if (!connection.parser.in_request()) {
      set_deadline(connection, options_.read_timeout);
    }
    const std::uint64_t id = connection.id;
    handle(connection, connection.parser.feed({buffer.data(), static_cast<std::size_t>(count)}));
    if (connections_.find(id) == connections_.end()) {
      return;
    }
  }
}

void Connections::handle(Connection& connection, RequestParser::Status status) {
  if (connection.parser.take_expects_continue() && status == RequestParser::Status::need_more) {
    connection.out += "HTTP/1.1 100 Continue\r\n\r\n";
    write(connection);
  } else if (status == RequestParser::Status::failed) {
    refuse(connection, connection.parser.failure());
  } else if (status == RequestParser::Status::ready) {
    connection.busy = true;
    connection.deadline = never;  // the handler's time is the handler's matter
    Request request = connection.parser.take();
    request.peer = connection.peer;
    on_request_(connection.id, std::move(request), connection.parser.keep_alive() && !stopping_);
  }
}

void Connections::refuse(Connection& connection, const ParseFailure& failure) {
  Response response;
  response.status = failure.status;
  response.headers.add("Content-Type", "text/plain");
  response.body = failure.why + "\n";
  connection.out += serialize(response, false, true, clock_.now());
  connection.close_after = true;
  set_deadline(connection, options_.write_timeout);
  write(connection);
}

void Connections::write(Connection& connection) {
  while (connection.written < connection.out.size()) {
    ssize_t count = send(connection.fd.get(), connection.out.data() + connection.written,
                         connection.out.size() - connection.written, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    }
    if (count < 0) {
      close(connection.id);
      return;
    }
    connection.written += static_cast<std::size_t>(count);
    set_deadline(connection, options_.write_timeout);
  }
  connection.out.clear();
  connection.written = 0;
  if (connection.out.capacity() > (std::size_t{64} << 10)) {
    connection.out.shrink_to_fit();
  }
  if (connection.busy) {
    return;
  }
  if (connection.close_after) {
    linger(connection);
    return;
  }
  set_deadline(connection, connection.parser.in_request() ? options_.read_timeout : options_.idle_timeout);
  // A request may have come with the last one.
  if (connection.parser.in_request()) {
    const std::uint64_t id = connection.id;
    handle(connection, connection.parser.feed({}));
    if (connections_.find(id) == connections_.end()) {
      return;
    }
  }
  read(connection);
}

// Closing a socket that has unread bytes resets the connection, and the client may lose the answer with it (RFC 9112,
// section 9.6): so the writing half goes first, and what comes is dropped for a while.
void Connections::linger(Connection& connection) {
  shutdown(connection.fd.get(), SHUT_WR);
  connection.lingering = true;
  set_deadline(connection, linger_max);
  read(connection);
}

void Connections::close(std::uint64_t id) {
  const auto found = connections_.find(id);
  const auto peer = of_peer_.find(found->second->peer);
  if (--peer->second == 0) {
    of_peer_.erase(peer);
  }
  connections_.erase(found);
}

void Connections::set_hops(Connection& connection, int hops) {
  if (connection.hops == hops) {
    return;
  }
  const int ttl = hops > 0 ? hops : -1;  // ip(7): -1 is the system's again
  setsockopt(connection.fd.get(), IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
  connection.hops = hops;
}

void Connections::set_deadline(Connection& connection, Duration from_now) {
  connection.deadline = clock_.uptime() + from_now;
  next_look_ = std::min(next_look_, connection.deadline);
}

void Connections::end_the_late() {
  const Duration now = clock_.uptime();
  next_look_ = never;
  std::vector<std::uint64_t> late;
  for (auto& [id, connection] : connections_) {
    if (connection->deadline <= now) {
      late.push_back(id);
    } else {
      next_look_ = std::min(next_look_, connection->deadline);
    }
  }
  for (std::uint64_t id : late) {
    Connection& connection = *connections_.at(id);
    if (connection.parser.in_request() && connection.out.empty() && !connection.close_after) {
      refuse(connection, {408, "the request did not come whole in time"});
    } else {
      close(id);
    }
  }
  if (accept_again_ && listener_) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = listener_id;
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
    accept_again_ = false;
  }
}

}  // namespace kiln::http
