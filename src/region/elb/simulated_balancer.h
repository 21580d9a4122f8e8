// SimulatedBalancer: where requests would go, computed from the state it was told. Stricter than HAProxy: a state that
// names an unknown group, two listeners on one port, a server twice, or a weight out of range is a broken invariant and
// aborts.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "host/loop.h"
#include "host/random.h"
#include "region/elb/balancer.h"

namespace kiln::region::elb {

class SimulatedBalancer final : public Balancer {
 public:
  // A state is in force `latency` after it was told.
  explicit SimulatedBalancer(host::Loop& loop, Duration latency = Duration(5)) : loop_(loop), latency_(latency) {}

  void check_free(const std::string& address, int port) override;
  void apply(BalancerState state, Done done) override;
  void close() override { state_ = {}; }

  // The server (address, port) that one new request to the listener would get; nullopt is a 503, an unknown listener
  // too.
  std::optional<std::pair<std::string, int>> route(const std::string& address, int port, host::Random& random);
  // What is in force.
  const BalancerState& state() const { return state_; }
  std::size_t applied() const { return applied_; }
  // Makes the next applies fail, until called with 0.
  void fail_next(int count) { failing_ = count; }

 private:
  host::Loop& loop_;
  Duration latency_;
  BalancerState state_;
  std::size_t applied_ = 0;
  int failing_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kiln::region::elb
