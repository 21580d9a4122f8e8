// SimulatedBalancer: where requests would go, computed from the state it was told.
#include "region/elb/simulated_balancer.h"

#include <set>

#include <fmt/format.h>

#include "base/error.h"

namespace kiln::region::elb {

namespace {

const GroupState* find_group(const BalancerState& state, const std::string& key) {
  for (const GroupState& group : state.groups) {
    if (group.key == key) return &group;
  }
  return nullptr;
}

void check(const BalancerState& state) {
  std::set<std::pair<std::string, int>> bound;
  std::set<std::string> keys;
  for (const GroupState& group : state.groups) {
    KILN_ASSERT(keys.insert(group.key).second, "a group's key is its own");
    std::set<std::pair<std::string, int>> servers;
    for (const ServerState& server : group.servers) {
      KILN_ASSERT(servers.insert({server.address, server.port}).second, "a server is in its group once");
      KILN_ASSERT(server.share_percent >= 1 && server.share_percent <= 100, "a share is 1 to 100 percent");
    }
  }
  for (const ListenerState& listener : state.listeners) {
    KILN_ASSERT(keys.insert(listener.key).second, "a listener's key is its own");
    KILN_ASSERT(bound.insert({listener.address, listener.port}).second, "one listener a port");
    for (const RouteState& route : listener.routes) {
      KILN_ASSERT(find_group(state, route.group) != nullptr, "a route leads to a group of the same state");
      KILN_ASSERT(route.weight >= 0 && route.weight <= 999, "a weight is 0 to 999");
    }
  }
}

template <typename Item, typename Weight>
const Item* choose(const std::vector<Item>& items, host::Random& random, Weight weight) {
  std::uint64_t total = 0;
  for (const Item& item : items) total += static_cast<std::uint64_t>(weight(item));
  if (total == 0) return nullptr;
  std::uint64_t pick = random.below(total);
  for (const Item& item : items) {
    auto part = static_cast<std::uint64_t>(weight(item));
    if (pick < part) return &item;
    pick -= part;
  }
  return nullptr;
}

}  // namespace

void SimulatedBalancer::check_free(const std::string& address, int port) {
  for (const ListenerState& listener : state_.listeners) {
    if (listener.address == address && listener.port == port) {
      throw Error(ErrorCode::held, fmt::format("cannot listen on {}:{}: it is in use", address, port));
    }
  }
}

void SimulatedBalancer::apply(BalancerState state, Done done) {
  check(state);
  bool fails = failing_ > 0;
  if (fails) --failing_;
  loop_.after(latency_,
              [this, alive = std::weak_ptr<bool>(alive_), state = std::move(state), done = std::move(done), fails] {
                if (alive.expired()) return;
                if (fails)
                  return done(std::make_exception_ptr(Error(ErrorCode::unavailable, "the simulated balancer fails")));
                state_ = state;
                ++applied_;
                done(nullptr);
              });
}

std::optional<std::pair<std::string, int>> SimulatedBalancer::route(const std::string& address, int port,
                                                                    host::Random& random) {
  for (const ListenerState& listener : state_.listeners) {
    if (listener.address != address || listener.port != port) continue;
    const RouteState* route = choose(listener.routes, random, [](const RouteState& one) { return one.weight; });
    const GroupState* group = route == nullptr ? nullptr : find_group(state_, route->group);
    const ServerState* server = group == nullptr ? nullptr : choose(group->servers, random, [](const ServerState& one) {
      return one.mode == ServerMode::accepting ? one.share_percent : 0;
    });
    if (server == nullptr) return std::nullopt;
    return std::pair(server->address, server->port);
  }
  return std::nullopt;
}

}  // namespace kiln::region::elb
