// LoopbackPool: see loopback_pool.h.
#include "region/loopback_pool.h"

namespace kiln::region {
namespace {

struct Numbers {
  int first;
  int count;
};
constexpr Numbers kLoadBalancers{1, 99};
constexpr Numbers kInstances{100, 155};

}  // namespace

std::string LoopbackPool::take(Use use) {
  const Numbers numbers = use == Use::instance ? kInstances : kLoadBalancers;
  int from = use == Use::instance ? next_instance_ : 0;
  for (int tried = 0; tried < numbers.count; ++tried, from = (from + 1) % numbers.count) {
    std::string address = address_of_(numbers.first + from);
    if (!taken_.insert(address).second) continue;
    if (use == Use::instance) next_instance_ = (from + 1) % numbers.count;
    return address;
  }
  return {};
}

}  // namespace kiln::region
