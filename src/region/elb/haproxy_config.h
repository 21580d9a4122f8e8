// HAProxy config: what HAProxy must be told, as text. Pure.
//
// Listeners, target groups and the number of server slots are fixed when HAProxy reads its file ("the shape"); which
// server sits in which slot, whether it gets requests, and the routes' weights change at run time without a reload. A
// server keeps its slot as long as it is wanted, and a slot that was freed is not used again in the same step, so that
// what is left of the old server's connections never meets the new one's requests.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "region/elb/balancer.h"

namespace kiln::region::elb {

// Where HAProxy's files are, and how it reaches targets.
struct HaproxySite {
  host::Path folder;
  // Before a VPC's id in the name of its network namespace ("kiln3-"); empty: targets are in the host's own.
  std::string namespaces;
  host::Path config() const { return folder / "haproxy.cfg"; }
  host::Path routes() const { return folder / "routes.map"; }
  host::Path bad_gateway() const { return folder / "502.http"; }
  host::Path admin_socket() const { return folder / "admin.sock"; }
  host::Path master_socket() const { return folder / "master.sock"; }
};

struct Slot {
  std::string address;  // empty: the slot is free
  int port = 0;
  bool open = false;  // gets new requests
  int weight = 100;   // 1 to 100
  bool operator==(const Slot&) const = default;
};

// By group key; the slot at index i is server "s<i+1>".
using SlotTable = std::map<std::string, std::vector<Slot>>;

// The wanted servers in slots, each where `present` has it already. A group without a free slot gets twice as many.
SlotTable place(const BalancerState& wanted, const SlotTable& present);

// Digest of what only a reload can change.
std::string shape_of(const HaproxySite& site, const BalancerState& state, const SlotTable& slots);
std::string render_config(const HaproxySite& site, const BalancerState& state, const SlotTable& slots, int generation);
// The routes' map file: "<listener>/total", "<listener>/<n>" → group, "<listener>~<group>" → group.
std::string render_routes(const BalancerState& state);
// ALB's 502, for a target that cannot be connected to (HAProxy itself would say 503).
std::string render_bad_gateway();

// Runtime commands from one table to another of the same shape. New routes go between the two, so that at no moment a
// route leads to a group whose old servers are closed and whose new ones are not open.
struct Changes {
  std::vector<std::string> opening;
  std::vector<std::string> closing;
};
Changes changes(const SlotTable& from, const SlotTable& to);
// Reads "show servers state".
SlotTable parse_servers_state(std::string_view text);
// Whether the two send requests to the same servers in the same proportion; closed and free slots are alike.
bool same_traffic(const SlotTable& one, const SlotTable& other);

}  // namespace kiln::region::elb
