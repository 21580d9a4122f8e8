// Simulated network: see simulated.h.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.h"
#include "machine/simulated.h"
#include "machine/slots.h"

namespace kiln::machine {
namespace {

// Whether `cidr` ("10.0.0.0/8" or "10.1.2.3") holds `address`.
bool holds(const std::string& cidr, const std::string& address) {
  const auto slash = cidr.find('/');
  in_addr network{};
  in_addr host{};
  if (::inet_pton(AF_INET, cidr.substr(0, slash).c_str(), &network) != 1 ||
      ::inet_pton(AF_INET, address.c_str(), &host) != 1) {
    throw Error(ErrorCode::invalid, fmt::format("\"{}\" or \"{}\" is no IPv4 address", cidr, address));
  }
  const auto prefix = slash == std::string::npos ? std::int64_t{32} : parse_int(cidr.substr(slash + 1)).value_or(-1);
  if (prefix < 0 || prefix > 32) throw Error(ErrorCode::invalid, fmt::format("\"{}\" is no CIDR", cidr));
  const std::uint32_t mask = prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix);
  return (ntohl(network.s_addr) & mask) == (ntohl(host.s_addr) & mask);
}

}  // namespace

void SimulatedNetwork::open() { open_ = true; }

void SimulatedNetwork::close() {
  open_ = false;
  ports_.clear();
  made_.clear();
}

void SimulatedNetwork::apply(const std::vector<Vpc>& vpcs) {
  KILN_ASSERT(open_, "the network is open");
  ++applies_;
  if (failing_applies_ > 0) {
    --failing_applies_;
    throw Error(ErrorCode::io, "the rules cannot be changed");
  }
  std::set<std::string> ids;
  std::set<std::string> public_addresses;
  std::set<std::string> made;
  ports_.clear();
  for (const Vpc& vpc : vpcs) {
    std::set<std::string> addresses;
    KILN_ASSERT(ids.insert(vpc.id).second, "a VPC is named once");
    if (vpc.needed || !vpc.ports.empty() || made_.contains(vpc.id)) made.insert(vpc.id);
    for (const Port& port : vpc.ports) {
      KILN_ASSERT(port.interface.vpc == vpc.id, "a port is in the VPC that it names");
      KILN_ASSERT(ids.insert(port.id).second, "a machine has one port");
      KILN_ASSERT(addresses.insert(port.interface.address).second, "an address belongs to one machine");
      KILN_ASSERT(port.public_address.empty() || public_addresses.insert(port.public_address).second,
                  "a public address belongs to one machine");
      ports_.push_back(port);
    }
  }
  const std::set<std::string> before = std::exchange(made_, std::move(made));
  if (!listener_) return;
  for (const std::string& vpc : made_) {
    if (!before.contains(vpc)) listener_(vpc, true);
  }
  for (const std::string& vpc : before) {
    if (!made_.contains(vpc)) listener_(vpc, false);
  }
}

void SimulatedNetwork::on_change(std::function<void(const std::string& vpc, bool there)> listener) {
  listener_ = std::move(listener);
}

host::FileDescriptor SimulatedNetwork::listen(const std::string& vpc, const std::string&, int) {
  if (!made_.contains(vpc)) throw Error(ErrorCode::not_found, fmt::format("the VPC {} has no network", vpc));
  return {};
}

std::string SimulatedNetwork::loopback_address(int number) const { return slot_loopback_address(slot_, number); }

bool SimulatedNetwork::lets_in(const std::string& source, const std::string& address, int port) const {
  const auto found =
      std::find_if(ports_.begin(), ports_.end(), [&](const Port& each) { return each.interface.address == address; });
  if (found == ports_.end()) return false;
  return std::any_of(found->ingress.begin(), found->ingress.end(), [&](const IngressRule& rule) {
    const bool tcp =
        rule.protocol == "-1" || (rule.protocol == "tcp" && rule.from_port <= port && port <= rule.to_port);
    return tcp && std::any_of(rule.sources.begin(), rule.sources.end(),
                              [&](const std::string& cidr) { return holds(cidr, source); });
  });
}

}  // namespace kiln::machine
