// SimulatedProber: asks simulated machines instead of sockets, in the loop's virtual time.
#pragma once

#include <functional>
#include <string>

#include "host/loop.h"
#include "region/elb/prober.h"

namespace kiln::region::elb {

class SimulatedProber final : public Prober {
 public:
  // What is at that address now: an HTTP status, 0 = connection refused, -1 = no answer
  // (SimulatedMachines::http_status_at).
  using World = std::function<int(const Probe& probe)>;
  SimulatedProber(host::Loop& loop, World world, Duration latency = Duration(2))
      : loop_(loop), world_(std::move(world)), latency_(latency) {}

  void probe(const Probe& probe, ProbeDone done) override;

 private:
  host::Loop& loop_;
  World world_;
  Duration latency_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kiln::region::elb
