// Imds: the instance metadata service: what an instance reads of itself at http://169.254.169.254.
//
// It listens inside networks: any number of listeners, each with the name of the network (a VPC) that it belongs to;
// who asks is found by network and private address, so addresses may repeat in other networks. Version 2 asks for a
// token first, version 1 does not; which of them an instance may use are its metadata options. `answer` is the service
// without sockets. Bounds: of one instance so many connections and so many requests a second (429 beyond them), so
// that one that asks without end is slow itself and nobody else is. Not served: signatures of the identity document
// (pkcs7, rsa2048, signature), the service's IPv6 address.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "host/file.h"
#include "host/loop.h"
#include "host/random.h"
#include "http/message.h"
#include "region/ec2/ec2.h"
#include "region/imds/tokens.h"
#include "region/imds/tree.h"
#include "region/journal.h"

namespace kiln::region::imds {

inline constexpr std::size_t kConnectionsOfOne = 32;  // EC2 has a limit too and does not say which
inline constexpr int kRequestsASecond = 500;          // EC2's is 1024 packets a second

// How many requests each address has made in this second; what it keeps is bounded by what a second can bring.
class Throttle {
 public:
  bool lets(const std::string& peer, Time now);

 private:
  std::chrono::seconds second_{};
  std::map<std::string, int> asked_;
};

class Imds {
 public:
  // The credentials of the role of an instance that has a profile; nullopt: none. On the loop's thread; must not throw.
  using RoleOf = std::function<std::optional<iam::RoleCredentials>(const ec2::Instance& instance)>;

  // All must outlive it.
  Imds(host::Loop& loop, host::Random& random, Tables& journal, const ec2::Ec2& ec2);
  ~Imds();  // stops listening

  void set_roles(RoleOf role_of) { role_of_ = std::move(role_of); }
  // On the loop's thread: reads the secret that tokens are signed with, or makes one.
  void open();
  // Serves on a socket that listens inside that network, until `close`.
  void listen(const std::string& network, host::FileDescriptor listener);
  void close(const std::string& network);

  // On the loop's thread.
  http::Response answer(const std::string& network, const http::Request& request) const;

 private:
  struct Listener;

  const ec2::Instance* who(const std::string& network, const std::string& address) const;
  http::Response token(const ec2::Instance& instance, const http::Request& request) const;

  host::Loop& loop_;
  host::Random& random_;
  Tables& journal_;
  const ec2::Ec2& ec2_;
  Tokens tokens_;
  RoleOf role_of_ = [](const ec2::Instance&) { return std::nullopt; };
  std::map<std::string, std::unique_ptr<Listener>> listeners_;  // by network
};

}  // namespace kiln::region::imds
