// Imds: what an instance reads of itself, and how it must ask.
#include "region/imds/imds.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/text.h"
#include "region/testing/ec2_world.h"

namespace kiln::region::imds {
namespace {

namespace api = wire::ec2;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kTokenHeader = "X-aws-ec2-metadata-token";
constexpr const char* kTtlHeader = "X-aws-ec2-metadata-token-ttl-seconds";

class ImdsTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    open();
    request.image_id = register_image();
    request.instance_type = "t3.micro";
    request.min_count = request.max_count = 1;
  }
  void open() {
    imds = std::make_unique<Imds>(life->loop, random, journal, life->ec2);
    loop.post([this] { imds->open(); });
    loop.run_for(Duration(1));
  }
  std::string launch() { return call<api::RunInstances>(request).instances.at(0).instance_id.value(); }
  http::Request from(const std::string& id, const std::string& path, const std::string& method = "GET") {
    http::Request out;
    out.method = method;
    out.path = path;
    out.peer = life->ec2.instance(id).private_address;
    return out;
  }
  http::Response ask(const http::Request& what) { return imds->answer(life->ec2.vpcs().default_vpc().id, what); }
  std::string get(const std::string& id, const std::string& path) { return ask(from(id, "/latest/" + path)).body; }
  int status(const std::string& id, const std::string& path) { return ask(from(id, path)).status; }
  http::Response token_of(const std::string& id, const std::string& seconds = "60") {
    http::Request put = from(id, "/latest/api/token", "PUT");
    put.headers.add(kTtlHeader, seconds);
    return ask(put);
  }
  int status_with(const std::string& id, const std::string& token) {
    http::Request with = from(id, "/latest/meta-data/instance-id");
    with.headers.add(kTokenHeader, token);
    return ask(with).status;
  }
  std::string only_tokens() {
    request.metadata_options.emplace().http_tokens = "required";
    return launch();
  }

  api::RunInstancesRequest request;
  std::unique_ptr<Imds> imds;
};

TEST_F(ImdsTest, TellsAnInstanceWhoItIs) {
  api::ImportKeyPairRequest key;
  key.key_name = "mine";
  key.public_key_material = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJb0uQ0kXr5n1QmXrM1e2P6v0m1n8y5iS7dO1hXo0v2T me";
  call<api::ImportKeyPair>(key);
  request.key_name = "mine";
  const std::string id = launch();
  const ec2::Instance& one = life->ec2.instance(id);
  const std::string name = describe(id).private_dns_name.value();
  const std::map<std::string, std::string> expected = {
      {"ami-id", one.image_id},
      {"ami-launch-index", "0"},
      {"hostname", name},
      {"instance-id", id},
      {"instance-life-cycle", "on-demand"},
      {"instance-type", "t3.micro"},
      {"local-hostname", name},
      {"local-ipv4", one.private_address},
      {"mac", one.mac},
      {"placement/availability-zone", "us-east-1a"},
      {"placement/availability-zone-id", "use1-az1"},
      {"placement/region", "us-east-1"},
      {"public-ipv4", one.public_address},
      {"public-keys", "0=mine"},
      {"public-keys/0", "openssh-key"},
      {"public-keys/0/openssh-key", "ssh-ed25519 " + split(*key.public_key_material, ' ')[1] + " mine"},
      {"reservation-id", one.reservation_id},
      {"security-groups", "default"},
      {"services/domain", "amazonaws.com"},
      {"services/partition", "aws"},
      {"network/interfaces/macs", one.mac + "/"},
      {"network/interfaces/macs/" + one.mac + "/local-ipv4s", one.private_address},
      {"network/interfaces/macs/" + one.mac + "/public-ipv4s", one.public_address},
      {"network/interfaces/macs/" + one.mac + "/ipv4-associations/" + one.public_address, one.private_address},
      {"network/interfaces/macs/" + one.mac + "/subnet-ipv4-cidr-block", "172.31.0.0/20"},
      {"network/interfaces/macs/" + one.mac + "/vpc-id", life->ec2.vpcs().default_vpc().id},
      {"network/interfaces/macs/" + one.mac + "/vpc-ipv4-cidr-blocks", "172.31.0.0/16"},
      {"network/interfaces/macs/" + one.mac + "/security-group-ids",
       life->ec2.default_security_group_id(life->ec2.vpcs().default_vpc().id)},
  };
  for (const auto& [path, text] : expected) EXPECT_EQ(get(id, "meta-data/" + path), text) << path;
}

TEST_F(ImdsTest, ListsFoldersWithASlashAndVersionsAtTheTop) {
  const std::string id = launch();
  const std::vector<std::string> top = split(ask(from(id, "/")).body, '\n');
  for (const char* version : {"1.0", "2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest"}) {
    EXPECT_THAT(top, Contains(version));
    EXPECT_EQ(ask(from(id, std::string("/") + version + "/meta-data/instance-id")).body, id);
  }
  EXPECT_EQ(ask(from(id, "/latest")).body, "dynamic\nmeta-data");
  const std::vector<std::string> names = split(get(id, "meta-data/"), '\n');
  EXPECT_THAT(names, Contains("ami-id"));
  EXPECT_THAT(names, Contains("block-device-mapping/"));
  EXPECT_THAT(names, Contains("network/"));
  EXPECT_EQ(get(id, "meta-data/placement"), get(id, "/meta-data//placement/")) << "slashes do not count";
  EXPECT_EQ(ask(from(id, "/latest/meta-data/ami-id")).headers.get("Server"), "EC2ws");
}

TEST_F(ImdsTest, WhatIsNotThereIsA404InEc2sWords) {
  const std::string id = launch();
  for (const char* path : {"/latest/meta-data/nothing", "/latest/user-data", "/1999-01-01/meta-data", "/latest/api",
                           "/latest/meta-data/public-keys", "/latest/meta-data/iam/info", "/latest/meta-data/tags",
                           "/latest/meta-data/ami-id/more"}) {
    EXPECT_EQ(status(id, path), 404) << path;
  }
  EXPECT_THAT(ask(from(id, "/latest/user-data")).body, HasSubstr("<title>404 - Not Found</title>"));
}

TEST_F(ImdsTest, GivesUserDataAsBytes) {
  const std::string bytes("#!/bin/sh\n\0\xff", 12);
  request.user_data = base64_encode(bytes);
  const std::string id = launch();
  EXPECT_EQ(get(id, "user-data"), bytes);
  EXPECT_EQ(ask(from(id, "/latest/user-data")).headers.get("Content-Type"), "application/octet-stream");
  EXPECT_EQ(ask(from(id, "/latest")).body, "dynamic\nmeta-data\nuser-data");
}

TEST_F(ImdsTest, TheIdentityDocumentHasEc2sMembers) {
  const std::string id = launch();
  const auto document = nlohmann::json::parse(get(id, "dynamic/instance-identity/document"));
  EXPECT_EQ(document.at("instanceId"), id);
  EXPECT_EQ(document.at("accountId"), testing::kAccount);
  EXPECT_EQ(document.at("region"), "us-east-1");
  EXPECT_EQ(document.at("availabilityZone"), "us-east-1a");
  EXPECT_EQ(document.at("architecture"), "x86_64");
  EXPECT_EQ(document.at("pendingTime"), "2026-11-24T03:00:00Z");
  EXPECT_EQ(document.at("privateIp"), life->ec2.instance(id).private_address);
  EXPECT_TRUE(document.at("kernelId").is_null());
  EXPECT_EQ(document.at("version"), "2017-09-30");
}

TEST_F(ImdsTest, TagsAreThereWhenTheInstanceMayReadThem) {
  request.tag_specifications = {{"instance", {{"Name", "one"}, {"kiln:app", "web"}}}};
  request.metadata_options.emplace().instance_metadata_tags = "enabled";
  const std::string id = launch();
  EXPECT_EQ(get(id, "meta-data/tags/instance"), "Name\nkiln:app");
  EXPECT_EQ(get(id, "meta-data/tags/instance/kiln%3Aapp"), "web");
  api::ModifyInstanceMetadataOptionsRequest modify;
  modify.instance_id = id;
  modify.instance_metadata_tags = "disabled";
  call<api::ModifyInstanceMetadataOptions>(modify);
  EXPECT_EQ(status(id, "/latest/meta-data/tags/instance"), 404);
}

TEST_F(ImdsTest, ARolesCredentialsAreTheOnesThatAreGiven) {
  life->ec2.set_instance_profiles([](const ec2::ProfileSpec& asked) -> std::optional<ec2::InstanceProfile> {
    return ec2::InstanceProfile{"arn:aws:iam::123456789012:instance-profile/" + asked.name, "AIPAEXAMPLE", true};
  });
  const std::string without = launch();
  request.iam_instance_profile.emplace().name = "web";
  const std::string with = launch();
  imds->set_roles([&](const ec2::Instance& instance) -> std::optional<iam::RoleCredentials> {
    if (instance.profile->arn != "arn:aws:iam::123456789012:instance-profile/web") return std::nullopt;
    iam::RoleCredentials role;
    role.access_key = "ASIAEXAMPLE";
    role.secret_key = "secret";
    role.token = "token";
    role.updated = loop.now();
    role.expiration = loop.now() + Duration(6 * 3'600'000);
    role.role = "web";
    return role;
  });
  EXPECT_EQ(get(with, "meta-data/iam/security-credentials/"), "web");
  const auto given = nlohmann::json::parse(get(with, "meta-data/iam/security-credentials/web"));
  EXPECT_EQ(given.at("Code"), "Success");
  EXPECT_EQ(given.at("Type"), "AWS-HMAC");
  EXPECT_EQ(given.at("AccessKeyId"), "ASIAEXAMPLE");
  EXPECT_EQ(given.at("SecretAccessKey"), "secret");
  EXPECT_EQ(given.at("Token"), "token");
  EXPECT_EQ(given.at("LastUpdated"), "2026-11-24T03:00:00Z");
  EXPECT_EQ(given.at("Expiration"), "2026-11-24T09:00:00Z");
  EXPECT_EQ(nlohmann::json::parse(get(with, "meta-data/iam/info")).at("InstanceProfileId"), "AIPAEXAMPLE");
  EXPECT_EQ(status(with, "/latest/meta-data/iam/security-credentials/other"), 404);
  EXPECT_EQ(status(without, "/latest/meta-data/iam/security-credentials/web"), 404);
}

TEST_F(ImdsTest, ATokenIsGoodForItsInstanceUntilItsTimeIsOver) {
  const std::string id = only_tokens();
  const std::string other = launch();
  EXPECT_EQ(status(id, "/latest/meta-data/instance-id"), 401);
  const http::Response token = token_of(id);
  ASSERT_EQ(token.status, 200);
  EXPECT_THAT(token.body, SizeIs(56));
  EXPECT_EQ(token.headers.get(kTtlHeader), "60");
  EXPECT_EQ(status_with(id, token.body), 200);
  EXPECT_EQ(status_with(other, token.body), 401) << "another instance's";
  EXPECT_EQ(status_with(id, token.body.substr(4)), 401);
  EXPECT_EQ(status_with(id, "not base64!"), 401);
  EXPECT_EQ(status_with(id, ""), 401);
  std::string altered = token.body;
  altered[3] = altered[3] == 'A' ? 'B' : 'A';
  EXPECT_EQ(status_with(id, altered), 401) << "a later end is signed for too";
  loop.run_for(Duration(59'000));
  EXPECT_EQ(status_with(id, token.body), 200);
  loop.run_for(Duration(1'000));
  EXPECT_EQ(status_with(id, token.body), 401);
}

TEST_F(ImdsTest, ATokenOutlivesTheControlPlane) {
  const std::string id = only_tokens();
  const std::string token = token_of(id, "21600").body;
  die();
  start();
  open();
  EXPECT_EQ(status_with(id, token), 200);
}

TEST_F(ImdsTest, TokensAreAskedForAsEc2WantsIt) {
  const std::string id = launch();
  for (const char* seconds : {"0", "-1", "21601", "many", ""}) EXPECT_EQ(token_of(id, seconds).status, 400) << seconds;
  EXPECT_EQ(ask(from(id, "/latest/api/token", "PUT")).status, 400) << "without the header";
  http::Request forwarded = from(id, "/latest/api/token", "PUT");
  forwarded.headers.add(kTtlHeader, "60");
  forwarded.headers.add("X-Forwarded-For", "192.0.2.1");
  EXPECT_EQ(ask(forwarded).status, 403);
  EXPECT_EQ(ask(from(id, "/latest/meta-data", "PUT")).status, 405);
  EXPECT_EQ(ask(from(id, "/latest/meta-data", "POST")).status, 405);
}

TEST_F(ImdsTest, VersionOneIsServedUnlessTokensAreRequiredButAWrongTokenNever) {
  const std::string id = launch();
  EXPECT_EQ(status(id, "/latest/meta-data/instance-id"), 200);
  EXPECT_EQ(status_with(id, "wrong"), 401);
}

TEST_F(ImdsTest, TheTokensAnswerTravelsAsFarAsTheHopLimitSays) {
  request.metadata_options.emplace().http_put_response_hop_limit = 2;
  const std::string id = launch();
  EXPECT_EQ(token_of(id).hops, 2);
  EXPECT_EQ(ask(from(id, "/latest/meta-data")).hops, 0) << "only the token's";
}

TEST_F(ImdsTest, TurnedOffItRefusesEverything) {
  request.metadata_options.emplace().http_endpoint = "disabled";
  const std::string id = launch();
  EXPECT_EQ(status(id, "/latest/meta-data/instance-id"), 403);
  EXPECT_EQ(token_of(id).status, 403);
}

TEST_F(ImdsTest, KnowsNobodyElse) {
  const std::string id = launch();
  http::Request stranger = from(id, "/latest/meta-data/instance-id");
  stranger.peer = "172.31.0.250";
  EXPECT_EQ(ask(stranger).status, 404);
  EXPECT_EQ(imds->answer("vpc-other", from(id, "/latest/meta-data/instance-id")).status, 404)
      << "the same address in another network is another instance's";
}

TEST(ImdsThrottle, OneThatAsksWithoutEndIsHeldBackAndNobodyElse) {
  Throttle throttle;
  const Time now = parse_iso8601("2026-11-24T03:00:00Z");
  for (int i = 0; i < kRequestsASecond; ++i) EXPECT_TRUE(throttle.lets("172.31.0.4", now)) << i;
  EXPECT_FALSE(throttle.lets("172.31.0.4", now + Duration(999)));
  EXPECT_TRUE(throttle.lets("172.31.0.5", now + Duration(999)));
  EXPECT_TRUE(throttle.lets("172.31.0.4", now + Duration(1000)));
}

TEST(ImdsTokens, AreSignedWithTheSecret) {
  const Time now = parse_iso8601("2026-11-24T03:00:00Z");
  const Tokens one("one");
  const std::string token = one.make("i-1", now + Duration(1000));
  EXPECT_EQ(one.check(token, "i-1", now), now + Duration(1000));
  EXPECT_EQ(Tokens("two").check(token, "i-1", now), std::nullopt);
  for (std::size_t size = 0; size < token.size(); ++size) {
    EXPECT_EQ(one.check(token.substr(0, size), "i-1", now), std::nullopt) << size;
  }
}

}  // namespace
}  // namespace kiln::region::imds
