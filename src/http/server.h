// Server: HTTP/1.1 over TCP for programs on this machine: keep-alive, chunked bodies, Expect: 100-continue.
//
// One thread reads and writes all sockets (epoll), so that an idle connection costs a few hundred bytes and no thread;
// handlers run on a bounded pool. Requests of one connection are answered in order, one at a time. What breaks a limit
// is answered with the status that RFC 9110 gives for it (400, 408, 413, 414, 431, 501, 503, 505) and the connection is
// closed. Header values reach the handler byte for byte, without the white space around them: signatures depend on it.
//
// Not built on cpp-httplib 0.11 (Debian 12): it percent-decodes header values, which breaks signatures, and looks at
// each idle connection 100 times a second (200 of them took a quarter of a core).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/time.h"
#include "host/file.h"
#include "http/message.h"

namespace kiln::http {

// Answers one request, once, from any thread, now or later; it may outlive the server (then it does nothing). A
// responder that goes without an answer answers 500.
class Responder {
 public:
  struct State;
  explicit Responder(std::shared_ptr<State> state) : state_(std::move(state)) {}
  void operator()(Response response) const;

 private:
  std::shared_ptr<State> state_;
};

// Runs on a thread of the pool. What it throws is answered with 500 and an empty body.
using Handler = std::function<void(Request request, Responder respond)>;
// A handler that answers before it returns.
Handler answering(std::function<Response(const Request&)> handler);

// Listens on that address (not a name) and port; 0: a free one. A socket stays in the network namespace of the thread
// that made it. Throws Error(held) naming the port, and the process that holds it if /proc shows it; Error(denied),
// Error(io).
host::FileDescriptor listen_on(const std::string& host, std::uint16_t port);

class Server {
 public:
  struct Options {
    std::string host = "127.0.0.1";  // an address, not a name
    std::uint16_t port = 0;          // 0: a free one
    std::size_t threads = 4;
    std::size_t connections_max = 1024;                    // one more is answered 503
    std::size_t peer_connections_max = 0;                  // of one address; one more is closed. 0: no bound of its own
    std::size_t line_bytes_max = std::size_t{64} << 10;    // request line: presigned URLs with session tokens are long
    std::size_t header_bytes_max = std::size_t{64} << 10;  // all header fields
    std::size_t body_bytes_max = std::size_t{16} << 20;
    Duration read_timeout{20'000};   // from the first byte of a request to its last
    Duration write_timeout{20'000};  // without any progress
    Duration idle_timeout{75'000};   // between two requests
  };

  // Binds and listens, so that `port` is known and connections queue; serves after `start`. Throws as `listen_on` does.
  Server(Options options, Handler handler);
  // On a socket that listens already.
  Server(Options options, host::FileDescriptor listener, Handler handler);
  ~Server();  // stops
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start();
  std::uint16_t port() const;
  // "http://127.0.0.1:4577"
  std::string origin() const;
  // Takes no more requests, lets those under way finish (at most `grace`), closes all. Not from a handler.
  void stop(Duration grace = Duration(2000));

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::http
