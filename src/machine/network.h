// Network: the wires between machines, in VPCs that know nothing of each other: their addresses may be the same. The
// real one is a network namespace a VPC; nothing of the host's network is touched, and the host reaches machines only
// through loopback addresses that are forwarded.
//
// All calls are made on the loop's thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "host/file.h"
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
  bool internet = false;  // there is a way out and back: egress through the host's connection, and `public_address`
  std::string
      public_address;  // loopback address that is forwarded to it, for the tcp ports that ingress opens to 0.0.0.0/0
};

struct Subnet {
  std::string cidr;     // "172.31.0.0/20"
  std::string gateway;  // "172.31.0.1"
};

// The address after the gateway's ("172.31.0.2"): the source of the region's probes and load balancers towards machines
// of that subnet, and so what security group rules see of them. No machine has it: AWS keeps the first four of a
// subnet. Throws Error(invalid) for what is no gateway.
std::string balancer_address(const std::string& gateway);

struct Vpc {
  std::string id;  // "vpc-0abc..."
  std::string cidr;
  std::vector<Subnet> subnets;
  std::vector<Port> ports;
  bool needed = false;  // also without ports: a load balancer reaches into it
};

class Network {
 public:
  virtual ~Network() = default;

  // Finds again what a process before has left; makes nothing.
  virtual void open() = 0;
  // Removes all of it. The machines must be gone.
  virtual void close() = 0;

  // The whole wanted state of all VPCs, at once: forwarding and rules are changed to match it (nftables replaces a
  // VPC's table in one transaction, so no packet sees half of it). A VPC is made when it first has a port or is needed,
  // and removed when it is not among `vpcs` any more. Cheap when nothing changed. Machines' wires are made by
  // `Machines::launch`. What fails of one VPC leaves the others done, and is thrown at the end.
  virtual void apply(const std::vector<Vpc>& vpcs) = 0;

  // Public ports that could not be listened on at the last `apply`, with the reason: "127.77.0.100:22: Address already
  // in use". They are tried again at the next one.
  virtual std::vector<std::string> problems() const = 0;

  // Called within `apply` for each VPC that is made, or found again, and before one is removed: what is served inside
  // of it begins and must end then. One may listen; it may call `listen`, and must not throw.
  virtual void on_change(std::function<void(const std::string& vpc, bool there)> listener) = 0;
  // A TCP socket that listens inside that VPC, on an address of its own: kMetadataAddress, or a subnet's gateway. It
  // does not block and is closed on exec. Not a socket where the network is simulated. Throws Error(not_found) for a
  // VPC that is not made, Error(io).
  virtual host::FileDescriptor listen(const std::string& vpc, const std::string& address, int port) = 0;

  // A loopback address of this region's own, by number from 1 (127.77.<slot>.<n>): load balancers and public addresses.
  virtual std::string loopback_address(int number) const = 0;
};

}  // namespace kiln::machine
