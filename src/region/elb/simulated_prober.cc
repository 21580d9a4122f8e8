// SimulatedProber: asks simulated machines instead of sockets, in the loop's virtual time.
#include "region/elb/simulated_prober.h"

#include <algorithm>

namespace kiln::region::elb {

// The answer is the one of the moment when the probe arrives; silence takes the whole timeout.
void SimulatedProber::probe(const Probe& probe, ProbeDone done) {
  int status = world_(probe);
  ProbeResult result{ProbeResult::Kind::answered, status};
  Duration takes = latency_;
  if (status == 0) result = {ProbeResult::Kind::refused, 0};
  if (status < 0) {
    result = {ProbeResult::Kind::unreachable, 0};
    takes = std::min(probe.timeout, probe.connect_timeout);
  }
  loop_.after(takes, [alive = std::weak_ptr<bool>(alive_), done = std::move(done), result] {
    if (!alive.expired()) done(result);
  });
}

}  // namespace kiln::region::elb
