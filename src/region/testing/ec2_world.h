// Ec2World: EC2, IAM and STS behind the front door, on simulated machines in virtual time, asked as a client asks:
// encoded, signed, decoded. For tests of the region's room.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/file.h"
#include "host/random.h"
#include "machine/simulated.h"
#include "region/api_error.h"
#include "region/ec2/ec2.h"
#include "region/ec2/handlers.h"
#include "region/ec2/placements.h"
#include "region/front/front_door.h"
#include "region/handlers.h"
#include "region/iam/ec2_profiles.h"
#include "region/iam/handlers.h"
#include "region/journal.h"
#include "region/sts/handlers.h"
#include "region/testing/mortal_loop.h"
#include "store/store.h"
#include "wire/codec.h"
#include "wire/ec2.h"
#include "wire/sigv4.h"
#include "wire/sts.h"

namespace kiln::region::testing {

namespace api = wire::ec2;

inline constexpr const char* kRegion = "us-east-1";
inline constexpr const char* kAccount = "123456789012";
inline constexpr const char* kSeed = "a seed";  // of the root keys of accounts

class Ec2World : public ::testing::Test {
 protected:
  void SetUp() override {
    options.say = [this](const std::string& line) { said.push_back(line); };
    network.open();
    start();
  }

  // The control plane, from what its journal holds.
  void start() {
    life = std::make_unique<Life>(*this);
    life->iam.open();
    life->ec2.load();
    life->ec2.connect();
    machines.on_exit([this](const machine::Exit& exit) { life->ec2.machine_ended(exit); });
    const std::vector<std::string> alive = machines.adopt(life->ec2.machines());
    machines.keep_volumes(life->ec2.host_volumes());
    life->ec2.resume(alive);
  }
  // Kill -9 of the control plane: what was not committed is lost, machines go on.
  void die() {
    machines.detach();
    life.reset();
    journal.forget();
  }

  http::Request request_of(const wire::Operation& operation, const void* input) const {
    http::Request request = wire::encode_request(operation, input);
    request.headers.set("Host", "127.0.0.1:4577");
    return request;
  }
  void sign(http::Request& request, const wire::Operation& operation) {
    wire::sign(request, credentials, {signed_region, std::string(operation.service->signing_name)}, loop.now());
  }
  http::Response send(http::Request request) {
    std::optional<http::Response> answer;
    life->front.handle(std::move(request), [&](http::Response response) { answer = std::move(response); });
    EXPECT_TRUE(loop.run_while_not([&] { return answer.has_value(); }, Duration(60'000))) << "no answer came";
    return answer.value_or(http::Response{0, {}, {}});
  }
  // Throws ApiError with what the answer says when it is an error.
  template <class Op>
  typename Op::Output call(const typename Op::Input& input) {
    http::Request request = request_of(Op::operation(), &input);
    sign(request, Op::operation());
    http::Response response = send(std::move(request));
    if (response.status != 200) {
      auto error = wire::decode_error(*Op::operation().service, response);
      EXPECT_TRUE(error) << "no AWS error: " << response.body;
      EXPECT_FALSE(error->request_id.empty());
      throw ApiError(error->code, error->message, response.status);
    }
    typename Op::Output output;
    wire::decode_response(Op::operation(), response, &output);
    return output;
  }
  // The code of the error that the call is answered with; empty when it goes well.
  template <class Op>
  std::string refusal(const typename Op::Input& input) {
    try {
      call<Op>(input);
    } catch (const ApiError& error) {
      last_message = error.message();
      return error.code();
    }
    return {};
  }

  // Puts an image with one layer of that content into the store.
  Digest bake(const std::string& content, const std::string& architecture = "amd64") {
    auto work = store.temporary();
    host::write_file(work->path() / "layer", content);
    store::Blob layer = store.put_file(work->path() / "layer", std::string(store::kErofsLayerType));
    store::ImageConfig config;
    config.app = "web";
    config.architecture = architecture;
    config.history = {"base"};
    return store.add_image(config, {layer});
  }
  std::string register_image(const std::string& name = "web-1") {
    api::RegisterImageRequest request;
    request.name = name;
    request.image_location = "kiln:" + bake("layer of " + name).str();
    return call<api::RegisterImage>(request).image_id.value();
  }
  api::RunInstancesRequest run_request(const std::string& image, int count = 1) const {
    api::RunInstancesRequest request;
    request.image_id = image;
    request.instance_type = "t3.micro";
    request.min_count = count;
    request.max_count = count;
    return request;
  }
  std::vector<std::string> run(const std::string& image, int count = 1) {
    std::vector<std::string> ids;
    for (const auto& one : call<api::RunInstances>(run_request(image, count)).instances) {
      ids.push_back(one.instance_id.value());
    }
    return ids;
  }
  api::Instance describe(const std::string& id) {
    api::DescribeInstancesRequest request;
    request.instance_ids = {id};
    return call<api::DescribeInstances>(request).reservations.at(0).instances.at(0);
  }
  std::string state_of(const std::string& id) { return describe(id).state->name.value(); }
  bool wait_for(const std::string& id, ec2::InstanceState state) {
    return loop.run_while_not([&] { return life->ec2.instance(id).state == state; }, Duration(120'000));
  }
  std::string run_one(const std::string& image) {
    std::string id = run(image).at(0);
    EXPECT_TRUE(wait_for(id, ec2::InstanceState::running));
    return id;
  }

  struct Life {
    explicit Life(Ec2World& world)
        : loop(world.loop),
          addresses([&world](int number) { return world.network.loopback_address(number); }),
          ec2(loop, world.random, world.journal, world.machines, world.network, world.placements, addresses,
              world.options),
          iam(loop, world.random, world.journal, keyring, kAccount),
          front(
              {loop, world.random, world.journal, world.log}, handlers,
              [this](const std::string&, const std::string&) -> const Handlers& { return handlers; }, keyring) {
      keyring.put("AKIDEXAMPLE", {{"the secret", "", std::nullopt}, iam::root_of(kAccount)});
      ec2::serve(handlers, ec2);
      iam::serve(handlers, iam);
      sts::serve(handlers, iam, keyring, [](const std::string&) { return nullptr; });
      ec2.set_instance_profiles(iam::ec2_profiles(iam));
    }
    MortalLoop loop;
    Handlers handlers;
    LoopbackPool addresses;
    iam::Keyring keyring{kSeed};
    ec2::Ec2 ec2;
    iam::Iam iam;
    FrontDoor front;
  };

  host::SimulatedLoop loop{parse_iso8601("2026-11-24T03:00:00Z")};
  host::SeededRandom random{7};
  MemoryJournal journal;
  // What a machine does, by its spec; changed by a test before it launches.
  machine::Policy policy = machine::ordinary;
  machine::SimulatedMachines machines{
      loop, random, [this](const machine::Spec& spec, host::Random& chance) { return policy(spec, chance); }};
  machine::SimulatedNetwork network;
  host::TemporaryFolder folder{"kiln-region-test-"};
  store::Store store{folder.path() / "store"};
  ec2::StorePlacements placements{store};
  ec2::Options options;
  RequestLog log{folder.path() / "requests.log"};
  wire::Credentials credentials{"AKIDEXAMPLE", "the secret", ""};
  std::string signed_region = kRegion;
  std::string last_message;
  std::vector<std::string> said;  // what the region's log would hold
  std::unique_ptr<Life> life;
};

}  // namespace kiln::region::testing
