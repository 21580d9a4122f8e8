// Addresses: which address an instance gets, and what the security groups mean for the network.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// AWS keeps the first four addresses of a subnet and the last.
constexpr std::uint32_t kReservedFirst = 4;
constexpr std::uint32_t kReservedLast = 1;

std::uint32_t usable_of(const Subnet& subnet) { return (1u << (32 - subnet.prefix)) - kReservedFirst - kReservedLast; }

void check_address(const Subnet& subnet, const std::string& wanted) {
  const auto address = parse_address(wanted);
  const Cidr block = *Cidr::parse(subnet.cidr);
  if (!address || *address < block.first + kReservedFirst || *address > block.last() - kReservedLast) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Address {} does not fall within the subnet's address range", wanted));
  }
}

}  // namespace

std::vector<std::string> Ec2::State::take_addresses(const Subnet& subnet, const std::string& wanted, int least,
                                                    int most) {
  if (!wanted.empty()) {
    check_address(subnet, wanted);
    if (!used_addresses.emplace(subnet.vpc_id, wanted).second) {
      throw ApiError("InvalidIPAddress.InUse", fmt::format("Address {} is in use.", wanted));
    }
    return {wanted};
  }
  const std::uint32_t usable = usable_of(subnet);
  // The search goes round: an address that was just given up is the last to be taken again, so that a connection or a
  // health check meant for the machine before does not meet another one.
  std::uint32_t& next =
      next_address.try_emplace(subnet.id, static_cast<std::uint32_t>(random.below(usable))).first->second;
  std::vector<std::string> taken;
  for (std::uint32_t tried = 0; tried < usable && std::ssize(taken) < most; ++tried) {
    std::string address = address_text(Cidr::parse(subnet.cidr)->first + kReservedFirst + next);
    next = (next + 1) % usable;
    if (used_addresses.emplace(subnet.vpc_id, address).second) taken.push_back(std::move(address));
  }
  if (std::ssize(taken) >= least) return taken;
  for (const std::string& address : taken) used_addresses.erase({subnet.vpc_id, address});
  throw ApiError(
      "InsufficientFreeAddressesInSubnet",
      fmt::format("There are not enough free addresses in subnet '{}' to satisfy the requested number of instances.",
                  subnet.id));
}

void Ec2::State::give_public(Instance& instance) {
  if (!instance.wants_public || !instance.public_address.empty()) return;
  instance.public_address = public_addresses.take(LoopbackPool::Use::instance);
}

void Ec2::State::take_public(Instance& instance) {
  if (elastic_of(instance.id) != nullptr) return;
  public_addresses.release(instance.public_address);
  instance.public_address.clear();
}

std::int64_t Ec2::free_addresses(const Subnet& subnet) const {
  std::int64_t used = 0;
  for (const auto& [id, instance] : state_->instances) {
    if (instance.subnet_id == subnet.id && instance.on_network()) ++used;
  }
  return std::int64_t{usable_of(subnet)} - used;
}

std::vector<machine::Vpc> Ec2::State::networks() const {
  std::map<std::string, std::vector<std::string>> members;  // security group → addresses
  for (const auto& [id, instance] : instances) {
    if (!instance.on_network()) continue;
    for (const std::string& group : instance.security_groups) members[group].push_back(instance.private_address);
  }
  std::map<std::string, machine::Vpc> vpc_of;
  for (const auto& [id, vpc] : vpcs.vpcs()) {
    machine::Vpc& wanted = vpc_of[id];
    wanted.id = id;
    wanted.cidr = vpc.cidr;
    for (const Subnet* subnet : vpcs.subnets_of(id)) wanted.subnets.push_back({subnet->cidr, subnet->gateway});
    wanted.needed = balancer_uses && balancer_uses(id);
  }
  auto peers = [&](const SecurityGroup& group, const Rule& rule) -> std::vector<std::string> {
    if (!rule.cidr.empty()) return {rule.cidr};
    std::vector<std::string> addresses = members[rule.group_id];
    if (balancer_uses && balancer_uses(rule.group_id)) {
      for (const machine::Subnet& subnet : vpc_of.at(group.vpc_id).subnets) {
        addresses.push_back(machine::balancer_address(subnet.gateway));
      }
    }
    return addresses;
  };
  // Each group's rules are worked out once, however many instances have it.
  std::map<std::string, machine::Port> rules_of;
  for (const auto& [id, group] : groups) {
    if (!members.contains(id)) continue;
    machine::Port& port = rules_of[id];
    for (const Rule& rule : group.rules) {
      std::vector<std::string> addresses = peers(group, rule);
      if (addresses.empty()) continue;
      // AWS's -1 of a type or code of ICMP means all of them.
      const bool icmp = rule.protocol == "icmp";
      int from = static_cast<int>(icmp ? rule.from_port : std::max<std::int64_t>(0, rule.from_port));
      int to = static_cast<int>(icmp ? rule.to_port : std::max<std::int64_t>(0, rule.to_port));
      if (rule.egress) {
        port.egress.push_back({rule.protocol, from, to, addresses});
      } else {
        port.ingress.push_back({rule.protocol, from, to, addresses});
      }
    }
  }
  for (const auto& [id, instance] : instances) {
    if (!instance.on_network()) continue;
    machine::Port port;
    port.id = id;
    port.interface = spec_of(instance, false).interface;
    for (const std::string& group : instance.security_groups) {
      const machine::Port& rules = rules_of[group];
      port.ingress.insert(port.ingress.end(), rules.ingress.begin(), rules.ingress.end());
      port.egress.insert(port.egress.end(), rules.egress.begin(), rules.egress.end());
    }
    // As on AWS, an internet gateway serves those only who have a public address; one that should have got one and did
    // not, because all are given away, shall not be worse off than the others.
    const bool known_outside = instance.wants_public || elastic_of(id) != nullptr;
    port.internet = known_outside && vpcs.way_out(vpcs.subnet(instance.subnet_id));
    port.public_address = instance.public_address;
    vpc_of.at(instance.vpc_id).ports.push_back(std::move(port));
  }
  std::vector<machine::Vpc> out;
  for (auto& [id, vpc] : vpc_of) out.push_back(std::move(vpc));
  return out;
}

void Ec2::State::network_changed() {
  if (network_dirty) return;
  network_dirty = true;
  // Once for all changes of a turn, and before the launches that the same turn has asked for.
  loop.post([this] { apply_network(); });
}

void Ec2::State::apply_network() {
  network_dirty = false;
  loop.cancel(std::exchange(network_timer, 0));
  try {
    network.apply(networks());
  } catch (const Error& error) {
    // The rules of before hold, and let nothing of a new machine through. Without end: a region whose rules are not as
    // wanted has nothing better to do.
    const Duration pause = next_pause(network_retry);
    options.say(fmt::format("{}; trying again in {}", error.what(), format_duration(pause)));
    network_timer = loop.after(pause, [this] {
      network_timer = 0;
      apply_network();
    });
    return;
  }
  network_retry = Duration(0);
  std::set<std::string> problems;
  for (const std::string& problem : network.problems()) {
    problems.insert(problem);
    if (network_problems.contains(problem)) continue;
    options.say(fmt::format(
        "a public address does not lead to its instance but to whoever holds the port on this host: cannot listen on "
        "{}. See who it is with `ss -ltnp`, and let it listen on its own address instead of 0.0.0.0, or open another "
        "port of the instance.",
        problem));
  }
  network_problems = std::move(problems);
}

void Ec2::set_balancer_uses(std::function<bool(const std::string&)> uses) { state_->balancer_uses = std::move(uses); }
void Ec2::network_changed() { state_->network_changed(); }

}  // namespace kiln::region::ec2
