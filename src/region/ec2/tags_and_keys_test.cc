// Tags, key pairs, and what the default network, regions and instance types answer.
#include <gmock/gmock.h>

#include "base/encoding.h"
#include "base/text.h"
#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

using TagsTest = testing::Ec2World;
using KeyPairsTest = testing::Ec2World;
using PlacesTest = testing::Ec2World;

TEST_F(TagsTest, AreWrittenOverListedAndDeleted) {
  std::string image = register_image();
  api::CreateTagsRequest create;
  create.resources = {image};
  create.tags = {{"stage", "test"}, {"owner", "me"}};
  call<api::CreateTags>(create);
  create.tags = {{"stage", "production"}};
  call<api::CreateTags>(create);
  EXPECT_EQ(life->ec2.image(image).tags, (Tags{{"owner", "me"}, {"stage", "production"}}));
  api::DescribeTagsRequest ask;
  ask.filters = {{"resource-id", {image}}, {"key", {"st*"}}};
  auto tags = call<api::DescribeTags>(ask).tags;
  ASSERT_THAT(tags, SizeIs(1));
  EXPECT_EQ(tags[0].value, "production");
  EXPECT_EQ(tags[0].resource_type, "image");
  api::DeleteTagsRequest remove;
  remove.resources = {image};
  remove.tags = {{"stage", "test"}};
  call<api::DeleteTags>(remove);
  EXPECT_THAT(life->ec2.image(image).tags, SizeIs(2)) << "another value stays";
  remove.tags = {{"stage", "production"}};
  call<api::DeleteTags>(remove);
  EXPECT_EQ(life->ec2.image(image).tags, (Tags{{"owner", "me"}}));
  remove.tags = {{"owner", std::nullopt}};
  call<api::DeleteTags>(remove);
  EXPECT_THAT(life->ec2.image(image).tags, IsEmpty());
}

TEST_F(TagsTest, ARefusedDeleteHasDeletedNothing) {
  std::string image = register_image();
  api::CreateTagsRequest create;
  create.resources = {image};
  create.tags = {{"stage", "production"}};
  call<api::CreateTags>(create);
  api::DeleteTagsRequest remove;
  remove.resources = {image, "i-0123456789abcdef0"};
  remove.tags = {{"stage", std::nullopt}};
  EXPECT_EQ(refusal<api::DeleteTags>(remove), "InvalidID");
  EXPECT_EQ(life->ec2.image(image).tags, (Tags{{"stage", "production"}}));
}

TEST_F(TagsTest, LimitsAreAws) {
  std::string image = register_image();
  api::CreateTagsRequest create;
  create.resources = {image};
  auto with = [&](const std::string& key, const std::string& value) {
    create.tags = {{key, value}};
    return refusal<api::CreateTags>(create);
  };
  EXPECT_EQ(with("aws:name", "x"), "InvalidParameterValue");
  EXPECT_EQ(with(std::string(129, 'k'), "x"), "InvalidParameterValue");
  EXPECT_EQ(with("k", std::string(257, 'v')), "InvalidParameterValue");
  EXPECT_EQ(with(std::string(128, 'k'), std::string(256, 'v')), "");
  create.tags.clear();
  for (int i = 0; i < 49; ++i) create.tags.push_back({std::to_string(i), "x"});
  call<api::CreateTags>(create);
  EXPECT_EQ(with("one more", "x"), "TagLimitExceeded");
  EXPECT_EQ(with("7", "changed"), "") << "a tag that is there may change";
  create.resources = {image, "i-0123456789abcdef0"};
  create.tags = {{"8", "changed"}};
  EXPECT_EQ(refusal<api::CreateTags>(create), "InvalidID");
  EXPECT_EQ(life->ec2.image(image).tags.at("8"), "x") << "nothing of a refused call stays";
}

TEST_F(KeyPairsTest, OnlyTheCallerGetsThePrivateHalf) {
  api::CreateKeyPairRequest request;
  request.key_name = "mine";
  request.key_type = "ed25519";
  auto made = call<api::CreateKeyPair>(request);
  EXPECT_THAT(made.key_material.value(), StartsWith("-----BEGIN"));
  EXPECT_THAT(made.key_pair_id.value(), StartsWith("key-"));
  api::DescribeKeyPairsRequest ask;
  ask.include_public_key = true;
  auto pairs = call<api::DescribeKeyPairs>(ask).key_pairs;
  ASSERT_THAT(pairs, SizeIs(1));
  EXPECT_THAT(pairs[0].public_key.value(), StartsWith("ssh-ed25519 "));
  EXPECT_EQ(pairs[0].key_fingerprint, made.key_fingerprint);
  for (const auto& [name, text] : journal.load("ec2.key_pair")) EXPECT_EQ(text.find("PRIVATE"), std::string::npos);
  EXPECT_EQ(refusal<api::CreateKeyPair>(request), "InvalidKeyPair.Duplicate");
  api::DeleteKeyPairRequest remove;
  remove.key_name = "mine";
  EXPECT_TRUE(call<api::DeleteKeyPair>(remove).return_.value());
  EXPECT_TRUE(call<api::DeleteKeyPair>(remove).return_.value()) << "deleting what is not there is fine";
  ask.key_names = {"mine"};
  EXPECT_EQ(refusal<api::DescribeKeyPairs>(ask), "InvalidKeyPair.NotFound");
}

TEST_F(KeyPairsTest, AnRsaKeysFingerprintIsTwentyBytes) {
  api::CreateKeyPairRequest request;
  request.key_name = "mine";
  EXPECT_THAT(split(call<api::CreateKeyPair>(request).key_fingerprint.value(), ':'), SizeIs(20));
}

TEST_F(KeyPairsTest, AnImportedKeyMustBeAnOpenSshKey) {
  api::ImportKeyPairRequest request;
  request.key_name = "mine";
  request.public_key_material = "-----BEGIN CERTIFICATE-----";
  EXPECT_EQ(refusal<api::ImportKeyPair>(request), "InvalidKey.Format");
  request.public_key_material = "ssh-rsa AAAA";
  EXPECT_EQ(refusal<api::ImportKeyPair>(request), "InvalidKey.Format");
  request.public_key_material =
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJb0uQ0kXr5n1QmXrM1e2P6v0m1n8y5iS7dO1hXo0v2T me@here\n";
  EXPECT_EQ(call<api::ImportKeyPair>(request).key_name, "mine");
}

TEST_F(PlacesTest, TheDefaultVpcHasASubnetInEachOfThreeZones) {
  api::DescribeVpcsRequest default_vpc;
  default_vpc.filters = {{"is-default", {"true"}}};
  auto vpcs = call<api::DescribeVpcs>(default_vpc).vpcs;
  ASSERT_THAT(vpcs, SizeIs(1));
  EXPECT_EQ(vpcs[0].cidr_block, "172.31.0.0/16");
  api::DescribeSubnetsRequest in_it;
  in_it.filters = {{"vpc-id", {vpcs[0].vpc_id.value()}}};
  std::vector<std::string> zones;
  for (const auto& subnet : call<api::DescribeSubnets>(in_it).subnets) {
    zones.push_back(subnet.availability_zone.value());
    EXPECT_EQ(subnet.available_ip_address_count, 4091);
    EXPECT_TRUE(subnet.default_for_az.value());
  }
  EXPECT_THAT(zones, ElementsAre("us-east-1a", "us-east-1b", "us-east-1c"));
  run(register_image(), 2);
  EXPECT_EQ(call<api::DescribeSubnets>(in_it).subnets.at(0).available_ip_address_count, 4089);
  api::DescribeSubnetsRequest unknown;
  unknown.subnet_ids = {"subnet-0123456789abcdef0"};
  EXPECT_EQ(refusal<api::DescribeSubnets>(unknown), "InvalidSubnetID.NotFound");
}

TEST_F(PlacesTest, TheNetworksIdsAreTheSameInEveryRegionOfTheAccount) {
  std::string vpc = life->ec2.vpcs().default_vpc().id;
  std::string group = life->ec2.default_security_group_id();
  life.reset();
  MemoryJournal empty;
  testing::MortalLoop other_loop(loop);
  LoopbackPool addresses([](int) { return "127.0.0.1"; });
  Ec2 other(other_loop, random, empty, machines, network, placements, addresses, options);
  other.load();
  EXPECT_EQ(other.vpcs().default_vpc().id, vpc);
  EXPECT_EQ(other.default_security_group_id(), group);
}

TEST_F(PlacesTest, RegionsZonesAndTypesAreListed) {
  EXPECT_THAT(call<api::DescribeRegions>({}).regions, SizeIs(17)) << "those that need no opting in";
  api::DescribeRegionsRequest all;
  all.all_regions = true;
  all.region_names = {"af-south-1"};
  EXPECT_EQ(call<api::DescribeRegions>(all).regions.at(0).opt_in_status, "not-opted-in");
  EXPECT_THAT(call<api::DescribeAvailabilityZones>({}).availability_zones, SizeIs(3));
  api::DescribeAvailabilityZonesRequest zones;
  zones.zone_names = {"us-east-1b"};
  EXPECT_THAT(call<api::DescribeAvailabilityZones>(zones).availability_zones, SizeIs(1));
  zones.zone_names = {"us-east-1b", "eu-west-1a"};
  EXPECT_EQ(refusal<api::DescribeAvailabilityZones>(zones), "InvalidParameterValue");
  zones = {};
  zones.zone_ids = {"euw1-az1"};
  EXPECT_EQ(refusal<api::DescribeAvailabilityZones>(zones), "InvalidParameterValue");
  api::DescribeInstanceTypesRequest types;
  types.instance_types = {"t3.micro"};
  auto found = call<api::DescribeInstanceTypes>(types).instance_types;
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].v_cpu_info->default_v_cpus, 2);
  EXPECT_EQ(found[0].memory_info->size_in_mi_b, 1024);
  types.instance_types = {"p5.48xlarge"};
  EXPECT_EQ(refusal<api::DescribeInstanceTypes>(types), "InvalidInstanceType");
  EXPECT_THAT(last_message, HasSubstr("p5.48xlarge"));
  api::DescribeInstanceTypeOfferingsRequest offers;
  offers.location_type = "availability-zone";
  offers.filters = {{"instance-type", {"t3.micro"}}};
  EXPECT_THAT(call<api::DescribeInstanceTypeOfferings>(offers).instance_type_offerings, SizeIs(3));
}

}  // namespace
}  // namespace kiln::region::ec2
