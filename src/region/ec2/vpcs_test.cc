// VPCs over the wire: subnets, routes, gateways, interfaces and addresses, and what they mean for the network.
#include <set>

#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace api = wire::ec2;

class Networks : public testing::Ec2World {
 protected:
  std::string vpc(const std::string& cidr = "10.0.0.0/16") {
    api::CreateVpcRequest request;
    request.cidr_block = cidr;
    return call<api::CreateVpc>(request).vpc->vpc_id.value();
  }
  std::string subnet(const std::string& vpc, const std::string& cidr = "10.0.1.0/24", const std::string& zone = "") {
    api::CreateSubnetRequest request;
    request.vpc_id = vpc;
    request.cidr_block = cidr;
    request.availability_zone = zone;
    return call<api::CreateSubnet>(request).subnet->subnet_id.value();
  }
  std::string refused_subnet(const std::string& vpc, const std::string& cidr, const std::string& zone = "") {
    api::CreateSubnetRequest request;
    request.vpc_id = vpc;
    request.cidr_block = cidr;
    request.availability_zone = zone;
    return refusal<api::CreateSubnet>(request);
  }
  std::string gateway() { return call<api::CreateInternetGateway>({}).internet_gateway->internet_gateway_id.value(); }
  std::string attach(const std::string& gateway, const std::string& vpc) {
    api::AttachInternetGatewayRequest request;
    request.internet_gateway_id = gateway;
    request.vpc_id = vpc;
    return refusal<api::AttachInternetGateway>(request);
  }
  std::string detach(const std::string& gateway, const std::string& vpc) {
    api::DetachInternetGatewayRequest request;
    request.internet_gateway_id = gateway;
    request.vpc_id = vpc;
    return refusal<api::DetachInternetGateway>(request);
  }
  std::string route(const std::string& table, const std::string& gateway, const std::string& to = "0.0.0.0/0") {
    api::CreateRouteRequest request;
    request.route_table_id = table;
    request.destination_cidr_block = to;
    request.gateway_id = gateway;
    return refusal<api::CreateRoute>(request);
  }
  std::vector<api::RouteTable> tables(const std::string& filter, const std::string& value) {
    api::DescribeRouteTablesRequest request;
    request.filters = {{filter, {value}}};
    return call<api::DescribeRouteTables>(request).route_tables;
  }
  std::string main_table(const std::string& vpc) {
    api::DescribeRouteTablesRequest request;
    request.filters = {{"vpc-id", {vpc}}, {"association.main", {"true"}}};
    return call<api::DescribeRouteTables>(request).route_tables.at(0).route_table_id.value();
  }
  std::string table(const std::string& vpc) {
    api::CreateRouteTableRequest request;
    request.vpc_id = vpc;
    return call<api::CreateRouteTable>(request).route_table->route_table_id.value();
  }
  std::string group(const std::string& vpc, const std::string& name = "web") {
    api::CreateSecurityGroupRequest request;
    request.group_name = name;
    request.description = "d";
    request.vpc_id = vpc;
    return call<api::CreateSecurityGroup>(request).group_id.value();
  }
  api::RunInstancesRequest run_in(const std::string& subnet) {
    if (image.empty()) image = register_image();
    api::RunInstancesRequest request = run_request(image);
    request.subnet_id = subnet;
    return request;
  }
  std::string launch(const api::RunInstancesRequest& request) {
    std::string id = call<api::RunInstances>(request).instances.at(0).instance_id.value();
    EXPECT_TRUE(wait_for(id, InstanceState::running));
    return id;
  }
  const machine::Port& port(const std::string& id) {
    for (const machine::Port& one : network.ports()) {
      if (one.id == id) return one;
    }
    throw Error(ErrorCode::not_found, "no port of " + id);
  }
  void stop(const std::string& id) {
    api::StopInstancesRequest request;
    request.instance_ids = {id};
    call<api::StopInstances>(request);
    ASSERT_TRUE(wait_for(id, InstanceState::stopped));
  }
  void start_again(const std::string& id) {
    api::StartInstancesRequest request;
    request.instance_ids = {id};
    call<api::StartInstances>(request);
    ASSERT_TRUE(wait_for(id, InstanceState::running));
  }
  void terminate(const std::string& id) {
    api::TerminateInstancesRequest request;
    request.instance_ids = {id};
    call<api::TerminateInstances>(request);
    ASSERT_TRUE(wait_for(id, InstanceState::terminated));
  }
  std::string image;
};

TEST_F(Networks, TheDefaultVpcIsAsAwsMakesIt) {
  const Vpc& own = life->ec2.vpcs().default_vpc();
  EXPECT_EQ(own.cidr, "172.31.0.0/16");
  api::RouteTable main = tables("vpc-id", own.id).at(0);
  ASSERT_THAT(main.routes, SizeIs(2));
  EXPECT_EQ(main.routes[0].gateway_id, "local");
  EXPECT_EQ(main.routes[1].destination_cidr_block, "0.0.0.0/0");
  EXPECT_THAT(main.routes[1].gateway_id.value(), HasSubstr("igw-"));
  EXPECT_EQ(main.routes[1].state, "active");
  ASSERT_THAT(main.associations, SizeIs(1));
  EXPECT_TRUE(main.associations[0].main.value());
  api::DescribeInternetGatewaysRequest gateways;
  gateways.filters = {{"attachment.vpc-id", {own.id}}};
  EXPECT_THAT(call<api::DescribeInternetGateways>(gateways).internet_gateways, SizeIs(1));
  api::DescribeSubnetsRequest subnets;
  subnets.filters = {{"default-for-az", {"true"}}, {"map-public-ip-on-launch", {"true"}}, {"state", {"available"}}};
  EXPECT_THAT(call<api::DescribeSubnets>(subnets).subnets, SizeIs(3));
  api::DescribeVpcAttributeRequest names;
  names.vpc_id = own.id;
  names.attribute = "enableDnsHostnames";
  EXPECT_TRUE(call<api::DescribeVpcAttribute>(names).enable_dns_hostnames->value.value());
  names.attribute = "colour";
  EXPECT_EQ(refusal<api::DescribeVpcAttribute>(names), "InvalidParameterValue");
}

TEST_F(Networks, AVpcBeginsWithItsOwnGroupAndMainTableAndTakesThemAlong) {
  const std::string id = vpc("10.0.3.4/16");
  EXPECT_EQ(life->ec2.vpcs().vpc(id).cidr, "10.0.0.0/16") << "AWS takes the host bits off";
  api::DescribeSecurityGroupsRequest groups;
  groups.filters = {{"vpc-id", {id}}};
  auto found = call<api::DescribeSecurityGroups>(groups).security_groups;
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].group_name, "default");
  EXPECT_EQ(found[0].ip_permissions.at(0).user_id_group_pairs.at(0).group_id, found[0].group_id);
  ASSERT_THAT(tables("vpc-id", id), SizeIs(1));
  EXPECT_THAT(tables("vpc-id", id)[0].routes, SizeIs(1));
  api::DeleteVpcRequest gone;
  gone.vpc_id = id;
  call<api::DeleteVpc>(gone);
  EXPECT_THAT(call<api::DescribeSecurityGroups>(groups).security_groups, IsEmpty());
  EXPECT_THAT(tables("vpc-id", id), IsEmpty());
  EXPECT_EQ(refusal<api::DeleteVpc>(gone), "InvalidVpcID.NotFound");
  gone.vpc_id = life->ec2.vpcs().default_vpc().id;
  EXPECT_EQ(refusal<api::DeleteVpc>(gone), "UnsupportedOperation") << "named in conformance.md";
}

TEST_F(Networks, BlocksThatAwsRefusesAreRefused) {
  const auto refused = [&](const std::string& cidr) {
    api::CreateVpcRequest request;
    request.cidr_block = cidr;
    return refusal<api::CreateVpc>(request);
  };
  EXPECT_EQ(refused("10.0.0.0/15"), "InvalidVpc.Range");
  EXPECT_EQ(refused("10.0.0.0/29"), "InvalidVpc.Range");
  EXPECT_EQ(refused("127.0.0.0/16"), "InvalidVpc.Range");
  EXPECT_EQ(refused("169.254.0.0/16"), "InvalidVpc.Range");
  EXPECT_EQ(refused("10.0.0.0"), "InvalidParameterValue");
  EXPECT_EQ(refused("tenfold"), "InvalidParameterValue");
  EXPECT_EQ(refused(""), "MissingParameter");
  const std::string id = vpc();
  EXPECT_EQ(refused_subnet(id, "10.1.0.0/24"), "InvalidSubnet.Range");
  EXPECT_EQ(refused_subnet(id, "10.0.0.0/29"), "InvalidSubnet.Range");
  subnet(id, "10.0.0.0/24");
  EXPECT_EQ(refused_subnet(id, "10.0.0.128/25"), "InvalidSubnet.Conflict");
  EXPECT_EQ(refused_subnet(id, "10.0.1.0/24", "us-east-1z"), "InvalidParameterValue");
  EXPECT_EQ(refused_subnet("vpc-0123456789abcdef0", "10.0.1.0/24"), "InvalidVpcID.NotFound");
  EXPECT_EQ(life->ec2.vpcs().subnet(subnet(id, "10.0.1.0/24", "us-east-1c")).zone_id, "use1-az3");
}

TEST_F(Networks, SmallSubnetsHaveFiveAddressesLess) {
  const std::string in = subnet(vpc(), "10.0.0.0/28");
  api::RunInstancesRequest request = run_in(in);
  request.min_count = request.max_count = 12;
  EXPECT_EQ(refusal<api::RunInstances>(request), "InsufficientFreeAddressesInSubnet");
  request.min_count = 1;
  EXPECT_THAT(call<api::RunInstances>(request).instances, SizeIs(11));
}

TEST_F(Networks, WhatIsInUseIsNotDeleted) {
  const std::string id = vpc();
  const std::string in = subnet(id);
  const std::string one = launch(run_in(in));
  const auto refused_vpc = [&] {
    api::DeleteVpcRequest request;
    request.vpc_id = id;
    return refusal<api::DeleteVpc>(request);
  };
  api::DeleteSubnetRequest gone;
  gone.subnet_id = in;
  EXPECT_EQ(refusal<api::DeleteSubnet>(gone), "DependencyViolation");
  terminate(one);
  EXPECT_EQ(refused_vpc(), "DependencyViolation");
  call<api::DeleteSubnet>(gone);
  const std::string web = group(id);
  EXPECT_EQ(refused_vpc(), "DependencyViolation");
  api::DeleteSecurityGroupRequest group_gone;
  group_gone.group_id = web;
  call<api::DeleteSecurityGroup>(group_gone);
  const std::string igw = gateway();
  EXPECT_EQ(attach(igw, id), "");
  EXPECT_EQ(refused_vpc(), "DependencyViolation");
  EXPECT_EQ(detach(igw, id), "");
  EXPECT_EQ(network.made().size(), 1u);
  EXPECT_EQ(refused_vpc(), "");
  ASSERT_TRUE(loop.run_while_not([&] { return network.made().empty(); }, Duration(1'000)));
}

TEST_F(Networks, AWayOutNeedsRouteGatewayAndAPublicAddress) {
  const std::string id = vpc();
  const std::string in = subnet(id);
  api::ModifySubnetAttributeRequest map;
  map.subnet_id = in;
  map.map_public_ip_on_launch.emplace().value = true;
  call<api::ModifySubnetAttribute>(map);
  const std::string one = launch(run_in(in));
  EXPECT_FALSE(port(one).internet);
  EXPECT_TRUE(describe(one).public_ip_address);

  const std::string igw = gateway();
  EXPECT_EQ(route(main_table(id), igw), "InvalidParameterValue") << "it is attached to no network, or another one";
  EXPECT_EQ(attach(igw, id), "");
  EXPECT_EQ(attach(igw, id), "Resource.AlreadyAssociated");
  EXPECT_EQ(attach(gateway(), id), "InvalidParameterValue") << "one a network";
  EXPECT_EQ(route(main_table(id), igw, "10.9.0.0/16"), "UnsupportedOperation");
  EXPECT_EQ(route(main_table(id), igw), "");
  ASSERT_TRUE(loop.run_while_not([&] { return port(one).internet; }, Duration(1'000)));

  const std::string own = table(id);
  api::AssociateRouteTableRequest associate;
  associate.route_table_id = own;
  associate.subnet_id = in;
  const std::string association = call<api::AssociateRouteTable>(associate).association_id.value();
  ASSERT_TRUE(loop.run_while_not([&] { return !port(one).internet; }, Duration(1'000))) << "its own table has no route";
  associate.route_table_id = main_table(id);
  EXPECT_EQ(refusal<api::AssociateRouteTable>(associate), "Resource.AlreadyAssociated");
  api::DeleteRouteTableRequest gone;
  gone.route_table_id = own;
  EXPECT_EQ(refusal<api::DeleteRouteTable>(gone), "DependencyViolation");
  api::DisassociateRouteTableRequest disassociate;
  disassociate.association_id = association;
  call<api::DisassociateRouteTable>(disassociate);
  EXPECT_EQ(refusal<api::DisassociateRouteTable>(disassociate), "InvalidAssociationID.NotFound");
  ASSERT_TRUE(loop.run_while_not([&] { return port(one).internet; }, Duration(1'000))) << "the main table's again";
  call<api::DeleteRouteTable>(gone);

  EXPECT_EQ(detach(igw, id), "DependencyViolation") << "public addresses are mapped";
  api::RunInstancesRequest hidden = run_in(in);
  hidden.subnet_id.reset();
  auto& interface = hidden.network_interfaces.emplace_back();
  interface.device_index = 0;
  interface.subnet_id = in;
  interface.associate_public_ip_address = false;
  const std::string two = launch(hidden);
  EXPECT_FALSE(describe(two).public_ip_address);
  EXPECT_FALSE(port(two).internet) << "an internet gateway serves only who has a public address";
  terminate(one);
  EXPECT_EQ(detach(igw, id), "");
  EXPECT_EQ(detach(igw, id), "Gateway.NotAttached");
  EXPECT_EQ(tables("route.state", "blackhole").at(0).route_table_id, main_table(id));
}

TEST_F(Networks, RoutesAreReplacedAndTheMainTableTooAsOnAws) {
  const std::string id = vpc();
  const std::string igw = gateway();
  attach(igw, id);
  api::ReplaceRouteRequest replace;
  replace.route_table_id = main_table(id);
  replace.destination_cidr_block = "0.0.0.0/0";
  replace.gateway_id = igw;
  EXPECT_EQ(refusal<api::ReplaceRoute>(replace), "InvalidParameterValue") << "there is none to replace";
  EXPECT_EQ(route(main_table(id), igw), "");
  call<api::ReplaceRoute>(replace);
  api::DeleteRouteRequest gone;
  gone.route_table_id = main_table(id);
  gone.destination_cidr_block = "0.0.0.0/0";
  call<api::DeleteRoute>(gone);
  EXPECT_EQ(refusal<api::DeleteRoute>(gone), "InvalidRoute.NotFound");

  const std::string before = main_table(id);
  const std::string next = table(id);
  api::ReplaceRouteTableAssociationRequest main;
  main.association_id = tables("route-table-id", before).at(0).associations.at(0).route_table_association_id;
  main.route_table_id = next;
  const std::string moved = call<api::ReplaceRouteTableAssociation>(main).new_association_id.value();
  EXPECT_NE(moved, main.association_id);
  EXPECT_EQ(main_table(id), next);
  api::DisassociateRouteTableRequest disassociate;
  disassociate.association_id = moved;
  EXPECT_EQ(refusal<api::DisassociateRouteTable>(disassociate), "InvalidParameterValue") << "the main one stays";

  api::CreateRouteTableRequest again;
  again.vpc_id = id;
  again.client_token = "once";
  const std::string made = call<api::CreateRouteTable>(again).route_table->route_table_id.value();
  EXPECT_EQ(call<api::CreateRouteTable>(again).route_table->route_table_id, made);
  again.vpc_id = life->ec2.vpcs().default_vpc().id;
  EXPECT_EQ(refusal<api::CreateRouteTable>(again), "IdempotentParameterMismatch");
}

TEST_F(Networks, SecurityGroupsBelongToTheirVpc) {
  const std::string first = vpc();
  const std::string second = vpc();
  const std::string web = group(first);
  const std::string other = group(second);
  EXPECT_NE(web, other) << "a name is its VPC's";
  EXPECT_EQ(life->ec2.security_group(group("")).vpc_id, life->ec2.vpcs().default_vpc().id) << "Packer says VpcId=\"\"";
  api::RunInstancesRequest request = run_in(subnet(first));
  request.security_group_ids = {other};
  EXPECT_EQ(refusal<api::RunInstances>(request), "InvalidParameter");
  EXPECT_THAT(last_message, HasSubstr("belong to different networks"));
  request.security_group_ids.clear();
  request.security_groups = {"web"};
  EXPECT_EQ(refusal<api::RunInstances>(request), "InvalidParameterCombination");
  request.security_groups.clear();
  EXPECT_EQ(describe(launch(request)).security_groups.at(0).group_id, life->ec2.default_security_group_id(first));

  api::AuthorizeSecurityGroupIngressRequest rule;
  rule.group_id = web;
  auto& permission = rule.ip_permissions.emplace_back();
  permission.ip_protocol = "tcp";
  permission.from_port = permission.to_port = 80;
  permission.user_id_group_pairs.emplace_back().group_id = other;
  EXPECT_EQ(refusal<api::AuthorizeSecurityGroupIngress>(rule), "InvalidGroup.NotFound");
}

TEST_F(Networks, TheSameAddressesInTwoVpcsAreTwoPlaces) {
  api::RunInstancesRequest one = run_in(subnet(vpc()));
  one.private_ip_address = "10.0.1.10";
  api::RunInstancesRequest two = run_in(subnet(vpc()));
  two.private_ip_address = "10.0.1.10";
  const std::string first = launch(one);
  const std::string second = launch(two);
  EXPECT_EQ(port(first).interface.address, port(second).interface.address);
  EXPECT_NE(port(first).interface.vpc, port(second).interface.vpc);
  EXPECT_EQ(refusal<api::RunInstances>(one), "InvalidIPAddress.InUse");
  one.private_ip_address = "10.0.1.3";
  EXPECT_EQ(refusal<api::RunInstances>(one), "InvalidParameterValue") << "AWS keeps the first four";
  die();
  start();
  EXPECT_TRUE(wait_for(second, InstanceState::running));
  EXPECT_EQ(refusal<api::RunInstances>(two), "InvalidIPAddress.InUse") << "after kill -9 too";
}

TEST_F(Networks, APublicAddressIsGivenUpWithTheStopAndAnElasticOneStays) {
  const std::string one = launch(run_in(""));
  const std::string first = describe(one).public_ip_address.value();
  stop(one);
  EXPECT_FALSE(describe(one).public_ip_address);
  start_again(one);
  EXPECT_NE(describe(one).public_ip_address.value(), first);

  api::AllocateAddressRequest allocate;
  allocate.domain = "vpc";
  auto elastic = call<api::AllocateAddress>(allocate);
  api::AssociateAddressRequest associate;
  associate.allocation_id = elastic.allocation_id;
  associate.instance_id = one;
  const std::string association = call<api::AssociateAddress>(associate).association_id.value();
  EXPECT_EQ(describe(one).public_ip_address, elastic.public_ip);
  stop(one);
  EXPECT_EQ(describe(one).public_ip_address, elastic.public_ip);
  die();
  start();
  start_again(one);
  EXPECT_EQ(describe(one).public_ip_address, elastic.public_ip);
  EXPECT_EQ(port(one).public_address, elastic.public_ip.value());

  const std::string two = launch(run_in(""));
  associate.instance_id = two;
  associate.allow_reassociation = false;
  EXPECT_EQ(refusal<api::AssociateAddress>(associate), "Resource.AlreadyAssociated");
  associate.allow_reassociation = true;
  EXPECT_NE(call<api::AssociateAddress>(associate).association_id, association);
  EXPECT_NE(describe(one).public_ip_address, elastic.public_ip) << "it gets another one";
  api::ReleaseAddressRequest release;
  release.allocation_id = elastic.allocation_id;
  EXPECT_EQ(refusal<api::ReleaseAddress>(release), "InvalidIPAddress.InUse");
  terminate(two);
  api::DescribeAddressesRequest find;
  find.filters = {{"public-ip", {elastic.public_ip.value()}}};
  EXPECT_FALSE(call<api::DescribeAddresses>(find).addresses.at(0).association_id) << "the instance's end frees it";
  for (int i = 0; i < 200; ++i) {
    if (refusal<api::AllocateAddress>({}) == "AddressLimitExceeded") break;
  }
  std::set<std::string> different;
  const auto all = call<api::DescribeAddresses>({}).addresses;
  for (const auto& each : all) different.insert(each.public_ip.value());
  EXPECT_EQ(different.size(), all.size()) << "and keeps it from being given away";
  call<api::ReleaseAddress>(release);
  EXPECT_EQ(refusal<api::ReleaseAddress>(release), "InvalidAllocationID.NotFound");
}

TEST_F(Networks, InterfacesAreTheInstances) {
  api::RunInstancesRequest request = run_in("");
  request.subnet_id.reset();
  auto& interface = request.network_interfaces.emplace_back();
  interface.device_index = 0;
  interface.description = "the front";
  interface.associate_public_ip_address = true;
  interface.delete_on_termination = true;
  interface.groups = {life->ec2.default_security_group_id()};
  auto& specification = request.tag_specifications.emplace_back();
  specification.resource_type = "network-interface";
  specification.tags = {{"Name", "front"}};
  const std::string one = launch(request);
  const std::string two = launch(run_in(""));
  api::DescribeNetworkInterfacesRequest find;
  EXPECT_THAT(call<api::DescribeNetworkInterfaces>(find).network_interfaces, SizeIs(2));
  find.filters = {{"attachment.instance-id", {one}}};
  auto found = call<api::DescribeNetworkInterfaces>(find).network_interfaces;
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].description, "the front");
  EXPECT_EQ(found[0].association->public_ip, describe(one).public_ip_address);
  find.filters = {{"tag:Name", {"front"}}};
  EXPECT_THAT(call<api::DescribeNetworkInterfaces>(find).network_interfaces, SizeIs(1));
  api::CreateTagsRequest tag;
  tag.resources = {found[0].network_interface_id.value()};
  tag.tags = {{"Name", "back"}};
  call<api::CreateTags>(tag);
  EXPECT_THAT(call<api::DescribeNetworkInterfaces>(find).network_interfaces, IsEmpty());
  api::DescribeInstancesRequest by_interface;
  by_interface.filters = {{"network-interface.description", {"the *"}},
                          {"network-interface.association.public-ip", {describe(one).public_ip_address.value()}}};
  EXPECT_THAT(call<api::DescribeInstances>(by_interface).reservations, SizeIs(1));
  find.filters = {{"colour", {"red"}}};
  EXPECT_EQ(refusal<api::DescribeNetworkInterfaces>(find), "InvalidParameterValue");
  find.filters.clear();
  find.network_interface_ids = {"eni-0123456789abcdef0"};
  EXPECT_EQ(refusal<api::DescribeNetworkInterfaces>(find), "InvalidNetworkInterfaceID.NotFound");

  request.security_group_ids = {life->ec2.default_security_group_id()};
  EXPECT_EQ(refusal<api::RunInstances>(request), "InvalidParameterCombination");
  request.security_group_ids.clear();
  request.network_interfaces[0].delete_on_termination = false;
  EXPECT_EQ(refusal<api::RunInstances>(request), "UnsupportedOperation");
  request.network_interfaces[0].delete_on_termination = true;
  request.network_interfaces.push_back(request.network_interfaces[0]);
  EXPECT_EQ(refusal<api::RunInstances>(request), "UnsupportedOperation");
}

TEST_F(Networks, TagsAreKeptOfAllOfThem) {
  api::CreateVpcRequest request;
  request.cidr_block = "10.0.0.0/16";
  auto& specification = request.tag_specifications.emplace_back();
  specification.resource_type = "vpc";
  specification.tags = {{"Name", "one"}};
  const std::string id = call<api::CreateVpc>(request).vpc->vpc_id.value();
  api::CreateTagsRequest tag;
  const std::string elastic = call<api::AllocateAddress>({}).allocation_id.value();
  tag.resources = {id, subnet(id), main_table(id), gateway(), elastic};
  tag.tags = {{"stage", "test"}};
  call<api::CreateTags>(tag);
  die();
  start();
  api::DescribeTagsRequest find;
  find.filters = {{"key", {"stage"}}};
  EXPECT_THAT(call<api::DescribeTags>(find).tags, SizeIs(5));
  api::DescribeVpcsRequest by_tag;
  by_tag.filters = {{"tag:Name", {"one"}}};
  EXPECT_THAT(call<api::DescribeVpcs>(by_tag).vpcs, SizeIs(1));
}

TEST_F(Networks, RulesAreModifiedAndDescribedById) {
  const std::string id = group("");
  api::AuthorizeSecurityGroupIngressRequest open;
  open.group_id = id;
  open.ip_protocol = "tcp";
  open.from_port = open.to_port = 80;
  open.cidr_ip = "0.0.0.0/0";
  const std::string rule =
      call<api::AuthorizeSecurityGroupIngress>(open).security_group_rules.at(0).security_group_rule_id.value();
  api::ModifySecurityGroupRulesRequest modify;
  modify.group_id = id;
  auto& update = modify.security_group_rules.emplace_back();
  update.security_group_rule_id = rule;
  auto& wanted = update.security_group_rule.emplace();
  wanted.ip_protocol = "tcp";
  wanted.from_port = wanted.to_port = 443;
  wanted.cidr_ipv4 = "10.0.0.0/8";
  call<api::ModifySecurityGroupRules>(modify);
  EXPECT_EQ(life->ec2.security_group(id).rules.at(1).from_port, 443);
  wanted.cidr_ipv6 = "::/0";
  EXPECT_EQ(refusal<api::ModifySecurityGroupRules>(modify), "UnsupportedOperation");
  wanted.cidr_ipv6.reset();
  update.security_group_rule_id = "sgr-0123456789abcdef0";
  EXPECT_EQ(refusal<api::ModifySecurityGroupRules>(modify), "InvalidSecurityGroupRuleId.NotFound");

  api::UpdateSecurityGroupRuleDescriptionsIngressRequest about;
  about.group_id = id;
  auto& description = about.security_group_rule_descriptions.emplace_back();
  description.security_group_rule_id = rule;
  description.description = "clients";
  call<api::UpdateSecurityGroupRuleDescriptionsIngress>(about);
  EXPECT_EQ(life->ec2.security_group(id).rules.at(1).description, "clients");
  api::UpdateSecurityGroupRuleDescriptionsEgressRequest wrong;
  wrong.group_id = id;
  wrong.security_group_rule_descriptions = about.security_group_rule_descriptions;
  EXPECT_EQ(refusal<api::UpdateSecurityGroupRuleDescriptionsEgress>(wrong), "InvalidPermission.NotFound");
}

TEST_F(Networks, AttributesOfAStoppedInstanceAreChangedAsPackerDoes) {
  const std::string one = launch(run_in(""));
  api::ModifyInstanceAttributeRequest ena;
  ena.instance_id = one;
  ena.ena_support.emplace().value = true;
  EXPECT_EQ(refusal<api::ModifyInstanceAttribute>(ena), "IncorrectInstanceState");
  api::ModifyInstanceAttributeRequest type;
  type.instance_id = one;
  type.instance_type.emplace().value = "t3.large";
  EXPECT_EQ(refusal<api::ModifyInstanceAttribute>(type), "IncorrectInstanceState");
  stop(one);
  call<api::ModifyInstanceAttribute>(ena);
  api::ModifyInstanceAttributeRequest sriov;
  sriov.instance_id = one;
  sriov.sriov_net_support.emplace().value = "simple";
  call<api::ModifyInstanceAttribute>(sriov);
  call<api::ModifyInstanceAttribute>(type);
  start_again(one);
  EXPECT_EQ(describe(one).instance_type, "t3.large");
  EXPECT_EQ(machines.spec(one).limits.memory_bytes, 8192ull << 20) << "its machine has what the type says";

  api::ModifyInstanceAttributeRequest check;
  check.instance_id = one;
  check.source_dest_check.emplace().value = false;
  EXPECT_EQ(refusal<api::ModifyInstanceAttribute>(check), "UnsupportedOperation");
  api::ModifyInstanceAttributeRequest groups;
  groups.instance_id = one;
  groups.groups = {group("")};
  call<api::ModifyInstanceAttribute>(groups);
  EXPECT_EQ(describe(one).security_groups.at(0).group_id, groups.groups[0]);
  groups.groups = {life->ec2.default_security_group_id(vpc())};
  EXPECT_EQ(refusal<api::ModifyInstanceAttribute>(groups), "InvalidGroup.NotFound");
}

TEST_F(Networks, ProtectedInstancesAreNotEnded) {
  api::RunInstancesRequest request = run_in("");
  request.disable_api_termination = true;
  const std::string one = launch(request);
  api::TerminateInstancesRequest end;
  end.instance_ids = {one};
  EXPECT_EQ(refusal<api::TerminateInstances>(end), "OperationNotPermitted");
  EXPECT_THAT(last_message, HasSubstr("disableApiTermination"));
  api::ModifyInstanceAttributeRequest change;
  change.instance_id = one;
  change.disable_api_termination.emplace().value = false;
  call<api::ModifyInstanceAttribute>(change);
  api::ModifyInstanceAttributeRequest keep;
  keep.instance_id = one;
  keep.attribute = "disableApiStop";
  keep.value = "true";
  call<api::ModifyInstanceAttribute>(keep);
  api::StopInstancesRequest halt;
  halt.instance_ids = {one};
  EXPECT_EQ(refusal<api::StopInstances>(halt), "OperationNotPermitted");
  api::DescribeInstanceAttributeRequest ask;
  ask.instance_id = one;
  ask.attribute = "disableApiStop";
  EXPECT_TRUE(call<api::DescribeInstanceAttribute>(ask).disable_api_stop->value.value());
  terminate(one);
}

}  // namespace
}  // namespace kiln::region::ec2
