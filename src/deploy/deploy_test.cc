// Tests of the engine's doors: who is let in, what is recorded, what is sent to AWS. Whole deployments run in
// tests/simulation, against a simulated region.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "aws/client.h"
#include "base/testing/errors.h"
#include "deploy/destroy.h"
#include "deploy/engine.h"
#include "deploy/publish.h"
#include "fleet/observe.h"
#include "http/transport.h"
#include "wire/autoscaling.h"
#include "wire/codec.h"
#include "wire/ec2.h"
#include "wire/elb.h"

namespace kiln::deploy {
namespace {

namespace ec2 = wire::ec2;
namespace asg = wire::autoscaling;
namespace elb = wire::elb;
using nlohmann::json;
using ::testing::Contains;
using testing::expect_error;
using ::testing::HasSubstr;
using ::testing::Not;

// Answers each operation by what was set for it, else with an empty answer; keeps what was asked.
class Cloud final : public http::Transport {
 public:
  template <class Op>
  void on(std::function<typename Op::Output(const typename Op::Input&)> answer) {
    answers_[std::string(Op::operation().name)] = [answer](const void* input) -> std::shared_ptr<void> {
      return std::make_shared<typename Op::Output>(answer(*static_cast<const typename Op::Input*>(input)));
    };
  }
  // What an answer throws to refuse one request.
  struct Refusal {
    std::string code;
  };
  template <class Op>
  void fail(const std::string& code, int status) {
    errors_[std::string(Op::operation().name)] = {code, status};
  }

  http::Response send(const std::string&, const http::Request& request, const http::Timeouts&) override {
    const std::string scope(request.headers.get("Authorization"));
    for (const wire::Service* service : wire::services()) {
      if (scope.find(fmt::format("/{}/aws4_request", service->signing_name)) == std::string::npos) continue;
      const wire::Operation* operation = service->find(wire::peek_operation(*service, request));
      if (operation == nullptr) break;
      const std::string name(operation->name);
      asked.push_back(name);
      if (away) throw Error(ErrorCode::unavailable, "nobody answers");
      if (auto error = errors_.find(name); error != errors_.end()) {
        return wire::encode_error(*service, {error->second.first, "because", "r-1"}, error->second.second);
      }
      auto input = operation->make_input();
      wire::decode_request(*operation, request, input.get());
      auto answer = answers_.find(name);
      try {
        auto output = answer == answers_.end() ? operation->make_output() : answer->second(input.get());
        return wire::encode_response(*operation, output.get(), "r-1");
      } catch (const Refusal& refusal) {
        return wire::encode_error(*service, {refusal.code, "because", "r-1"}, 400);
      }
    }
    ADD_FAILURE() << "a request for nobody: " << request.body;
    throw Error(ErrorCode::internal, "no such operation");
  }

  std::vector<std::string> asked;
  bool away = false;

 private:
  std::map<std::string, std::function<std::shared_ptr<void>(const void*)>> answers_;
  std::map<std::string, std::pair<std::string, int>> errors_;
};

aws::Config config() {
  return aws::Config::load([](const std::string& name) -> std::string {
    static const std::map<std::string, std::string> kVariables = {{"AWS_ACCESS_KEY_ID", "AKIATEST"},
                                                                  {"AWS_SECRET_ACCESS_KEY", "secret"},
                                                                  {"AWS_REGION", "us-east-1"},
                                                                  {"AWS_ENDPOINT_URL", "http://127.0.0.1:1"},
                                                                  {"HOME", "/nonexistent"}};
    auto found = kVariables.find(name);
    return found == kVariables.end() ? "" : found->second;
  });
}

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    wanted_.names = fleet::names_of("web", "production");
    wanted_.version = "1.0.0";
    wanted_.digest = sha256("1.0.0");
    wanted_.ami = "ami-1";
    cloud_.on<ec2::DescribeVpcs>([](const auto&) {
      ec2::DescribeVpcsResult result;
      result.vpcs.emplace_back().vpc_id = "vpc-1";
      return result;
    });
    cloud_.on<ec2::DescribeSubnets>([](const auto&) {
      ec2::DescribeSubnetsResult result;
      for (const char* zone : {"b", "a", "a"}) {
        auto& subnet = result.subnets.emplace_back();
        subnet.subnet_id = fmt::format("subnet-{}{}", zone, result.subnets.size());
        subnet.availability_zone = fmt::format("us-east-1{}", zone);
      }
      return result;
    });
  }

  void image_is_there() {
    cloud_.on<ec2::DescribeImages>([](const auto&) {
      ec2::DescribeImagesResult result;
      auto& image = result.images.emplace_back();
      image.image_id = "ami-1";
      image.state = "available";
      return result;
    });
  }
  // A fleet of one that serves version 1 of its template with these instances.
  void group_of(const std::vector<std::string>& instances) {
    const fleet::Names& names = wanted_.names;
    cloud_.on<elb::DescribeTargetGroups>([&names](const auto&) {
      elb::DescribeTargetGroupsOutput output;
      auto& group = output.target_groups.emplace_back();
      group.target_group_arn = "tg";
      group.target_group_name = names.target_group;
      group.port = 80;
      return output;
    });
    cloud_.on<elb::DescribeLoadBalancers>([&names](const auto&) {
      elb::DescribeLoadBalancersOutput output;
      auto& balancer = output.load_balancers.emplace_back();
      balancer.load_balancer_arn = "lb";
      balancer.load_balancer_name = names.load_balancer;
      return output;
    });
    cloud_.on<elb::DescribeListeners>([](const auto&) {
      elb::DescribeListenersOutput output;
      auto& listener = output.listeners.emplace_back();
      listener.port = 80;
      auto& action = listener.default_actions.emplace_back();
      action.type = "forward";
      action.target_group_arn = "tg";
      return output;
    });
    cloud_.on<elb::DescribeTags>([&names](const elb::DescribeTagsInput& request) {
      elb::DescribeTagsOutput output;
      for (const std::string& arn : request.resource_arns) {
        auto& description = output.tag_descriptions.emplace_back();
        description.resource_arn = arn;
        for (const auto& [key, value] : names.tags()) {
          auto& tag = description.tags.emplace_back();
          tag.key = key;
          tag.value = value;
        }
      }
      return output;
    });
    cloud_.on<asg::DescribeAutoScalingGroups>([&names, instances](const auto&) {
      asg::AutoScalingGroupsType output;
      auto& group = output.auto_scaling_groups.emplace_back();
      group.auto_scaling_group_name = names.group;
      group.desired_capacity = 1;
      group.launch_template.emplace().version = "1";
      for (const auto& [key, value] : names.tags()) {
        auto& tag = group.tags.emplace_back();
        tag.key = key;
        tag.value = value;
      }
      for (const std::string& id : instances) {
        auto& instance = group.instances.emplace_back();
        instance.instance_id = id;
        instance.lifecycle_state = "InService";
        instance.health_status = "Healthy";
        instance.launch_template.emplace().version = "1";
      }
      return output;
    });
    cloud_.on<elb::DescribeTargetHealth>([instances](const auto&) {
      elb::DescribeTargetHealthOutput output;
      for (const std::string& id : instances) {
        auto& description = output.target_health_descriptions.emplace_back();
        description.target.emplace().id = id;
        description.target_health.emplace().state = "healthy";
      }
      return output;
    });
  }
  Engine engine(EngineOptions options = {}) {
    return Engine(client_, ledger_, clock_, random_, folder_.path() / "locks", std::move(options));
  }
  std::vector<std::string> kinds() {
    std::vector<std::string> out;
    for (const auto& entry : ledger_.read()) {
      const json body = json::parse(entry.body);
      out.push_back(body.contains("step") ? entry.kind + " " + body["step"].get<std::string>() : entry.kind);
    }
    return out;
  }

  host::TemporaryFolder folder_{"deploy-test-"};
  host::SimulatedClock clock_{Time(std::chrono::seconds(1'780'000'000))};
  host::SeededRandom random_{7};
  Cloud cloud_;
  aws::Client client_{config(), cloud_, clock_, random_};
  ledger::Ledger ledger_{folder_.path() / "ledger", clock_, "ana@forge"};
  Wanted wanted_;
};

TEST_F(EngineTest, SecondDeploymentOfAFleetIsToldWhoHoldsItAndSinceWhen) {
  host::make_folders(folder_.path() / "locks");
  const auto lock = host::FileLock::take(folder_.path() / "locks" / "kiln-web-production.lock", "kiln deploy web 0.9.0",
                                         clock_.now());
  expect_error(ErrorCode::held, "kiln deploy web 0.9.0", [&] { engine().run(wanted_); });
  expect_error(ErrorCode::held, format_iso8601(clock_.now()), [&] { engine().run(wanted_); });
  EXPECT_TRUE(cloud_.asked.empty());
  EXPECT_EQ(ledger_.head().sequence, 0);
}

TEST_F(EngineTest, RefusesAnImpossiblePlanBeforeAnythingIsChanged) {
  expect_error(ErrorCode::conflict, "the AMI ami-1 of 1.0.0 is not here", [&] { engine().run(wanted_); });
  EXPECT_EQ(ledger_.head().sequence, 0);
  EXPECT_THAT(cloud_.asked, Not(Contains(HasSubstr("Create"))));
}

TEST_F(EngineTest, SaysAtOnceWhenAwsDoesNotAnswer) {
  cloud_.away = true;
  expect_error(ErrorCode::unavailable, "looking at web", [&] { engine().run(wanted_); });
  EXPECT_EQ(ledger_.head().sequence, 0);
}

TEST_F(EngineTest, RecordsIntentBeforeAndOutcomeAfterEachAct) {
  image_is_there();
  cloud_.on<ec2::CreateSecurityGroup>([&](const ec2::CreateSecurityGroupRequest& request) {
    EXPECT_EQ(request.vpc_id, "vpc-1");
    EXPECT_THAT(kinds().back(), HasSubstr("deployment.intent create-security-group"));
    ec2::CreateSecurityGroupResult result;
    result.group_id = "sg-" + *request.group_name;
    return result;
  });
  std::atomic<bool> cancelled = false;
  EngineOptions options;
  options.cancelled = &cancelled;
  options.on_look = [&](const Moment& moment) { cancelled = moment.plan.wait.has_value(); };
  Result result = engine(options).run(wanted_);
  EXPECT_EQ(result.outcome, Outcome::left);
  EXPECT_EQ(result.exit(), 130);
  EXPECT_THAT(result.next, HasSubstr("kiln rollback"));
  EXPECT_EQ(kinds(), (std::vector<std::string>{
                         "deployment.started",
                         "deployment.intent create-security-group-balancer",
                         "deployment.outcome create-security-group-balancer",
                         "deployment.intent create-security-group-instances",
                         "deployment.outcome create-security-group-instances",
                         "deployment.intent create-target-group",
                         "deployment.outcome create-target-group",
                         "deployment.left",
                     }));
}

// The program's client asks the same flag as the engine, before each attempt of a call.
TEST_F(EngineTest, AnInterruptionBetweenAnyTwoCallsLeavesTheDeploymentAndSaysSo) {
  image_is_there();
  // The first look takes eight calls; forty later it has asked for two things and waits for the third.
  for (int last = 8; last < 48; last += 2) {
    ledger::Ledger ledger(folder_.path() / fmt::format("ledger-{}", last), clock_, "ana@forge");
    std::atomic<bool> cancelled = false;
    cloud_.asked.clear();
    aws::Client::Options client_options;
    client_options.cancelled = [&] { return cancelled.load(); };
    client_options.on_call = [&](const aws::CallReport&) {
      cancelled = ledger.head().sequence > 0 && static_cast<int>(cloud_.asked.size()) >= last;
    };
    aws::Client client(config(), cloud_, clock_, random_, client_options);
    EngineOptions options;
    options.cancelled = &cancelled;
    Engine engine(client, ledger, clock_, random_, folder_.path() / "locks", options);
    const Result result = engine.run(wanted_);
    ASSERT_EQ(result.outcome, Outcome::left) << last;
    EXPECT_EQ(result.exit(), 130);
    ASSERT_EQ(ledger.newest("", result.id)->kind, kLeft) << last;
    EXPECT_TRUE(History(ledger).unfinished("web", "production"));
    EXPECT_LE(static_cast<int>(cloud_.asked.size()), last + 2) << "nothing is asked any more";
  }
}

TEST_F(EngineTest, AnInterruptionWhileAwsIsAwayIsNoFailure) {
  image_is_there();
  std::atomic<bool> cancelled = false;
  EngineOptions options;
  options.cancelled = &cancelled;
  options.on_look = [&](const Moment&) { cloud_.away = true; };
  const Time begun = clock_.now();
  aws::Client::Options client_options;
  client_options.on_call = [&](const aws::CallReport& report) {
    cancelled = report.outcome == "unavailable" && clock_.now() - begun > std::chrono::minutes(1);
  };
  aws::Client client(config(), cloud_, clock_, random_, client_options);
  Engine engine(client, ledger_, clock_, random_, folder_.path() / "locks", options);
  EXPECT_EQ(engine.run(wanted_).outcome, Outcome::left);
  EXPECT_EQ(kinds().back(), "deployment.left");
}

TEST_F(EngineTest, UnfinishedDeploymentToAnotherEndIsRefusedAndTheSameOneGoesOn) {
  image_is_there();
  group_of({"i-1"});
  std::atomic<bool> cancelled = true;
  EngineOptions options;
  options.cancelled = &cancelled;
  const std::string id = engine(options).run(wanted_).id;
  Wanted other = wanted_;
  other.version = "1.1.0";
  expect_error(ErrorCode::held, "ana@forge", [&] { engine(options).run(other); });
  expect_error(ErrorCode::held, "kiln deploy --env production --image 1.0.0", [&] { engine(options).run(other); });
  EXPECT_EQ(engine(options).run(wanted_).id, id);
}

TEST_F(EngineTest, UnfinishedDeploymentOfWhichNothingIsLeftHoldsNobody) {
  image_is_there();
  std::atomic<bool> cancelled = true;
  EngineOptions options;
  options.cancelled = &cancelled;
  const std::string id = engine(options).run(wanted_).id;
  Wanted other = wanted_;
  other.version = "1.1.0";
  EXPECT_NE(engine(options).run(other).id, id);
  const auto all = History(ledger_).list("web", "production");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].outcome, Outcome::failed);
  EXPECT_THAT(all[0].why, HasSubstr("nothing of it is left"));
}

TEST_F(EngineTest, WhatAwsRefusesForGoodEndsTheDeployment) {
  image_is_there();
  cloud_.fail<elb::CreateTargetGroup>("ValidationError", 400);
  Result result = engine().run(wanted_);
  EXPECT_EQ(result.outcome, Outcome::failed);
  EXPECT_EQ(result.exit(), 1);
  EXPECT_THAT(result.why, HasSubstr("creating target group kiln-web-production: because (ValidationError)"));
  EXPECT_EQ(kinds().back(), "deployment.finished");
  EXPECT_FALSE(History(ledger_).unfinished("web", "production"));
}

TEST_F(EngineTest, WhatExistsAlreadyIsLookedAtAndNotAnError) {
  image_is_there();
  cloud_.fail<ec2::CreateSecurityGroup>("InvalidGroup.Duplicate", 400);
  std::atomic<bool> cancelled = false;
  EngineOptions options;
  options.cancelled = &cancelled;
  options.on_look = [&](const Moment& moment) {
    cancelled = moment.plan.wait.has_value();
    if (cancelled) {
      EXPECT_TRUE(moment.progress.done.contains("create-security-group-balancer"));
    }
  };
  EXPECT_EQ(engine(options).run(wanted_).outcome, Outcome::left);
}

TEST_F(EngineTest, IsPatientWhenAwsGoesAwayInTheMiddleAndThenSaysHowToGoOn) {
  image_is_there();
  EngineOptions options;
  options.on_look = [&](const Moment&) { cloud_.away = true; };
  const Time begun = clock_.now();
  expect_error(ErrorCode::unavailable, "the same command goes on", [&] { engine(options).run(wanted_); });
  EXPECT_GE(clock_.now() - begun, std::chrono::minutes(5));
  EXPECT_LT(clock_.now() - begun, std::chrono::minutes(8));
  EXPECT_TRUE(History(ledger_).unfinished("web", "production"));
}

TEST_F(EngineTest, CredentialsThatExpireLeaveTheDeploymentUnfinished) {
  image_is_there();
  cloud_.fail<ec2::CreateSecurityGroup>("ExpiredToken", 403);
  expect_error(ErrorCode::denied, "the same command goes on", [&] { engine().run(wanted_); });
  EXPECT_TRUE(History(ledger_).unfinished("web", "production"));
}

TEST_F(EngineTest, GoingBackNeedsSomethingUnfinished) {
  expect_error(ErrorCode::not_found, "no deployment", [&] { engine().go_back(wanted_, "asked"); });
  image_is_there();
  std::atomic<bool> cancelled = true;
  EngineOptions options;
  options.cancelled = &cancelled;
  engine(options).run(wanted_);
  Result result = engine().go_back(wanted_, "ana asked for it");
  EXPECT_THAT(result.why, HasSubstr("ana asked for it"));
}

TEST_F(EngineTest, GoingBackIsNotDoneWhenNothingServesThatWasThereBefore) {
  image_is_there();
  std::atomic<bool> cancelled = true;
  EngineOptions options;
  options.cancelled = &cancelled;
  engine(options).run(wanted_);
  const Result first = engine().go_back(wanted_, "asked");
  EXPECT_EQ(first.outcome, Outcome::failed) << "there is no version before it, and no fleet";
  EXPECT_EQ(first.exit(), 1);

  // A group that has lost its only instance meanwhile: untouched, and yet not what was asked for.
  group_of({"i-1"});
  engine(options).run(wanted_);
  group_of({});
  EXPECT_EQ(engine().go_back(wanted_, "asked").outcome, Outcome::failed);

  group_of({"i-1"});
  engine(options).run(wanted_);
  const Result reached = engine().go_back(wanted_, "asked");
  EXPECT_EQ(reached.outcome, Outcome::done) << reached.why;
  EXPECT_EQ(reached.exit(), 0);
}

TEST_F(EngineTest, AnInterruptedDestroySaysWhatIsStillThere) {
  group_of({"i-1"});
  std::atomic<bool> cancelled = false;
  aws::Client::Options client_options;
  client_options.cancelled = [&] { return cancelled.load(); };
  client_options.on_call = [&](const aws::CallReport& report) {
    cancelled = cancelled || report.operation == "DeleteAutoScalingGroup";
  };
  aws::Client client(config(), cloud_, clock_, random_, client_options);
  DestroyOptions options;
  options.cancelled = &cancelled;
  expect_error(ErrorCode::cancelled, "still there: Auto Scaling group kiln-web-production",
               [&] { destroy(client, ledger_, clock_, folder_.path() / "locks", wanted_.names, options); });
  EXPECT_EQ(kinds().back(), "fleet.destroying");
  // Before the first look has come back there is nothing that could be still there.
  expect_error(ErrorCode::cancelled, "nothing was ended yet",
               [&] { destroy(client, ledger_, clock_, folder_.path() / "locks", wanted_.names, options); });
}

TEST_F(EngineTest, LookTakesOneSubnetAZone) {
  fleet::Fleet fleet = fleet::look(client_, wanted_.names);
  EXPECT_EQ(fleet.vpc, "vpc-1");
  EXPECT_EQ(fleet.subnets, (std::vector<std::string>{"subnet-a2", "subnet-b1"}));
  EXPECT_TRUE(fleet.empty());
}

TEST_F(EngineTest, LookReadsBothWaysInWhichAListenerForwards) {
  cloud_.on<elb::DescribeLoadBalancers>([](const auto&) {
    elb::DescribeLoadBalancersOutput output;
    auto& found = output.load_balancers.emplace_back();
    found.load_balancer_arn = "lb";
    found.dns_name = "127.77.1.1";
    return output;
  });
  cloud_.on<elb::DescribeListeners>([](const auto&) {
    elb::DescribeListenersOutput output;
    auto& plain = output.listeners.emplace_back();
    plain.port = 80;
    auto& forward = plain.default_actions.emplace_back();
    forward.type = "forward";
    forward.target_group_arn = "tg";
    auto& weighted = output.listeners.emplace_back();
    weighted.port = 81;
    auto& action = weighted.default_actions.emplace_back();
    action.type = "forward";
    auto& tuple = action.forward_config.emplace().target_groups.emplace_back();
    tuple.target_group_arn = "tg";
    tuple.weight = 7;
    return output;
  });
  fleet::Fleet fleet = fleet::look(client_, wanted_.names);
  ASSERT_EQ(fleet.listeners.size(), 2u);
  EXPECT_EQ(fleet.listeners[0].weights.at("tg"), 1);
  EXPECT_EQ(fleet.listeners[1].weights.at("tg"), 7);
  EXPECT_EQ(fleet.url(), "http://127.77.1.1");
}

class PublishTest : public EngineTest {
 protected:
  PublishTest() {
    cloud_.on<ec2::DescribeImages>([this](const auto&) {
      ec2::DescribeImagesResult result;
      result.images = images_;
      return result;
    });
    cloud_.on<ec2::RegisterImage>([this](const ec2::RegisterImageRequest& request) {
      ec2::RegisterImageResult result;
      result.image_id = add(request);
      registered_.push_back(request);
      return result;
    });
    cloud_.on<ec2::CopyImage>([this](const ec2::CopyImageRequest& request) {
      ec2::CopyImageResult result;
      result.image_id = add(request);
      copied_.push_back(request);
      return result;
    });
    cloud_.on<ec2::ModifyImageAttribute>([this](const ec2::ModifyImageAttributeRequest& request) {
      shared_.push_back(request);
      return wire::Empty{};
    });
    request_.app = "web";
    request_.version = "1.0.0+git.5";
    request_.digest = sha256("a");
    request_.tags = {{"kiln:commit", "0a1b"}};
  }
  template <typename Asked>
  std::string add(const Asked& request) {
    if (request.name == taken_) throw Cloud::Refusal{"InvalidAMIName.Duplicate"};
    ec2::Image image;
    image.image_id = fmt::format("ami-{}", images_.size() + 1);
    image.state = "available";
    image.name = request.name;
    image.tags = request.tag_specifications.at(0).tags;
    images_.push_back(image);
    return *image.image_id;
  }

  std::vector<ec2::Image> images_;
  std::vector<ec2::RegisterImageRequest> registered_;
  std::vector<ec2::CopyImageRequest> copied_;
  std::vector<ec2::ModifyImageAttributeRequest> shared_;
  std::string taken_ = "taken";
  PlacementRequest request_;
  RegionPlacements placements_{client_, clock_};
};

TEST_F(PublishTest, RegistersADigestOnce) {
  EXPECT_EQ(placements_.place(request_), "ami-1");
  EXPECT_EQ(placements_.place(request_), "ami-1");
  ASSERT_EQ(registered_.size(), 1u);
  EXPECT_EQ(registered_[0].name, "web-1.0.0-git.5");
  EXPECT_EQ(registered_[0].image_location, "kiln:" + sha256("a").str());
  EXPECT_EQ(registered_[0].architecture, "x86_64");
}

TEST_F(PublishTest, RegistersADigestAgainWhoseImageIsGone) {
  EXPECT_EQ(placements_.place(request_), "ami-1");
  images_.clear();
  images_.emplace_back().image_id = "ami-other";
  EXPECT_EQ(placements_.place(request_), "ami-2");
  EXPECT_EQ(registered_.size(), 2u);
}

TEST_F(PublishTest, NamesTheImageAsItIsAskedUnlessTheNameIsTaken) {
  request_.name = "the web";
  placements_.place(request_);
  EXPECT_EQ(registered_.at(0).name, "the web");
  images_.clear();
  request_.name = "taken";
  placements_.place(request_);
  EXPECT_EQ(registered_.at(1).name, "web-1.0.0-git.5");
  images_.clear();
  request_.name.clear();
  taken_ = "web-1.0.0-git.5";
  EXPECT_THROW(placements_.place(request_), Error);
}

TEST_F(PublishTest, CopiesAndSharesAsOftenAsItIsAsked) {
  request_.name = "the web";
  request_.users = {"111122223333"};
  request_.groups = {"all"};
  EXPECT_EQ(placements_.copy(request_, "ami-far", "eu-west-1"), "ami-1");
  EXPECT_EQ(placements_.copy(request_, "ami-far", "eu-west-1"), "ami-1");
  ASSERT_EQ(copied_.size(), 1u) << "it is there";
  EXPECT_EQ(copied_[0].source_image_id, "ami-far");
  EXPECT_EQ(copied_[0].source_region, "eu-west-1");
  EXPECT_EQ(copied_[0].name, "the web");
  ASSERT_EQ(shared_.size(), 2u) << "whoever died before it has not done it";
  ASSERT_EQ(shared_[0].launch_permission->add.size(), 2u);
  EXPECT_EQ(shared_[0].launch_permission->add[0].user_id, "111122223333");
  EXPECT_EQ(shared_[0].launch_permission->add[1].group, "all");
}

TEST_F(PublishTest, NeverMovesAVersionToAnotherDigest) {
  placements_.place(request_);
  request_.digest = sha256("b");
  expect_error(ErrorCode::already_exists, "ami-1", [&] { placements_.place(request_); });
  EXPECT_EQ(registered_.size(), 1u);
}

TEST_F(PublishTest, ImageThatNeverBecomesAvailableIsATimeout) {
  placements_.place(request_);
  images_[0].state = "pending";
  expect_error(ErrorCode::timeout, "ami-1 to be available", [&] { placements_.place(request_); });
  images_[0].state = "failed";
}

}  // namespace
}  // namespace kiln::deploy
