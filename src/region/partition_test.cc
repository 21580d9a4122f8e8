// Partition: many regions in one control plane: what they share, what they do not, and that a restart knows all of
// them.
#include "region/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "host/file.h"
#include "machine/simulated.h"
#include "region/api_error.h"
#include "region/elb/simulated_balancer.h"
#include "region/elb/simulated_prober.h"
#include "region/inventory.h"
#include "region/testing/mortal_loop.h"
#include "wire/codec.h"
#include "wire/ec2.h"
#include "wire/elb.h"
#include "wire/sigv4.h"

namespace kiln::region {
namespace {

namespace ec2 = wire::ec2;
namespace elb_api = wire::elb;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kAccount = "123456789012";

class PartitionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    network.open();
    start();
  }
  void start() {
    life = std::make_unique<Life>(*this);
    life->partition.open();
    loop.run_for(Duration(1));
  }
  void restart() {
    machines.detach();
    life.reset();
    journal.forget();
    start();
  }

  template <class Op>
  typename Op::Output call(const std::string& region, const typename Op::Input& input) {
    http::Request request = wire::encode_request(Op::operation(), &input);
    request.headers.set("Host", "127.0.0.1:4577");
    wire::sign(request, {"AKIDEXAMPLE", "the secret", ""}, {region, std::string(Op::operation().service->signing_name)},
               loop.now());
    std::optional<http::Response> answer;
    life->partition.handle(std::move(request), [&](http::Response response) { answer = std::move(response); });
    EXPECT_TRUE(loop.run_while_not([&] { return answer.has_value(); }, Duration(60'000)));
    if (answer->status != 200) {
      auto error = wire::decode_error(*Op::operation().service, *answer);
      throw ApiError(error ? error->code : "?", error ? error->message : answer->body, answer->status);
    }
    typename Op::Output output;
    wire::decode_response(Op::operation(), *answer, &output);
    return output;
  }
  std::string location() {
    auto work = store.temporary();
    host::write_file(work->path() / "layer", "a layer");
    store::ImageConfig config;
    config.app = "web";
    config.history = {"base"};
    return "kiln:" +
           store.add_image(config, {store.put_file(work->path() / "layer", std::string(store::kErofsLayerType))}).str();
  }
  std::string run_one(const std::string& region) {
    ec2::RegisterImageRequest image;
    image.name = "web";
    image.image_location = location();
    ec2::RunInstancesRequest request;
    request.image_id = call<ec2::RegisterImage>(region, image).image_id;
    request.instance_type = "t3.micro";
    request.min_count = 1;
    request.max_count = 1;
    return call<ec2::RunInstances>(region, request).instances.at(0).instance_id.value();
  }
  std::vector<ec2::Instance> instances(const std::string& region) {
    std::vector<ec2::Instance> all;
    for (const auto& reservation : call<ec2::DescribeInstances>(region, {}).reservations) {
      all.insert(all.end(), reservation.instances.begin(), reservation.instances.end());
    }
    return all;
  }
  std::string balancer_in(const std::string& region) {
    elb_api::CreateLoadBalancerInput request;
    request.name = "front";
    for (const auto& subnet : call<ec2::DescribeSubnets>(region, {}).subnets) {
      request.subnets.push_back(subnet.subnet_id.value());
    }
    return call<elb_api::CreateLoadBalancer>(region, request).load_balancers.at(0).dns_name.value();
  }

  struct Life {
    explicit Life(PartitionTest& world)
        : loop(world.loop),
          prober(loop, [](const elb::Probe&) { return 200; }),
          partition({loop, world.random, world.journal, world.store, world.machines, world.network, world.balancer,
                     prober, world.log},
                    world.options) {}
    testing::MortalLoop loop;
    elb::SimulatedProber prober;
    Partition partition;
  };

  host::SimulatedLoop loop{parse_iso8601("2026-11-24T03:00:00Z")};
  host::SeededRandom random{11};
  MemoryJournal journal;
  machine::SimulatedMachines machines{loop, random};
  machine::SimulatedNetwork network;
  elb::SimulatedBalancer balancer{loop};
  host::TemporaryFolder folder{"kiln-partition-test-"};
  store::Store store{folder.path() / "store"};
  RequestLog log;
  PartitionOptions options{"us-east-1", "123456789012", "AKIDEXAMPLE", "the secret", "a seed", "", false, Duration(0)};
  std::unique_ptr<Life> life;
};

TEST_F(PartitionTest, EachRegionHasAStateOfItsOwn) {
  std::string east = run_one("us-east-1");
  std::string west = run_one("eu-west-1");
  ASSERT_THAT(instances("us-east-1"), SizeIs(1));
  ASSERT_THAT(instances("eu-west-1"), SizeIs(1));
  EXPECT_THAT(instances("ap-south-1"), IsEmpty());
  EXPECT_EQ(instances("us-east-1").at(0).instance_id, east);
  EXPECT_EQ(instances("eu-west-1").at(0).instance_id, west);
  EXPECT_EQ(instances("eu-west-1").at(0).placement->availability_zone, "eu-west-1a");
}

TEST_F(PartitionTest, OneNetworkHoldsTheMachinesOfAllRegions) {
  run_one("us-east-1");
  run_one("eu-west-1");
  loop.run_for(Duration(1));
  EXPECT_THAT(network.ports(), SizeIs(2));
  std::set<std::string> addresses;
  for (const auto& port : network.ports()) addresses.insert(port.public_address);
  EXPECT_THAT(addresses, SizeIs(2)) << "they share one host's loopback";
}

TEST_F(PartitionTest, AnImageIsCopiedFromAnotherRegion) {
  run_one("us-east-1");
  ec2::CopyImageRequest copy;
  copy.name = "copied";
  copy.source_image_id = call<ec2::DescribeImages>("us-east-1", {}).images.at(0).image_id;
  copy.source_region = "us-east-1";
  const std::string made = call<ec2::CopyImage>("eu-west-1", copy).image_id.value();
  ec2::DescribeImagesRequest ask;
  ask.image_ids = {made};
  EXPECT_EQ(call<ec2::DescribeImages>("eu-west-1", ask).images.at(0).source_image_region, "us-east-1");
  EXPECT_THROW(call<ec2::DescribeImages>("us-east-1", ask), ApiError) << "the copy is in its own region";
  copy.name = "from nowhere";
  copy.source_region = "ap-south-1";
  EXPECT_THROW(call<ec2::CopyImage>("eu-west-1", copy), ApiError) << "a region that has no such image";
}

TEST_F(PartitionTest, LoadBalancersOfTwoRegionsHaveTheirOwnAddresses) {
  EXPECT_NE(balancer_in("us-east-1"), balancer_in("eu-west-1"));
}

TEST_F(PartitionTest, TheInventoryIsReadFromTheJournalAlone) {
  EXPECT_THAT(read_inventory(journal, kAccount, "us-east-1"), IsEmpty()) << "what AWS makes itself is nobody's";
  const std::string here = run_one("us-east-1");
  const std::string there = run_one("eu-west-1");
  ec2::CreateKeyPairRequest pair;
  pair.key_name = "mine";
  call<ec2::CreateKeyPair>("eu-west-1", pair);
  ec2::TerminateInstancesRequest terminate;
  terminate.instance_ids = {here};
  call<ec2::TerminateInstances>("us-east-1", terminate);
  loop.run_for(Duration(60'000));

  const auto all = read_inventory(journal, kAccount, "us-east-1");
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].region, "us-east-1");
  ASSERT_THAT(all[0].held, SizeIs(2)) << "the terminated instance and its volume are gone";
  EXPECT_EQ(all[0].held[0].kind, "snapshots");
  EXPECT_EQ(all[0].held[1].kind, "images");
  EXPECT_EQ(all[1].account, kAccount);
  EXPECT_EQ(all[1].region, "eu-west-1");
  std::map<std::string, std::map<std::string, std::string>> kinds;
  for (const Held& held : all[1].held) kinds[held.kind] = held.things;
  EXPECT_EQ(kinds["instances"], (std::map<std::string, std::string>{{there, "running"}}));
  EXPECT_EQ(kinds["key pairs"], (std::map<std::string, std::string>{{"mine", ""}}));
  EXPECT_THAT(kinds["volumes"], SizeIs(1));
}

TEST_F(PartitionTest, ARestartKnowsAllRegionsAndTakesNothingAway) {
  std::string east = run_one("us-east-1");
  std::string west = run_one("eu-west-1");
  instances("us-east-1");
  loop.run_for(Duration(10'000));
  const auto ports = network.ports().size();
  restart();
  EXPECT_EQ(network.ports().size(), ports);
  EXPECT_THAT(machines.ids(), ::testing::UnorderedElementsAre(east, west));
  EXPECT_EQ(instances("eu-west-1").at(0).state->name, "running");
  EXPECT_EQ(machines.boots(east), 1) << "it ran on";
}

TEST_F(PartitionTest, DescribeCallsMaySeeThePast) {
  options.describe_delay = Duration(2'000);
  restart();
  std::string id = run_one("us-east-1");
  EXPECT_THAT(instances("us-east-1"), IsEmpty());
  loop.run_for(Duration(2'001));
  ASSERT_THAT(instances("us-east-1"), SizeIs(1));
  EXPECT_EQ(instances("us-east-1").at(0).state->name, "pending") << "it runs, but that is not known yet";
  restart();
  EXPECT_THAT(instances("us-east-1"), SizeIs(1)) << "a new control plane begins with all that was written down";
}

TEST_F(PartitionTest, AMachineThatEndedIsItsOwnRegionsMatter) {
  std::string east = run_one("us-east-1");
  std::string west = run_one("eu-west-1");
  loop.run_for(Duration(10'000));
  machines.kill(west, "killed by signal 9");
  loop.run_for(Duration(1'000));
  EXPECT_EQ(instances("us-east-1").at(0).state->name, "running");
  EXPECT_EQ(instances("eu-west-1").at(0).state->name, "stopped");
}

}  // namespace
}  // namespace kiln::region
