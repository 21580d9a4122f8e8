// Ruleset: see ruleset.h. One chain for each machine and direction; a verdict map finds it by the machine's device.
#include "machine/ruleset.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"

namespace kiln::machine {
namespace {

[[noreturn]] void invalid(const Port& port, std::string_view what, std::string_view value) {
  throw Error(ErrorCode::invalid, fmt::format("the rules of machine {} have {} \"{}\"", port.id, what, value));
}

bool is_address(const std::string& text) {
  in_addr parsed{};
  return ::inet_pton(AF_INET, text.c_str(), &parsed) == 1;
}

std::string checked_address(const Port& port, const std::string& text) {
  if (!is_address(text)) invalid(port, "an address that is none:", text);
  return text;
}

// nft refuses a CIDR with host bits set, and intervals that overlap without auto-merge: AWS allows both.
std::string checked_cidr(const Port& port, const std::string& text) {
  const auto slash = text.find('/');
  const std::string address = text.substr(0, slash);
  in_addr parsed{};
  if (::inet_pton(AF_INET, address.c_str(), &parsed) != 1) invalid(port, "a CIDR that is none:", text);
  if (slash == std::string::npos) return address;
  const auto prefix = parse_int(text.substr(slash + 1));
  if (!prefix || *prefix < 0 || *prefix > 32) invalid(port, "a CIDR that is none:", text);
  const std::uint32_t mask = *prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - *prefix);
  parsed.s_addr = htonl(ntohl(parsed.s_addr) & mask);
  char network[INET_ADDRSTRLEN];
  ::inet_ntop(AF_INET, &parsed, network, sizeof network);
  return fmt::format("{}/{}", network, *prefix);
}

std::string mac_of(const Port& port) {
  const std::string mac = to_lower(port.interface.mac);
  bool good = mac.size() == 17;
  for (std::size_t i = 0; good && i < mac.size(); ++i) {
    good = i % 3 == 2 ? mac[i] == ':' : std::isxdigit(static_cast<unsigned char>(mac[i])) != 0;
  }
  if (!good) invalid(port, "a MAC address that is none:", port.interface.mac);
  return mac;
}

// "tcp dport 80-90", "icmp type 8", "" for everything.
std::string protocol_match(const Port& port, const std::string& protocol, int from, int to) {
  if (protocol == "-1") return {};
  if (protocol == "icmp") {
    if (from < -1 || from > 255 || to < -1 || to > 255) invalid(port, "an ICMP type or code", fmt::format("{}", from));
    if (from == -1) return "meta l4proto icmp ";
    return to == -1 ? fmt::format("icmp type {} ", from) : fmt::format("icmp type {} icmp code {} ", from, to);
  }
  if (protocol != "tcp" && protocol != "udp") invalid(port, "a protocol that is none of tcp, udp, icmp, -1:", protocol);
  if (from < 0 || to > 65535 || from > to) invalid(port, "a port range", fmt::format("{}-{}", from, to));
  if (from == 0 && to == 65535) return fmt::format("meta l4proto {} ", protocol);
  return from == to ? fmt::format("{} dport {} ", protocol, from) : fmt::format("{} dport {}-{} ", protocol, from, to);
}

// The matches of the peers, one rule each: {""} when one of them is everybody, none when there are none. Single
// addresses share a set; ranges may overlap, which a set does not take.
std::vector<std::string> peer_matches(const Port& port, const char* field, const std::vector<std::string>& peers) {
  std::set<std::string> addresses;
  std::set<std::string> ranges;
  for (const std::string& peer : peers) {
    const std::string cidr = checked_cidr(port, peer);
    if (cidr == "0.0.0.0/0") return {""};
    (is_address(cidr) ? addresses : ranges).insert(cidr);
  }
  std::vector<std::string> matches;
  if (!addresses.empty()) matches.push_back(fmt::format("ip {} {{ {} }} ", field, fmt::join(addresses, ", ")));
  for (const std::string& range : ranges) matches.push_back(fmt::format("ip {} {} ", field, range));
  return matches;
}

void append_rules(std::string& out, const Port& port, const char* field, const std::string& protocol, int from, int to,
                  const std::vector<std::string>& peers, const char* verdict) {
  const std::string match = protocol_match(port, protocol, from, to);
  for (const std::string& peer : peer_matches(port, field, peers))
    out += fmt::format("    {}{}{}\n", peer, match, verdict);
}

std::string verdict_map(const std::map<std::string, std::string>& chains) {
  std::vector<std::string> parts;
  for (const auto& [device, chain] : chains) parts.push_back(fmt::format("\"{}\" : jump {}", device, chain));
  return "{ " + join(parts, ", ") + " }";
}

struct Chains {
  std::map<std::string, std::string> in;  // device → chain
  std::map<std::string, std::string> out;
  std::vector<std::string> known;     // "device . address . mac"
  std::vector<std::string> internet;  // devices with a way out
  std::string text;
};

Chains chains_of(const std::vector<Port>& sorted) {
  Chains chains;
  for (const Port& port : sorted) {
    const std::string device = wire_name(port.id);
    chains.in[device] = "in_" + device;
    chains.out[device] = "out_" + device;
    chains.known.push_back(
        fmt::format("\"{}\" . {} . {}", device, checked_address(port, port.interface.address), mac_of(port)));
    if (port.internet) chains.internet.push_back('"' + device + '"');
    chains.text += fmt::format("  chain in_{} {{\n", device);
    for (const IngressRule& rule : port.ingress) {
      append_rules(chains.text, port, "saddr", rule.protocol, rule.from_port, rule.to_port, rule.sources, "accept");
    }
    chains.text += fmt::format("    drop\n  }}\n  chain out_{} {{\n", device);
    for (const EgressRule& rule : port.egress) {
      append_rules(chains.text, port, "daddr", rule.protocol, rule.from_port, rule.to_port, rule.destinations,
                   "return");
    }
    chains.text += "    drop\n  }\n";
  }
  return chains;
}

}  // namespace

std::string wire_name(const std::string& machine_id) { return "v" + sha256(machine_id).hex().substr(0, 12); }

std::string ruleset(const std::vector<Port>& ports) {
  std::vector<Port> sorted = ports;
  std::sort(sorted.begin(), sorted.end(), [](const Port& a, const Port& b) { return a.id < b.id; });
  const Chains chains = chains_of(sorted);
  const bool some = !sorted.empty();

  // Naming the table first makes the deletion good also when there is none yet.
  std::string out = "table inet kiln {}\ndelete table inet kiln\ntable inet kiln {\n";
  out += chains.text;
  out += "  chain prerouting {\n    type filter hook prerouting priority -150; policy accept;\n";
  out += fmt::format("    iifname {{ \"lo\", \"{}\" }} accept\n", kUplink);
  if (some) {
    out += fmt::format("    iifname . ip saddr . ether saddr {{ {} }} accept\n", join(chains.known, ", "));
  }
  out += "    drop\n  }\n";

  out += "  chain input {\n    type filter hook input priority 0; policy drop;\n";
  out += "    iifname \"lo\" accept\n    ct state established,related accept\n";
  out += "    iifname \"v*\" icmp type echo-request accept\n";
  out += fmt::format("    iifname \"v*\" ip daddr {} tcp dport 80 accept\n  }}\n", kMetadataAddress);

  out += "  chain forward {\n    type filter hook forward priority 0; policy drop;\n";
  out += "    ct state invalid drop\n    ct state established,related accept\n";
  if (!chains.internet.empty()) {
    out +=
        fmt::format("    iifname {{ {} }} oifname \"{}\" ip daddr {} meta l4proto {{ tcp, udp }} th dport 53 accept\n",
                    join(chains.internet, ", "), kUplink, kResolver);
  }
  // Without a way out a lookup fails at once, instead of after the resolver's patience.
  out += fmt::format("    ip daddr {} reject\n", kResolver);
  if (some) {
    out += fmt::format("    iifname vmap {}\n", verdict_map(chains.out));
    if (!chains.internet.empty()) {
      out += fmt::format("    iifname {{ {} }} oifname \"{}\" accept\n", join(chains.internet, ", "), kUplink);
    }
    out += fmt::format("    iifname \"v*\" oifname vmap {}\n", verdict_map(chains.in));
  }
  out += "  }\n";

  out += "  chain output {\n    type filter hook output priority 0; policy accept;\n";
  out += "    ct state established,related accept\n";
  if (some) out += fmt::format("    oifname vmap {}\n", verdict_map(chains.in));
  out += "    oifname \"v*\" drop\n  }\n";

  out += "  chain postrouting {\n    type nat hook postrouting priority 100; policy accept;\n";
  out += fmt::format("    iifname \"v*\" oifname \"{}\" masquerade\n  }}\n}}\n", kUplink);
  return out;
}

}  // namespace kiln::machine
