// Shares: see shares.h.
#include "region/shares.h"

#include <algorithm>
#include <utility>

namespace kiln::region {

void NetworkShares::Share::apply(const std::vector<machine::Vpc>& vpcs) {
  wanted_ = vpcs;
  if (all_.open_) all_.tell();
}

std::vector<std::string> NetworkShares::Share::problems() const {
  std::vector<std::string> own;
  for (const std::string& problem : all_.whole_.problems()) {
    const auto about = [&](const machine::Port& port) {
      return !port.public_address.empty() && problem.starts_with(port.public_address + ":");
    };
    const bool ours = std::any_of(wanted_.begin(), wanted_.end(), [&](const machine::Vpc& vpc) {
      return std::any_of(vpc.ports.begin(), vpc.ports.end(), about);
    });
    if (ours) own.push_back(problem);
  }
  return own;
}

void NetworkShares::tell() {
  std::vector<machine::Vpc> vpcs;
  for (const Share& share : shares_) vpcs.insert(vpcs.end(), share.wanted_.begin(), share.wanted_.end());
  whole_.apply(vpcs);
}

void BalancerShares::Share::apply(elb::BalancerState state, elb::Done done) {
  wanted_ = std::move(state);
  if (all_.open_) return all_.whole_.apply(all_.together(), std::move(done));
  waiting_.push_back(std::move(done));
}

void BalancerShares::open() {
  open_ = true;
  std::vector<elb::Done> waiting;
  for (Share& share : shares_) {
    for (elb::Done& done : std::exchange(share.waiting_, {})) waiting.push_back(std::move(done));
  }
  if (waiting.empty()) return;
  whole_.apply(together(), [waiting](std::exception_ptr failure) {
    for (const elb::Done& done : waiting) done(failure);
  });
}

elb::BalancerState BalancerShares::together() const {
  elb::BalancerState all;
  for (const Share& share : shares_) {
    all.listeners.insert(all.listeners.end(), share.wanted_.listeners.begin(), share.wanted_.listeners.end());
    all.groups.insert(all.groups.end(), share.wanted_.groups.begin(), share.wanted_.groups.end());
  }
  return all;
}

}  // namespace kiln::region
