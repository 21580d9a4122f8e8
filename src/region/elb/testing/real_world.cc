// RealWorld: a network namespace with small HTTP servers in it, and clients that never stop asking.
#include "region/elb/testing/real_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "host/process.h"
#include "machine/namespaces.h"

namespace kiln::region::elb::testing {

namespace {

sockaddr_in socket_address(const std::string& address, int port) {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, address.c_str(), &where.sin_addr);
  return where;
}

// Reads one HTTP message's head and its body by Content-Length; false when the connection ends first.
bool read_message(int fd, std::string& buffered, std::string& head, std::string& body) {
  char bytes[8192];
  std::size_t end = std::string::npos;
  while ((end = buffered.find("\r\n\r\n")) == std::string::npos) {
    ssize_t count = recv(fd, bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    buffered.append(bytes, static_cast<std::size_t>(count));
  }
  head = buffered.substr(0, end + 2);
  buffered.erase(0, end + 4);
  std::size_t at = to_lower(head).find("content-length:");
  std::size_t length = 0;
  if (at != std::string::npos) {
    length = static_cast<std::size_t>(
        parse_int(trim(std::string_view(head).substr(at + 15, head.find('\r', at) - at - 15))).value_or(0));
  }
  while (buffered.size() < length) {
    ssize_t count = recv(fd, bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    buffered.append(bytes, static_cast<std::size_t>(count));
  }
  body = buffered.substr(0, length);
  buffered.erase(0, length);
  return true;
}

void send_text(int fd, const std::string& text) {
  if (send(fd, text.data(), text.size(), MSG_NOSIGNAL) < 0) return;
}

host::FileDescriptor connect_out(const std::string& address, int port) {
  host::FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval limit{10, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in where = socket_address(address, port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) fd.reset();
  return fd;
}

int status_of(const std::string& head) {
  return head.size() < 12 ? 0 : static_cast<int>(parse_int(head.substr(9, 3)).value_or(0));
}

void pause(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

}  // namespace

TestNamespace::TestNamespace() : name_(fmt::format("kilntest{}-{}", getpid(), kVpc)) {
  machine::make_namespace(name_);
  host::run_checked({"ip", "-n", name_, "addr", "add", "10.77.0.0/24", "dev", "lo"});
}

TestNamespace::~TestNamespace() { machine::remove_namespace(name_); }

TinyServer::TinyServer(const TestNamespace& where, std::string address, int port, std::string name)
    : address_(std::move(address)), port_(port), name_(std::move(name)) {
  machine::run_in_namespace(
      where.path(), [this] { listener_ = host::FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); });
  int on = 1;
  setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in here = socket_address(address_, port_);
  if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 ||
      listen(listener_.get(), 512) != 0) {
    throw Error(ErrorCode::io, fmt::format("cannot listen on {}:{}: {}", address_, port_, std::strerror(errno)));
  }
  acceptor_ = std::thread([this] { accept_all(); });
}

TinyServer::~TinyServer() {
  ended_ = true;
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  {
    std::lock_guard lock(mutex_);
    for (int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  while (active_ > 0) pause(1);
}

void TinyServer::accept_all() {
  while (!ended_) {
    int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    std::lock_guard lock(mutex_);
    open_.push_back(fd);
    ++active_;
    std::thread([this, fd] { serve(fd); }).detach();
  }
}

void TinyServer::serve(int fd) {
  std::string buffered;
  std::string head;
  std::string body;
  while (!ended_ && read_message(fd, buffered, head, body)) {
    bool last = to_lower(head).find("connection: close") != std::string::npos;
    int status = 200;
    std::string answer = name_;
    if (head.starts_with("GET /healthz")) status = health;
    if (head.starts_with("GET /headers")) answer = head;
    if (head.starts_with("GET /slow")) pause(1000);
    if (status == 200 && !head.starts_with("GET /healthz")) ++served_;
    send_text(fd, fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n{}\r\n{}", status, answer.size(),
                              last ? "Connection: close\r\n" : "", answer));
    if (last) break;
  }
  {
    std::lock_guard lock(mutex_);
    open_.erase(std::find(open_.begin(), open_.end(), fd));
    close(fd);
  }
  --active_;
}

Answer get(const std::string& address, int port, const std::string& path, const std::string& extra) {
  Answer answer;
  host::FileDescriptor fd = connect_out(address, port);
  if (!fd) return answer;
  send_text(fd.get(), fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}Connection: close\r\n\r\n", path, extra));
  std::string buffered;
  if (read_message(fd.get(), buffered, answer.head, answer.body)) answer.status = status_of(answer.head);
  return answer;
}

Load::Load(std::string address, int port, int clients, int pause_ms) : address_(std::move(address)), port_(port) {
  for (int i = 0; i < clients; ++i) clients_.emplace_back([this, pause_ms] { ask(pause_ms); });
}

Load::~Load() { stop(); }

void Load::stop() {
  ended_ = true;
  for (std::thread& client : clients_) client.join();
  clients_.clear();
}

std::string Load::first_failure() const {
  std::lock_guard lock(mutex_);
  return first_failure_;
}

std::map<std::string, int> Load::take_bodies() {
  std::lock_guard lock(mutex_);
  return std::exchange(bodies_, {});
}

void Load::fail(const std::string& why) {
  ++failed_;
  std::lock_guard lock(mutex_);
  if (first_failure_.empty()) first_failure_ = why;
}

// A request that a kept connection loses because the other side has closed it is a failure here: a seamless reload has
// none.
void Load::ask(int pause_ms) {
  host::FileDescriptor fd;
  std::string buffered;
  while (!ended_) {
    if (!fd) {
      buffered.clear();
      fd = connect_out(address_, port_);
    }
    ++sent_;
    if (!fd) {
      fail("no connection");
      pause(5);
      continue;
    }
    send_text(fd.get(), "GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    std::string head;
    std::string body;
    if (!read_message(fd.get(), buffered, head, body)) {
      fail("the connection ended before an answer");
      fd.reset();
      continue;
    }
    if (status_of(head) != 200) {
      fail(fmt::format("{} {}", trim(head.substr(0, 40)), body.substr(0, 80)));
    } else {
      std::lock_guard lock(mutex_);
      ++bodies_[body];
    }
    if (to_lower(head).find("connection: close") != std::string::npos) fd.reset();
    pause(pause_ms);
  }
}

}  // namespace kiln::region::elb::testing
