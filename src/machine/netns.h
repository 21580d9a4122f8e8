// NamespaceNetwork: each VPC in a network namespace of its own, `kiln<slot>-<vpc>`.
//
// There is no bridge: each machine has a wire (veth) of its own into its VPC's namespace, which routes between them and
// answers ARP for them. So every packet passes the rules of ruleset.h, also on kernels without connection tracking for
// bridges. Two VPCs share nothing, so they may have the same addresses. Egress goes through slirp4netns, one a VPC,
// which is started when the first machine with a way out appears, outlives us and is found again by `open`. Traffic for
// addresses of the VPC and link-local ones never leaves the namespace.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "host/file.h"
#include "host/process.h"
#include "machine/forwarder.h"
#include "machine/network.h"

namespace kiln::machine {

struct NetworkOptions {
  int slot = 0;
  host::Path folder;  // in the region's state folder: slirp4netns' log
};

class NamespaceNetwork final : public Network {
 public:
  explicit NamespaceNetwork(NetworkOptions options);
  ~NamespaceNetwork() override;  // leaves everything running, except forwarding

  void open() override;
  void close() override;
  void apply(const std::vector<Vpc>& vpcs) override;
  std::vector<std::string> problems() const override { return problems_; }
  void on_change(std::function<void(const std::string& vpc, bool there)> listener) override;
  host::FileDescriptor listen(const std::string& vpc, const std::string& address, int port) override;
  std::string loopback_address(int number) const override;
  std::vector<std::string> made() const;  // the VPCs that have a namespace, sorted

 private:
  struct Made {
    bool settled = false;             // by this process, or by one before that came so far
    std::set<std::string> addresses;  // of the region's, inside
    std::string rules;                // that hold; empty before our first
    std::optional<host::ProcessRef> uplink;
  };
  // By VPC, the oldest first: it may have a child that is still at work. One may have died before it wrote down what it
  // started, so they are known by what they were started with.
  std::map<std::string, std::vector<host::ProcessRef>> running_uplinks() const;
  std::string name_of(const std::string& vpc) const;
  void bring_to(const Vpc& vpc);
  void settle(const Vpc& vpc, Made& made);
  void start_uplink(const std::string& vpc, Made& made);
  void remove(const std::string& vpc);

  NetworkOptions options_;
  std::map<std::string, Made> made_;  // by VPC
  std::unique_ptr<Forwarder> forwarder_;
  std::vector<std::string> problems_;
  std::function<void(const std::string& vpc, bool there)> listener_;
};

// The VPC's end and the machine's end of a machine's wire: device `wire_name(id)` in the VPC's namespace, `eth0` in the
// machine's namespace. Both calls leave nothing half-made behind and are fine when repeated.
void connect_machine(const std::string& vpc_namespace, const std::string& machine_namespace, const std::string& id,
                     const Interface& interface);
void disconnect_machine(const std::string& machine_namespace);

}  // namespace kiln::machine
