// Client: HTTP/1.1 over sockets, by libcurl. Connections are kept and used again.
//
// Certificates are verified. Proxies come from the environment as curl takes them (https_proxy, no_proxy, ...), but
// never for loopback: a region on this machine must not be asked through a company's proxy. Redirects are not
// followed, nothing is decompressed, no header is added but Host and Content-Length. A peer that hangs up is an Error,
// never a SIGPIPE.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/transport.h"

namespace kiln::http {

// Bodies that are too big to hold: they pass through piece by piece. What the functions throw ends the call and climbs.
struct Streams {
  std::uint64_t send_bytes = 0;  // how long the request's body is
  // Gives up to `most` of its bytes from `offset` on; null: the body is request.body.
  std::function<std::size_t(std::uint64_t offset, char* into, std::size_t most)> read;
  // Takes a piece of the answer's body; `head` is the answer without it. False leaves the piece to the answer's `body`,
  // which is bounded by response_bytes_max. Null: all is left.
  std::function<bool(const Response& head, std::string_view piece)> take;
  std::function<bool()> cancelled;  // asked about once a second; true ends the call with Error(cancelled)
  Duration stall{60'000};           // so long without a byte is a timeout; 0: no bound
};

class Client final : public Transport {
 public:
  struct Options {
    std::size_t response_bytes_max = std::size_t{64} << 20;  // more is an Error(unavailable)
    std::size_t idle_handles_max = 16;                       // how many callers at once find a warm connection
    std::string authorities;                                 // PEM: certificates that are trusted besides the system's
    std::string client_certificate;  // paths of PEM files, for servers that ask who calls; empty: none
    std::string client_key;
  };

  Client();
  explicit Client(const Options& options);
  ~Client() override;

  Response send(const std::string& origin, const Request& request, const Timeouts& timeouts) override;
  // As `send`, with streamed bodies. A total timeout of 0 is none.
  Response stream(const std::string& origin, const Request& request, const Timeouts& timeouts, const Streams& streams);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// True for "http://localhost:1", "http://127.8.9.1", "http://[::1]:80".
bool is_loopback(std::string_view origin);

}  // namespace kiln::http
