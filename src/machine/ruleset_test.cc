// Ruleset: the text against a golden one, and what must never get into it.
#include "machine/ruleset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "machine/forwarder.h"

namespace kiln::machine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Port port(const std::string& id, const std::string& address) {
  Port port;
  port.id = id;
  port.interface = {"0A:00:00:00:00:01", address, 20, "172.31.0.1", "vpc-1"};
  return port;
}

Vpc vpc_of(const Port& port) {
  Vpc vpc;
  vpc.id = "vpc-1";
  vpc.ports = {port};
  return vpc;
}

TEST(Ruleset, IsOneTransactionThatReplacesTheTable) {
  Port web = port("i-1", "172.31.0.10");
  web.ingress = {{"tcp", 80, 80, {"0.0.0.0/0"}}, {"tcp", 22, 22, {"172.31.0.0/16", "172.31.16.4", "172.31.16.5"}}};
  web.egress = {{"-1", 0, 0, {"0.0.0.0/0"}}};
  web.internet = true;
  const std::string wire = wire_name("i-1");
  const std::string golden = R"(table inet kiln {}
delete table inet kiln
table inet kiln {
  chain in_W {
    tcp dport 80 accept
    ip saddr { 172.31.16.4, 172.31.16.5 } tcp dport 22 accept
    ip saddr 172.31.0.0/16 tcp dport 22 accept
    drop
  }
  chain out_W {
    return
    drop
  }
  chain prerouting {
    type filter hook prerouting priority -150; policy accept;
    iifname { "lo", "tap0" } accept
    iifname . ip saddr . ether saddr { "W" . 172.31.0.10 . 0a:00:00:00:00:01 } accept
    drop
  }
  chain input {
    type filter hook input priority 0; policy drop;
    iifname "lo" accept
    ct state established,related accept
    iifname "v*" icmp type echo-request accept
    iifname "v*" ip daddr 169.254.169.254 tcp dport 80 accept
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state invalid drop
    ct state established,related accept
    iifname { "W" } oifname "tap0" ip daddr 169.254.77.3 meta l4proto { tcp, udp } th dport 53 accept
    ip daddr 169.254.77.3 reject
    iifname vmap { "W" : jump out_W }
    iifname { "W" } oifname "tap0" accept
    iifname "v*" oifname vmap { "W" : jump in_W }
  }
  chain output {
    type filter hook output priority 0; policy accept;
    ct state established,related accept
    oifname vmap { "W" : jump in_W }
    oifname "v*" drop
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    iifname "v*" oifname "tap0" masquerade
  }
}
)";
  std::string expected;
  for (const char c : golden) expected += c == 'W' ? wire : std::string(1, c);
  EXPECT_EQ(ruleset({web}), expected);
}

TEST(Ruleset, DoesNotDependOnTheOrderOfMachines) {
  const Port a = port("i-1", "172.31.0.10");
  const Port b = port("i-2", "172.31.0.11");
  EXPECT_EQ(ruleset({a, b}), ruleset({b, a}));
}

TEST(Ruleset, WithoutMachinesLetsNothingThrough) {
  EXPECT_THAT(ruleset({}), HasSubstr("hook forward priority 0; policy drop;"));
  EXPECT_THAT(ruleset({}), Not(HasSubstr("vmap")));
}

TEST(Ruleset, ARuleForNobodyIsNoRule) {
  Port web = port("i-1", "172.31.0.10");
  web.ingress = {{"tcp", 80, 80, {}}};
  EXPECT_THAT(ruleset({web}), Not(HasSubstr("dport 80 accept\n    drop")));
}

TEST(Ruleset, TakesHostBitsOffACidrAsAwsDoes) {
  Port web = port("i-1", "172.31.0.10");
  web.ingress = {{"udp", 53, 60, {"10.1.2.3/8"}}};
  EXPECT_THAT(ruleset({web}), HasSubstr("ip saddr 10.0.0.0/8 udp dport 53-60 accept"));
}

TEST(Ruleset, KnowsIcmpTypesAndCodes) {
  Port web = port("i-1", "172.31.0.10");
  web.ingress = {{"icmp", -1, -1, {"10.0.0.1"}}, {"icmp", 8, -1, {"10.0.0.2"}}, {"icmp", 3, 4, {"10.0.0.3"}}};
  const std::string text = ruleset({web});
  EXPECT_THAT(text, HasSubstr("ip saddr { 10.0.0.1 } meta l4proto icmp accept"));
  EXPECT_THAT(text, HasSubstr("ip saddr { 10.0.0.2 } icmp type 8 accept"));
  EXPECT_THAT(text, HasSubstr("ip saddr { 10.0.0.3 } icmp type 3 icmp code 4 accept"));
}

TEST(Ruleset, RefusesWhatItCannotCheck) {
  const auto refused = [](const Port& port) {
    try {
      ruleset({port});
      return std::string();
    } catch (const Error& error) {
      return error.code() == ErrorCode::invalid ? error.message() : "wrong code";
    }
  };
  Port web = port("i-1", "172.31.0.10");
  web.ingress = {{"tcp", 80, 80, {"0.0.0.0/0 accept } chain x {"}}};
  EXPECT_THAT(refused(web), HasSubstr("i-1"));
  web.ingress = {{"tcp; drop", 80, 80, {"0.0.0.0/0"}}};
  EXPECT_THAT(refused(web), HasSubstr("tcp; drop"));
  web.ingress = {{"tcp", 90, 80, {"0.0.0.0/0"}}};
  EXPECT_THAT(refused(web), HasSubstr("90-80"));
  web.ingress = {{"tcp", 80, 80, {"10.0.0.0/33"}}};
  EXPECT_THAT(refused(web), HasSubstr("10.0.0.0/33"));
  web = port("i-1", "172.31.0.10; drop");
  EXPECT_THAT(refused(web), HasSubstr("172.31.0.10; drop"));
  web = port("i-1", "172.31.0.10");
  web.interface.mac = "0a:00:00:00:00:0x";
  EXPECT_THAT(refused(web), HasSubstr("0a:00:00:00:00:0x"));
}

TEST(WireName, FitsADevice) {
  EXPECT_LE(wire_name("i-0123456789abcdef0").size(), 15u);
  EXPECT_NE(wire_name("i-0123456789abcdef0"), wire_name("i-0123456789abcdef1"));
}

TEST(Forwards, AreTheTcpPortsThatAreOpenToEverybody) {
  Port web = port("i-1", "172.31.0.10");
  web.internet = true;
  web.public_address = "127.77.0.5";
  web.ingress = {{"tcp", 8000, 8001, {"0.0.0.0/0"}}, {"tcp", 443, 443, {"10.0.0.0/8"}}, {"udp", 53, 53, {"0.0.0.0/0"}}};
  const std::map<Endpoint, Target> expected = {{{"127.77.0.5", 8000}, {"kiln3-vpc-1", {"172.31.0.10", 8000}}},
                                               {{"127.77.0.5", 8001}, {"kiln3-vpc-1", {"172.31.0.10", 8001}}}};
  EXPECT_EQ(forwards({vpc_of(web)}, 3), expected);
  Port inward = web;
  inward.internet = false;
  EXPECT_TRUE(forwards({vpc_of(inward)}, 3).empty()) << "without a way out there is none in";
  web.public_address.clear();
  EXPECT_TRUE(forwards({vpc_of(web)}, 3).empty());
}

TEST(Forwards, OfARuleForAllPortsAreTheWellKnownOnes) {
  Port web = port("i-1", "172.31.0.10");
  web.internet = true;
  web.public_address = "127.77.0.5";
  web.ingress = {{"-1", 0, 0, {"0.0.0.0/0"}}};
  const auto found = forwards({vpc_of(web)}, 3);
  EXPECT_TRUE(found.contains({"127.77.0.5", 22}));
  EXPECT_TRUE(found.contains({"127.77.0.5", 80}));
  EXPECT_LT(found.size(), 20u);
}

}  // namespace
}  // namespace kiln::machine
