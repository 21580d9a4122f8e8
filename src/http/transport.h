// Transport: sends one HTTP request and gives its answer; over sockets (client.h) or to a region in this process.
#pragma once

#include <string>

#include "base/time.h"
#include "http/message.h"

namespace kiln::http {

struct Timeouts {
  Duration connect{3100};  // a little over TCP's first retransmission (3 s), so that one lost SYN does not fail it
  Duration total{60'000};  // from the first byte sent to the last byte of the answer
};

class Transport {
 public:
  virtual ~Transport() = default;
  // `origin` is scheme, host and port without a path: "http://127.0.0.1:4577". The request's path and query go out as
  // they stand. Any status is an answer. Throws Error(unavailable) when nobody answers, or stops half way, and
  // Error(timeout); both name the origin. Safe to call from several threads at once.
  virtual Response send(const std::string& origin, const Request& request, const Timeouts& timeouts) = 0;
};

}  // namespace kiln::http
