// Network: the wires between machines. The real one is a network namespace of its own with a bridge and nftables;
// nothing of the host's network is touched, and the host reaches machines only through loopback addresses that are
// forwarded.
//
// All calls are made on the loop's thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "machine/machine.h"

namespace kiln::machine {

// Who may reach a machine: from anywhere in `source`, to these ports. What no rule allows is dropped; answers to what
// the machine itself began are let in (security groups are stateful).
struct IngressRule {
  std::string protocol;  // "tcp", "udp", "icmp", or "-1" for all
  int from_port = 0;     // of the machine; both 0 for "-1"
  int to_port = 0;
  std::vector<std::string> sources;  // CIDRs, or single addresses (members of a group that a rule names)
  bool operator==(const IngressRule&) const = default;
};

struct EgressRule {
  std::string protocol;
  int from_port = 0;
  int to_port = 0;
  std::vector<std::string> destinations;
  bool operator==(const EgressRule&) const = default;
};

struct Port {
  std::string id;  // the machine's
  Interface interface;
  std::vector<IngressRule> ingress;
  std::vector<EgressRule> egress;
  bool internet = false;  // its subnet has a route out: egress through the host's connection
  std::string
      public_address;  // loopback address that is forwarded to it, for the tcp ports that ingress opens to 0.0.0.0/0
};

class Network {
 public:
  virtual ~Network() = default;

  // Makes the namespace, the bridge and what belongs to them, or finds them again after a restart.
  virtual void open() = 0;
  // Removes all of it. The machines must be gone.
  virtual void close() = 0;

  // The whole wanted state, at once: forwarding and rules are changed to match it (nftables replaces its table in one
  // transaction, so no packet sees half of it). Cheap when nothing changed. Machines' wires are made by
  // `Machines::launch`.
  virtual void apply(const std::vector<Port>& ports) = 0;

  // Public ports that could not be listened on at the last `apply`, with the reason: "127.77.0.100:22: Address already
  // in use". They are tried again at the next one.
  virtual std::vector<std::string> problems() const = 0;

  // Name of the region's namespace, as `ip netns` knows it; empty when simulated.
  virtual std::string namespace_name() const = 0;
  // A loopback address of this region's own, by number from 1 (127.77.<slot>.<n>): load balancers and public addresses.
  virtual std::string loopback_address(int number) const = 0;
};

}  // namespace kiln::machine
