// Forwarder: connects TCP ports of the host's loopback with machines inside network namespaces: how ssh and a browser
// reach an instance's public address.
//
// It is a thread of this process and dies with it (load balancers do not: they are HAProxy's). At most 1024 connections
// at once; more are refused. All methods are called from one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/file.h"
#include "machine/network.h"

namespace kiln::machine {

struct Endpoint {
  std::string address;  // IPv4
  std::uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};

// An endpoint inside a network namespace.
struct Target {
  std::string network;  // the namespace's name
  Endpoint endpoint;
  bool operator==(const Target&) const = default;
};

class Forwarder {
 public:
  // Targets are connected from inside their namespace, with `source` as the source address (empty: any).
  explicit Forwarder(std::string source);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  // The whole wanted state: listens on each key, connects to its value. Connections that are open stay open.
  // Returns the endpoints that cannot be listened on, with the reason ("127.77.0.9:22: address in use"); they are tried
  // again at the next call.
  std::vector<std::string> set(const std::map<Endpoint, Target>& wanted);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The forwards that the VPCs' ports ask for: of each machine with a public address and a way out, the tcp ports that a
// rule opens to 0.0.0.0/0. Of a rule for more than 64 ports only the well-known ones (22, 80, 443, 3000, 3389, 5000,
// 8000, 8080, 8443, 9000) are.
std::map<Endpoint, Target> forwards(const std::vector<Vpc>& vpcs, int slot);

}  // namespace kiln::machine
