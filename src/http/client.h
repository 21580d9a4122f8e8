// Client: HTTP/1.1 over sockets, by libcurl. Connections are kept and used again.
//
// Certificates are verified. Proxies come from the environment as curl takes them (https_proxy, no_proxy, ...), but
// never for loopback: a region on this machine must not be asked through a company's proxy. Redirects are not
// followed, nothing is decompressed, no header is added but Host and Content-Length.
#pragma once

#include <cstddef>
#include <memory>

#include "http/transport.h"

namespace kiln::http {

class Client final : public Transport {
 public:
  struct Options {
    std::size_t response_bytes_max = std::size_t{64} << 20;  // more is an Error(unavailable)
    std::size_t idle_handles_max = 16;                       // how many callers at once find a warm connection
  };

  Client();
  explicit Client(const Options& options);
  ~Client() override;

  Response send(const std::string& origin, const Request& request, const Timeouts& timeouts) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// True for "http://localhost:1", "http://127.8.9.1", "http://[::1]:80".
bool is_loopback(std::string_view origin);

}  // namespace kiln::http
