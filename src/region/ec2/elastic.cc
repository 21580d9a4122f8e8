// Elastic IP addresses: public addresses that stay an account's until they are released.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html
#include <fmt/format.h>

#include <algorithm>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {

const Address* Ec2::State::elastic_of(const std::string& instance_id) const {
  const auto found = std::find_if(elastic.begin(), elastic.end(),
                                  [&](const auto& entry) { return entry.second.instance_id == instance_id; });
  return found == elastic.end() ? nullptr : &found->second;
}

void Ec2::State::release(Address& address) {
  const auto found = instances.find(address.instance_id);
  address.instance_id.clear();
  address.association_id.clear();
  save(address);
  if (found == instances.end()) return;
  Instance& instance = found->second;
  instance.public_address.clear();
  const bool up = instance.state == InstanceState::running || instance.state == InstanceState::pending;
  if (up) give_public(instance);
  save(instance);
  network_changed();
}

const std::map<std::string, Address>& Ec2::addresses() const { return state_->elastic; }

const Address& Ec2::address(const std::string& id, const std::string& public_address) const {
  if (!id.empty()) {
    const auto found = state_->elastic.find(id);
    if (found != state_->elastic.end()) return found->second;
    throw ApiError("InvalidAllocationID.NotFound", fmt::format("The allocation ID '{}' does not exist", id));
  }
  if (public_address.empty()) {
    throw ApiError("MissingParameter", "Either public IP or allocation id must be specified");
  }
  for (const auto& [key, one] : state_->elastic) {
    if (one.public_address == public_address) return one;
  }
  throw ApiError("InvalidAddress.NotFound", fmt::format("Address '{}' not found.", public_address));
}

const Address& Ec2::allocate_address(const Tags& tags) {
  State& s = *state_;
  check_tags(tags);
  Address made;
  made.public_address = s.public_addresses.take(LoopbackPool::Use::instance);
  if (made.public_address.empty()) {
    throw ApiError("AddressLimitExceeded", "The maximum number of addresses has been reached.");
  }
  made.id = s.new_id("eipalloc-");
  made.tags = tags;
  const Address& kept = s.elastic[made.id] = made;
  s.save(kept);
  return kept;
}

void Ec2::release_address(const std::string& id) {
  State& s = *state_;
  const Address& gone = address(id, "");
  if (!gone.instance_id.empty()) {
    throw ApiError("InvalidIPAddress.InUse", fmt::format("Address {} is in use.", gone.public_address));
  }
  s.public_addresses.release(gone.public_address);
  s.journal.erase(kAddressTable, id);
  s.elastic.erase(id);
}

std::string Ec2::associate_address(const std::string& id, const std::string& instance_id, bool reassociate) {
  State& s = *state_;
  address(id, "");
  Address& elastic = s.elastic.at(id);
  Instance& instance = s.instances.at(this->instance(instance_id).id);
  if (instance.state == InstanceState::terminated || instance.state == InstanceState::shutting_down) {
    throw ApiError("InvalidInstanceID",
                   fmt::format("The instance '{}' is not in a valid state for this operation.", instance_id));
  }
  if (elastic.instance_id == instance_id) return elastic.association_id;
  if (!elastic.instance_id.empty() && !reassociate) {
    throw ApiError("Resource.AlreadyAssociated",
                   fmt::format("resource {} is already associated with associate-id {}", id, elastic.association_id));
  }
  const auto& gateways = s.vpcs.gateways();
  if (std::none_of(gateways.begin(), gateways.end(),
                   [&](const auto& entry) { return entry.second.vpc_id == instance.vpc_id; })) {
    throw ApiError("Gateway.NotAttached",
                   fmt::format("Network {} is not attached to any internet gateway", instance.vpc_id));
  }
  if (!elastic.instance_id.empty()) s.release(elastic);
  if (const Address* before = s.elastic_of(instance_id)) s.release(s.elastic.at(before->id));
  s.take_public(instance);
  instance.public_address = elastic.public_address;
  elastic.instance_id = instance_id;
  elastic.association_id = s.new_id("eipassoc-");
  s.save(elastic);
  s.save(instance);
  s.network_changed();
  return elastic.association_id;
}

void Ec2::disassociate_address(const std::string& id) {
  address(id, "");
  state_->release(state_->elastic.at(id));
}

}  // namespace kiln::region::ec2
