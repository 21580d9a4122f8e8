// Shares: how the accounts and regions of one control plane use one network and one balancer. Each says its own whole
// wanted state; what is told onwards is all of them together.
//
// On the loop's thread. Nothing is told onwards before `open`, when everybody has said what it knew from before: a
// moment in which some are missing would take their rules and load balancers away.
#pragma once

#include <list>
#include <set>
#include <string>
#include <vector>

#include "machine/network.h"
#include "region/elb/balancer.h"

namespace kiln::region {

class NetworkShares {
 public:
  // `whole` must be open, and must outlive this.
  explicit NetworkShares(machine::Network& whole) : whole_(whole) {}

  // One account's and region's. It is never opened or closed by itself.
  class Share final : public machine::Network {
   public:
    explicit Share(NetworkShares& all) : all_(all) {}
    void open() override {}
    void close() override {}
    void apply(const std::vector<machine::Port>& ports) override;
    std::vector<std::string> problems() const override;  // of its own public addresses
    std::string namespace_name() const override { return all_.whole_.namespace_name(); }
    std::string loopback_address(int number) const override { return all_.whole_.loopback_address(number); }

   private:
    friend class NetworkShares;
    NetworkShares& all_;
    std::vector<machine::Port> wanted_;
  };
  Share& add() { return shares_.emplace_back(*this); }  // lives as long as this
  // The next `apply` of any of them tells all.
  void open() { open_ = true; }

 private:
  void tell();

  machine::Network& whole_;
  std::list<Share> shares_;
  bool open_ = false;
};

class BalancerShares {
 public:
  explicit BalancerShares(elb::Balancer& whole) : whole_(whole) {}

  class Share final : public elb::Balancer {
   public:
    explicit Share(BalancerShares& all) : all_(all) {}
    void check_free(const std::string& address, int port) override { all_.whole_.check_free(address, port); }
    void apply(elb::BalancerState state, elb::Done done) override;
    void close() override {}

   private:
    friend class BalancerShares;
    BalancerShares& all_;
    elb::BalancerState wanted_;
    std::vector<elb::Done> waiting_;  // before `open`
  };
  Share& add() { return shares_.emplace_back(*this); }
  void open();

 private:
  elb::BalancerState together() const;

  elb::Balancer& whole_;
  std::list<Share> shares_;
  bool open_ = false;
};

}  // namespace kiln::region
