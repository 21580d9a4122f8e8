// Haproxy: the real data plane: one HAProxy in master-worker mode, which goes on when we die and is found again.
//
// Changes of servers and weights are told to the running worker; a change of listeners, target groups or slots is a
// seamless reload: the new worker takes the listening sockets over, the old one finishes what is under way, and what is
// left of its idle connections is led to the new one. When HAProxy itself dies it is started again at once with the
// state last wanted. All talk with it happens off the loop, one at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "host/loop.h"
#include "host/process.h"
#include "region/elb/balancer.h"
#include "region/elb/haproxy_config.h"

namespace kiln::region::elb {

// The HAProxy that shall run by what is written down in the folder; nullopt when there is nothing to serve. Whoever
// looks at a region from outside asks whether it is alive.
std::optional<host::ProcessRef> noted_haproxy(const host::Path& folder);

class Haproxy final : public Balancer {
 public:
  // `folder` is the region's haproxy/ folder. `log` gets one line for each thing that an operator should know; on the
  // loop.
  Haproxy(host::Loop& loop, HaproxySite site, std::function<void(const std::string&)> log);
  ~Haproxy() override;  // leaves HAProxy running

  void check_free(const std::string& address, int port) override;
  void apply(BalancerState state, Done done) override;
  void close() override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace kiln::region::elb
