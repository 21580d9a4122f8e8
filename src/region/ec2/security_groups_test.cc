// Security groups: rules as EC2 keeps them, and what they let through.
#include <gmock/gmock.h>

#include "machine/netns.h"
#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class SecurityGroupsTest : public testing::Ec2World {
 protected:
  std::string create(const std::string& name) {
    api::CreateSecurityGroupRequest request;
    request.group_name = name;
    request.description = "for " + name;
    return call<api::CreateSecurityGroup>(request).group_id.value();
  }
  api::IpPermission tcp(int port) {
    api::IpPermission permission;
    permission.ip_protocol = "tcp";
    permission.from_port = port;
    permission.to_port = port;
    return permission;
  }
  api::IpPermission from_anywhere(int port) {
    api::IpPermission permission = tcp(port);
    permission.ip_ranges.emplace_back().cidr_ip = "0.0.0.0/0";
    return permission;
  }
  api::IpPermission from_group(int port, const std::string& group) {
    api::IpPermission permission = tcp(port);
    permission.user_id_group_pairs.emplace_back().group_id = group;
    return permission;
  }
  api::AuthorizeSecurityGroupIngressRequest rule(const std::string& group, const api::IpPermission& permission) {
    api::AuthorizeSecurityGroupIngressRequest request;
    request.group_id = group;
    request.ip_permissions = {permission};
    return request;
  }
  void authorize(const std::string& group, const api::IpPermission& permission) {
    call<api::AuthorizeSecurityGroupIngress>(rule(group, permission));
    loop.run_for(Duration(1));
  }
  void revoke(const std::string& group, const api::IpPermission& permission) {
    api::RevokeSecurityGroupIngressRequest request;
    request.group_id = group;
    request.ip_permissions = {permission};
    call<api::RevokeSecurityGroupIngress>(request);
    loop.run_for(Duration(1));
  }
  // The private address of a new instance in that group.
  std::string instance_in(const std::string& group) {
    if (image.empty()) image = register_image();
    api::RunInstancesRequest request = run_request(image);
    request.security_group_ids = {group};
    std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
    EXPECT_TRUE(wait_for(id, InstanceState::running));
    return life->ec2.instance(id).private_address;
  }
  api::SecurityGroup described(const std::string& id) {
    api::DescribeSecurityGroupsRequest request;
    request.group_ids = {id};
    return call<api::DescribeSecurityGroups>(request).security_groups.at(0);
  }
  std::string image;
};

TEST_F(SecurityGroupsTest, ANewGroupLetsNothingInAndEverythingOut) {
  std::string group = create("web");
  auto one = described(group);
  EXPECT_THAT(one.ip_permissions, IsEmpty());
  ASSERT_THAT(one.ip_permissions_egress, SizeIs(1));
  EXPECT_EQ(one.ip_permissions_egress[0].ip_protocol, "-1");
  EXPECT_EQ(one.ip_permissions_egress[0].ip_ranges.at(0).cidr_ip, "0.0.0.0/0");
  std::string address = instance_in(group);
  EXPECT_FALSE(network.lets_in("172.31.0.99", address, 80));
  ASSERT_THAT(network.ports(), SizeIs(1));
  ASSERT_THAT(network.ports()[0].egress, SizeIs(1));
  EXPECT_EQ(network.ports()[0].egress[0].protocol, "-1");
}

TEST_F(SecurityGroupsTest, ChangesTakeEffectOnRunningInstances) {
  std::string group = create("web");
  std::string address = instance_in(group);
  authorize(group, from_anywhere(80));
  EXPECT_TRUE(network.lets_in("203.0.113.9", address, 80));
  EXPECT_FALSE(network.lets_in("203.0.113.9", address, 81));
  revoke(group, from_anywhere(80));
  EXPECT_FALSE(network.lets_in("203.0.113.9", address, 80));
}

TEST_F(SecurityGroupsTest, ARuleForAGroupLetsItsMembersInAsTheyComeAndGo) {
  std::string app = create("app");
  std::string db = create("db");
  authorize(db, from_group(5432, app));
  std::string target = instance_in(db);
  std::string client = instance_in(app);
  EXPECT_TRUE(network.lets_in(client, target, 5432));
  EXPECT_FALSE(network.lets_in(target, target, 5432)) << "db is no member of app";
  api::TerminateInstancesRequest end;
  for (const auto& [id, one] : life->ec2.instances()) {
    if (one.private_address == client) end.instance_ids = {id};
  }
  call<api::TerminateInstances>(end);
  ASSERT_TRUE(wait_for(end.instance_ids[0], InstanceState::terminated));
  loop.run_for(Duration(1));
  EXPECT_FALSE(network.lets_in(client, target, 5432)) << "the address may be another's by now";
}

TEST_F(SecurityGroupsTest, AGroupOfALoadBalancerStandsForTheBalancersAddresses) {
  std::string balancer = create("balancer");
  std::string web = create("web");
  authorize(web, from_group(80, balancer));
  std::string target = instance_in(web);
  std::string source = machine::balancer_address("172.31.16.1");
  EXPECT_FALSE(network.lets_in(source, target, 80));
  life->ec2.set_balancer_uses([&](const std::string& group) { return group == balancer; });
  life->ec2.network_changed();
  loop.run_for(Duration(1));
  EXPECT_TRUE(network.lets_in(source, target, 80));
  EXPECT_FALSE(network.lets_in(source, target, 81));
}

TEST_F(SecurityGroupsTest, TheDefaultGroupsMembersReachEachOther) {
  std::string one = instance_in(life->ec2.default_security_group_id());
  std::string two = instance_in(life->ec2.default_security_group_id());
  EXPECT_TRUE(network.lets_in(one, two, 8080));
  EXPECT_FALSE(network.lets_in("172.31.0.99", two, 8080));
}

TEST_F(SecurityGroupsTest, RulesAreListedWithIdsAndRevokedByThem) {
  std::string group = create("web");
  auto answer = call<api::AuthorizeSecurityGroupIngress>(rule(group, from_anywhere(80)));
  EXPECT_TRUE(answer.return_.value());
  ASSERT_THAT(answer.security_group_rules, SizeIs(1));
  std::string id = answer.security_group_rules[0].security_group_rule_id.value();
  EXPECT_THAT(id, StartsWith("sgr-"));
  EXPECT_FALSE(answer.security_group_rules[0].is_egress.value());
  api::DescribeSecurityGroupRulesRequest ask;
  ask.filters = {{"group-id", {group}}};
  EXPECT_THAT(call<api::DescribeSecurityGroupRules>(ask).security_group_rules, SizeIs(2)) << "with the egress rule";
  api::RevokeSecurityGroupIngressRequest revoke_it;
  revoke_it.group_id = group;
  revoke_it.security_group_rule_ids = {id};
  call<api::RevokeSecurityGroupIngress>(revoke_it);
  EXPECT_THAT(described(group).ip_permissions, IsEmpty());
  EXPECT_EQ(refusal<api::RevokeSecurityGroupIngress>(revoke_it), "InvalidSecurityGroupRuleId.NotFound");
}

TEST_F(SecurityGroupsTest, AnIcmpRuleWithoutATypeIsForAllOfThem) {
  std::string group = create("web");
  api::IpPermission ping;
  ping.ip_protocol = "icmp";
  ping.from_port = ping.to_port = -1;
  ping.ip_ranges.emplace_back().cidr_ip = "0.0.0.0/0";
  authorize(group, ping);
  instance_in(group);
  const machine::IngressRule& rule = network.ports().at(0).ingress.at(0);
  EXPECT_EQ(rule.from_port, -1) << "0 would be the answer to a ping only";
}

TEST_F(SecurityGroupsTest, DuplicatesAndWrongRulesAreRefused) {
  std::string group = create("web");
  authorize(group, from_anywhere(80));
  EXPECT_EQ(refusal<api::AuthorizeSecurityGroupIngress>(rule(group, from_anywhere(80))), "InvalidPermission.Duplicate");
  auto twice = rule(group, from_anywhere(81));
  twice.ip_permissions.push_back(from_anywhere(81));
  EXPECT_EQ(refusal<api::AuthorizeSecurityGroupIngress>(twice), "InvalidParameterValue");
  auto with = [&](auto&& change) {
    auto request = rule(group, from_anywhere(443));
    change(request.ip_permissions[0]);
    return refusal<api::AuthorizeSecurityGroupIngress>(request);
  };
  EXPECT_EQ(with([](auto& p) { p.ip_ranges[0].cidr_ip = "10.0.0.0"; }), "InvalidParameterValue");
  EXPECT_EQ(with([](auto& p) { p.ip_ranges[0].cidr_ip = "10.0.0.0/33"; }), "InvalidParameterValue");
  EXPECT_EQ(with([](auto& p) { p.to_port = 70000; }), "InvalidParameterValue");
  EXPECT_EQ(with([](auto& p) { p.to_port = 1; }), "InvalidParameterValue");
  EXPECT_EQ(with([](auto& p) { p.ip_protocol = "gopher"; }), "InvalidParameterValue");
  EXPECT_EQ(with([](auto& p) { p.ipv6_ranges.emplace_back().cidr_ipv6 = "::/0"; }), "UnsupportedOperation");
  EXPECT_EQ(with([](auto& p) { p.user_id_group_pairs.emplace_back().group_id = "sg-0123456789abcdef0"; }),
            "InvalidGroup.NotFound");
  EXPECT_THAT(described(group).ip_permissions, SizeIs(1)) << "nothing of a refused call stays";
  api::RevokeSecurityGroupIngressRequest absent;
  absent.group_id = group;
  absent.ip_permissions = {from_anywhere(22)};
  EXPECT_EQ(refusal<api::RevokeSecurityGroupIngress>(absent), "InvalidPermission.NotFound");
}

TEST_F(SecurityGroupsTest, NamesAreUniqueInTheVpc) {
  create("web");
  api::CreateSecurityGroupRequest request;
  request.group_name = "web";
  request.description = "again";
  EXPECT_EQ(refusal<api::CreateSecurityGroup>(request), "InvalidGroup.Duplicate");
  request.group_name = "default";
  EXPECT_EQ(refusal<api::CreateSecurityGroup>(request), "InvalidGroup.Duplicate");
  request.group_name = "sg-web";
  EXPECT_EQ(refusal<api::CreateSecurityGroup>(request), "InvalidParameterValue");
  request.group_name = "other";
  request.vpc_id = "vpc-0123456789abcdef0";
  EXPECT_EQ(refusal<api::CreateSecurityGroup>(request), "InvalidVpcID.NotFound");
}

TEST_F(SecurityGroupsTest, AGroupInUseCannotBeDeleted) {
  std::string web = create("web");
  std::string db = create("db");
  authorize(db, from_group(5432, web));
  api::DeleteSecurityGroupRequest request;
  request.group_id = web;
  EXPECT_EQ(refusal<api::DeleteSecurityGroup>(request), "DependencyViolation") << "a rule names it";
  revoke(db, from_group(5432, web));
  instance_in(web);
  EXPECT_EQ(refusal<api::DeleteSecurityGroup>(request), "DependencyViolation") << "an instance has it";
  request.group_id = db;
  EXPECT_TRUE(call<api::DeleteSecurityGroup>(request).return_.value());
  EXPECT_EQ(refusal<api::DeleteSecurityGroup>(request), "InvalidGroup.NotFound");
  request.group_id = life->ec2.default_security_group_id();
  EXPECT_EQ(refusal<api::DeleteSecurityGroup>(request), "CannotDelete");
}

TEST_F(SecurityGroupsTest, AreFoundByNameAndByTheirRules) {
  std::string web = create("web");
  create("db");
  authorize(web, from_anywhere(80));
  auto by = [&](const std::string& name, const std::string& value) {
    api::DescribeSecurityGroupsRequest request;
    request.filters = {{name, {value}}};
    return call<api::DescribeSecurityGroups>(request).security_groups.size();
  };
  EXPECT_EQ(by("group-name", "web"), 1u);
  EXPECT_EQ(by("vpc-id", life->ec2.vpcs().default_vpc().id), 3u);
  EXPECT_EQ(by("ip-permission.from-port", "80"), 1u);
  EXPECT_EQ(by("ip-permission.cidr", "0.0.0.0/0"), 1u);
  EXPECT_EQ(by("egress.ip-permission.cidr", "0.0.0.0/0"), 3u);
  api::DescribeSecurityGroupsRequest wrong;
  wrong.filters = {{"ip-permission.colour", {"red"}}};
  EXPECT_EQ(refusal<api::DescribeSecurityGroups>(wrong), "InvalidParameterValue");
  EXPECT_THAT(last_message, HasSubstr("ip-permission.colour"));
}

}  // namespace
}  // namespace kiln::region::ec2
