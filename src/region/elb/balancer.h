// Balancer: the data plane's interface. It is told the whole wanted state and makes it true; it decides nothing.
//
// The real one is HAProxy (haproxy.h), a process that goes on when we die; the simulated one answers where a request
// would go. All calls are made on the loop's thread; what takes time ends in a callback there.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace kiln::region::elb {

enum class ServerMode {
  accepting,  // gets new requests
  closed,     // gets none; requests that are under way finish (draining, unhealthy, not yet healthy)
};

struct ServerState {
  std::string address;  // IPv4 and port name the server within its group
  int port = 0;
  ServerMode mode = ServerMode::closed;
  int share_percent = 100;  // 1 to 100: less than its full share while it starts slowly
  bool operator==(const ServerState&) const = default;
};

struct GroupState {
  std::string key;  // [a-z0-9-], stable: "web-6d0ecf831eec9f09"
  bool sticky = false;
  int sticky_seconds = 0;
  bool least_outstanding = false;
  std::vector<ServerState> servers;  // one that is absent is cut off: connections that it still has are closed
  int idle_seconds = 60;             // a target that says nothing for longer is a 504
  std::string vpc = {};              // that the servers' addresses are of
  bool operator==(const GroupState&) const = default;
};

struct RouteState {
  std::string group;  // key of a group of the same state
  int weight = 0;     // 0 to 999
  bool operator==(const RouteState&) const = default;
};

struct ListenerState {
  std::string key;      // [a-z0-9-], stable
  std::string address;  // loopback
  int port = 0;
  std::vector<RouteState> routes;
  bool sticky = false;
  int sticky_seconds = 0;
  int idle_seconds = 60;
  bool operator==(const ListenerState&) const = default;
};

struct BalancerState {
  std::vector<ListenerState> listeners;
  std::vector<GroupState> groups;
  bool operator==(const BalancerState&) const = default;
};

using Done = std::function<void(std::exception_ptr)>;  // null: it is done

class Balancer {
 public:
  virtual ~Balancer() = default;

  // Throws Error(held) naming address and port when a new listener could not bind there.
  virtual void check_free(const std::string& address, int port) = 0;
  // Makes `state` true. One apply is under way at a time; a newer state replaces one that waits. `done` comes when this
  // state or a newer one is in force, or with why it cannot be.
  virtual void apply(BalancerState state, Done done) = 0;
  // Ends the data plane: the region is taken down. Blocks for at most a few seconds.
  virtual void close() = 0;
};

}  // namespace kiln::region::elb
