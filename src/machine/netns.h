// NamespaceNetwork: the region's network in one network namespace `kiln<slot>`.
//
// There is no bridge: each machine has a wire (veth) of its own into the namespace, which routes between them and
// answers ARP for them. So every packet passes the rules of ruleset.h, also on kernels without connection tracking for
// bridges. Egress goes through slirp4netns, which is started when the first machine with a way out appears, outlives us
// and is found again by `open`. Traffic for private addresses of the VPC and link-local ones never leaves the
// namespace.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/file.h"
#include "host/process.h"
#include "machine/forwarder.h"
#include "machine/network.h"

namespace kiln::machine {

struct Subnet {
  std::string cidr;     // "172.31.0.0/20"
  std::string gateway;  // "172.31.0.1"
};

// One /20 an availability zone, as in AWS's default VPC: gateway .1.
std::vector<Subnet> default_subnets();

struct NetworkOptions {
  int slot = 0;
  host::Path folder;  // in the region's state folder: what must be found again (slirp4netns' process), its log
  std::string vpc_cidr = "172.31.0.0/16";
  std::vector<Subnet> subnets = default_subnets();
};

// The address after the gateway's ("172.31.0.2"): the source of the region's probes and load balancers towards machines
// of that subnet, and so what security group rules see of them. No machine has it: AWS keeps the first four of a
// subnet.
std::string balancer_address(const std::string& gateway);

class NamespaceNetwork final : public Network {
 public:
  explicit NamespaceNetwork(NetworkOptions options);
  ~NamespaceNetwork() override;  // leaves everything running, except forwarding

  void open() override;
  void close() override;
  void apply(const std::vector<Port>& ports) override;
  std::vector<std::string> problems() const override { return problems_; }
  std::string namespace_name() const override;
  std::string loopback_address(int number) const override;

 private:
  void start_uplink();
  void find_uplink();  // the one that outlived us, if there is one
  // All that lead out of our namespace, by what they were started with: we may have died before we wrote ours down.
  std::vector<host::ProcessRef> running_uplinks() const;

  NetworkOptions options_;
  std::string applied_;  // the ruleset that holds; empty before the first
  std::optional<host::ProcessRef> uplink_;
  std::unique_ptr<Forwarder> forwarder_;
  std::vector<std::string> problems_;
};

// The region's end and the machine's end of a machine's wire: device `wire_name(id)` in the region's namespace, `eth0`
// in the machine's namespace. Both calls leave nothing half-made behind and are fine when repeated.
void connect_machine(const std::string& region_namespace, const std::string& machine_namespace, const std::string& id,
                     const Interface& interface);
void disconnect_machine(const std::string& region_namespace, const std::string& machine_namespace,
                        const std::string& id);

}  // namespace kiln::machine
