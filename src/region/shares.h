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
    void apply(const std::vector<machine::Vpc>& vpcs) override;
    std::vector<std::string> problems() const override;  // of its own public addresses
    // Of the whole network: a VPC's id says whose it is.
    void on_change(std::function<void(const std::string& vpc, bool there)> listener) override {
      all_.whole_.on_change(std::move(listener));
    }
    host::FileDescriptor listen(const std::string& vpc, const std::string& address, int port) override {
      return all_.whole_.listen(vpc, address, port);
    }
    std::string loopback_address(int number) const override { return all_.whole_.loopback_address(number); }

   private:
    friend class NetworkShares;
    NetworkShares& all_;
    std::vector<machine::Vpc> wanted_;
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
