// Ruleset: security groups as one nftables program. A pure function of the wanted state.
//
// Every packet between two machines is routed through their VPC's namespace, so one `inet` table judges all of it:
// first whether the sender's egress rules let it out, then whether the receiver's ingress rules let it in; both drop by
// default, answers pass (conntrack). Probes and load balancers speak from the VPC's namespace itself, with the
// balancer address of the target's subnet as their source: a rule that allows the subnet or the VPC allows them, one
// that names other machines only does not. A machine may send only with its own address and MAC. As on AWS, rules do
// not touch the metadata service (169.254.169.254) and the resolver.
#pragma once

#include <string>
#include <vector>

#include "machine/network.h"

namespace kiln::machine {

inline constexpr const char* kUplink = "tap0";  // slirp4netns' device in a VPC's namespace
// Its network: link-local, which no VPC can have. The third address is its resolver.
inline constexpr const char* kUplinkCidr = "169.254.77.0/24";
inline constexpr const char* kResolver = "169.254.77.3";
inline constexpr const char* kMetadataAddress = "169.254.169.254";
// Where forwarded connections of the host seem to come from: an address of the documentation's (RFC 5737), so that only
// rules that allow everybody let them in.
inline constexpr const char* kOutsideAddress = "198.51.100.1";

// The VPC's end of a machine's wire: "v" and 12 hex digits of the id's hash (a device's name has at most 15
// characters).
std::string wire_name(const std::string& machine_id);

// What `nft -f -` reads for one VPC: replaces the whole table in one transaction. Throws Error(invalid) naming the
// machine and the value for an address, a CIDR, a protocol or a port that is none (nothing unchecked gets into the
// program).
std::string ruleset(const std::vector<Port>& ports);

}  // namespace kiln::machine
