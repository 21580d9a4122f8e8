// Connections: the sockets of a server, all of one thread: accepts, reads requests, writes answers, ends what is late.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "host/clock.h"
#include "host/file.h"
#include "http/request_parser.h"
#include "http/server.h"

namespace kiln::http {

// An answer as bytes.
struct Reply {
  std::uint64_t connection = 0;
  std::string bytes;
  bool close = false;
  int hops = 0;  // as Response has it
};

// Where answers are left for the sockets' thread; outlives it, for responders that come late.
class Mailbox {
 public:
  Mailbox();
  void put(Reply reply);
  void wake();
  std::vector<Reply> take();
  int fd() const { return wake_.get(); }

 private:
  std::mutex mutex_;
  std::vector<Reply> replies_;
  host::FileDescriptor wake_;
};

// The whole message. `close` is answered with "Connection: close"; a body is left out for HEAD, 1xx, 204 and 304.
std::string serialize(const Response& response, bool head, bool close, Time now);

class Connections {
 public:
  // A request is ready: answer with `id` through the mailbox, once.
  using OnRequest = std::function<void(std::uint64_t id, Request request, bool keep_alive)>;

  Connections(const Server::Options& options, host::FileDescriptor listener, std::shared_ptr<Mailbox> mailbox,
              OnRequest on_request);
  ~Connections();

  // Until `stop`, and then until all answers are written or `grace` is over.
  void run();
  void stop(Duration grace);  // from any thread

 private:
  struct Connection;

  void accept_all();
  void deliver();
  void on_event(Connection& connection, std::uint32_t events);
  void read(Connection& connection);
  void handle(Connection& connection, RequestParser::Status status);
  void write(Connection& connection);
  void refuse(Connection& connection, const ParseFailure& failure);
  void linger(Connection& connection);
  void close(std::uint64_t id);
  void set_hops(Connection& connection, int hops);
  void set_deadline(Connection& connection, Duration from_now);
  void end_the_late();
  int wait_ms() const;
  bool finished();

  const Server::Options options_;
  host::SystemClock clock_;
  host::FileDescriptor listener_;
  host::FileDescriptor epoll_;
  std::shared_ptr<Mailbox> mailbox_;
  OnRequest on_request_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::unordered_map<std::string, std::size_t> of_peer_;  // how many of them each address has
  std::uint64_t next_id_ = 2;                             // 0 is the listener, 1 the mailbox
  Duration next_look_;                                    // when the next deadline may have passed
  bool accept_again_ = false;                             // out of descriptors: try at the next look
  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> stop_by_ms_{0};
};

}  // namespace kiln::http
