// add_network_functions: parts of networks, IPv4 and IPv6.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "packer/internal/functions.h"

namespace kiln::packer {
namespace {

using Map = std::map<std::string, Function>;
__extension__ using Bits = unsigned __int128;

struct Network {
  Bits address = 0;  // its low `width` bits
  int width = 32;    // 32 or 128
  int prefix = 0;

  int host_bits() const { return width - prefix; }
  Bits size() const { return Bits{1} << host_bits(); }
};

Bits without_host(Bits address, int host_bits) { return address >> host_bits << host_bits; }

Network network_of(const Call& call) {
  const std::string text = call.text(0);
  const auto wrong = [&] {
    return call.place.error(fmt::format("'{}' is not a network", text), "it is written as 10.0.0.0/16 or fd00::/48");
  };
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) throw wrong();
  Network out;
  std::array<unsigned char, 16> bytes{};
  const std::string address = text.substr(0, slash);
  const bool six = address.find(':') != std::string::npos;
  if (inet_pton(six ? AF_INET6 : AF_INET, address.c_str(), bytes.data()) != 1) throw wrong();
  out.width = six ? 128 : 32;
  for (std::size_t i = 0; i < static_cast<std::size_t>(out.width / 8); ++i) out.address = out.address << 8 | bytes[i];
  const auto prefix = parse_int(text.substr(slash + 1));
  // All of IPv6 has more addresses than `Bits` can count.
  if (!prefix || *prefix < (six ? 1 : 0) || *prefix > out.width) throw wrong();
  out.prefix = static_cast<int>(*prefix);
  out.address = without_host(out.address, out.host_bits());
  return out;
}

std::string address_text(Bits address, int width) {
  std::array<unsigned char, 16> bytes{};
  for (auto i = static_cast<std::size_t>(width / 8); i > 0; --i) {
    bytes[i - 1] = static_cast<unsigned char>(address & 0xff);
    address >>= 8;
  }
  std::array<char, INET6_ADDRSTRLEN> out{};
  return inet_ntop(width == 128 ? AF_INET6 : AF_INET, bytes.data(), out.data(), out.size());
}

Value network_text(const Network& network) {
  return Value::of(fmt::format("{}/{}", address_text(network.address, network.width), network.prefix));
}

Value cidrhost(const Call& call) {
  const Network network = network_of(call);
  const std::int64_t number = call.whole(1);
  const Bits size = network.size();
  const Bits distance = static_cast<Bits>(number < 0 ? -number : number);
  if (number < 0 ? distance > size : distance >= size)
    throw call.place.error(fmt::format("{} has no address of the number {}", call.text(0), number));
  // From the end when it is negative.
  const Bits host = number < 0 ? size - distance : distance;
  return Value::of(address_text(network.address + host, network.width));
}

Value cidrnetmask(const Call& call) {
  const Network network = network_of(call);
  if (network.width != 32) throw call.place.error("only networks of IPv4 have a netmask");
  const Bits all = (Bits{1} << 32) - 1;
  return Value::of(address_text(without_host(all, network.host_bits()), 32));
}

// `bits` longer than the prefix of `network`, at its beginning.
Network narrowed(const Network& network, std::int64_t bits, const Call& call) {
  if (bits < 0 || bits > network.host_bits())
    throw call.place.error(fmt::format("{} cannot be divided by {} more bits", call.text(0), bits));
  Network out = network;
  out.prefix += static_cast<int>(bits);
  return out;
}

Value cidrsubnet(const Call& call) {
  const Network network = network_of(call);
  const std::int64_t bits = call.whole(1), number = call.whole(2);
  Network out = narrowed(network, bits, call);
  if (number < 0 || (bits < 63 && number >= std::int64_t{1} << bits))
    throw call.place.error(fmt::format("{} more bits have no network of the number {}", bits, number));
  if (number > 0) out.address += static_cast<Bits>(number) << out.host_bits();
  return network_text(out);
}

// One after the other, each at the first place behind the last where it may begin.
Value cidrsubnets(const Call& call) {
  const Network network = network_of(call);
  Value out = Value::list();
  Bits used = 0;
  for (std::size_t i = 1; i < call.arguments.size(); ++i) {
    const std::int64_t bits = call.whole(i);
    if (bits < 1) throw call.place.error("'cidrsubnets' needs 1 or more bits for each network");
    Network next = narrowed(network, bits, call);
    const Bits size = next.size();
    const Bits begin = (used + size - 1) / size * size;
    if (begin + size > network.size())
      throw call.place.error(fmt::format("{} has no room for all of these networks", call.text(0)));
    next.address += begin;
    used = begin + size;
    out.items.push_back(network_text(next));
  }
  return out;
}

}  // namespace

void add_network_functions(Map& map) {
  map["cidrhost"] = {2, 2, cidrhost};
  map["cidrnetmask"] = {1, 1, cidrnetmask};
  map["cidrsubnet"] = {3, 3, cidrsubnet};
  map["cidrsubnets"] = {1, kMany, cidrsubnets};
}

}  // namespace kiln::packer
