// Prober: asks one target once over HTTP whether it is well. When to ask, and what the answer means, is decided
// elsewhere (target_health.h).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/time.h"
#include "host/loop.h"

namespace kiln::region::elb {

struct Probe {
  std::string address;  // IPv4, dotted
  int port = 0;
  std::string path = "/";
  Duration timeout{5'000};          // for the whole exchange
  Duration connect_timeout{5'000};  // for the connection alone; never waits longer than `timeout`
  std::string vpc = {};             // that the address is of
};

struct ProbeResult {
  enum class Kind {
    answered,     // `status` is the answer's
    refused,      // nobody listens there: the target is not up (yet)
    unreachable,  // no connection in time, or no route
    timed_out,    // connected, and no whole status line came in time
    broken,       // it closed the connection or spoke no HTTP
  };
  Kind kind = Kind::refused;
  int status = 0;
};

using ProbeDone = std::function<void(const ProbeResult&)>;

// Called on the loop's thread; `done` comes there too, once, unless the prober goes first.
class Prober {
 public:
  virtual ~Prober() = default;
  virtual void probe(const Probe& probe, ProbeDone done) = 0;
};

// Sockets made inside the target's network namespace, all watched by one thread; thousands may be under way.
class NamespaceProber final : public Prober {
 public:
  // `namespaces` is what stands before a VPC's id in the path of its namespace ("/run/netns/kiln3-"); empty: targets
  // are in the caller's own. A VPC without one is unreachable. Probes that have no place (more than `limit` under way)
  // wait in line.
  NamespaceProber(host::Loop& loop, std::string namespaces, std::size_t limit = 4096);
  ~NamespaceProber() override;  // drops what is under way
  void probe(const Probe& probe, ProbeDone done) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace kiln::region::elb
