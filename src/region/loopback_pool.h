// LoopbackPool: the loopback addresses of this control plane's slot, shared by all accounts and regions that it serves:
// load balancers have numbers 1 to 99, public addresses of instances 100 to 254 (machine::Network::loopback_address).
//
// On the loop's thread.
#pragma once

#include <functional>
#include <set>
#include <string>

namespace kiln::region {

class LoopbackPool {
 public:
  enum class Use { load_balancer, instance };

  // `address_of` gives the address of a number.
  explicit LoopbackPool(std::function<std::string(int)> address_of) : address_of_(std::move(address_of)) {}
  // A free one, empty when there is none. For instances the search goes round: an address that was just given up is the
  // last to be taken again.
  std::string take(Use use);
  // One that is known from before.
  void reserve(const std::string& address) { taken_.insert(address); }
  void release(const std::string& address) { taken_.erase(address); }

 private:
  std::function<std::string(int)> address_of_;
  std::set<std::string> taken_;
  int next_instance_ = 0;
};

}  // namespace kiln::region
