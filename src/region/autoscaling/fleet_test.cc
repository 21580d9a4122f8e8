// A fleet behind a load balancer in a whole region on simulated machines, asked over the wire, under traffic, and
// killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "host/file.h"
#include "host/random.h"
#include "machine/simulated.h"
#include "region/api_error.h"
#include "region/elb/simulated_balancer.h"
#include "region/elb/simulated_prober.h"
#include "region/partition.h"
#include "region/testing/mortal_loop.h"
#include "store/store.h"
#include "wire/autoscaling.h"
#include "wire/codec.h"
#include "wire/ec2.h"
#include "wire/elb.h"
#include "wire/sigv4.h"
#include "wire/ssm.h"

namespace kiln::region {
namespace {

namespace asg = wire::autoscaling;
using std::chrono::minutes;
using std::chrono::seconds;

struct Death {};  // of the control plane, in the middle of a commit

class FleetWorld {
 public:
  explicit FleetWorld(std::uint64_t seed = 1) : random(seed) {
    network.open();
    journal.before_commit([this] {
      if (kill_in > 0 && --kill_in == 0) throw Death{};
    });
    start();
    for (int version = 1; version <= 3; ++version) images.push_back(register_image(version));
    traffic();
  }

  void start() {
    life = std::make_unique<Life>(*this);
    life->region.open();
  }
  void restart() {
    ++deaths;
    machines.detach();
    life.reset();
    journal.forget();
    start();
  }
  // Lets time pass until `done`; who dies on the way is started again.
  bool run_until(const std::function<bool()>& done, Duration budget) {
    Time end = loop.now() + budget;
    while (true) {
      try {
        return loop.run_while_not(done, end - loop.now());
      } catch (const Death&) {
        restart();
      }
    }
  }
  void run_for(Duration time) {
    Time end = loop.now() + time;
    run_until([&] { return loop.now() >= end; }, time);
  }

  // As a client does: again when the connection broke. Throws ApiError.
  template <class Op>
  typename Op::Output call(const typename Op::Input& input) {
    for (int attempt = 0; attempt < 10; ++attempt) {
      http::Request request = wire::encode_request(Op::operation(), &input);
      request.headers.set("Host", "127.0.0.1:4577");
      wire::sign(request, {"AKIDEXAMPLE", "the secret", ""},
                 {"us-east-1", std::string(Op::operation().service->signing_name)}, loop.now());
      std::optional<http::Response> answer;
      int before = deaths;
      try {
        life->region.handle(std::move(request), [&](http::Response response) { answer = std::move(response); });
      } catch (const Death&) {
        restart();
      }
      run_until([&] { return answer.has_value() || deaths != before; }, minutes(1));
      if (!answer) continue;
      if (answer->status != 200) {
        auto error = wire::decode_error(*Op::operation().service, *answer);
        throw ApiError(error ? error->code : "?", error ? error->message : answer->body, answer->status);
      }
      typename Op::Output output;
      wire::decode_response(Op::operation(), *answer, &output);
      return output;
    }
    throw ApiError("NoAnswer", "no answer came");
  }
  template <class Op>
  std::string refusal(const typename Op::Input& input) {
    try {
      call<Op>(input);
    } catch (const ApiError& error) {
      return error.code() + ": " + error.message();
    }
    return {};
  }

  // Version 3 answers 500 to health checks and to everybody.
  std::string register_image(int version) {
    auto work = store.temporary();
    host::write_file(work->path() / "layer", "layer of version " + std::to_string(version));
    store::Blob layer = store.put_file(work->path() / "layer", std::string(store::kErofsLayerType));
    store::ImageConfig config;
    config.app = version == 3 ? "bad" : "web";
    config.architecture = "amd64";
    config.history = {"base"};
    wire::ec2::RegisterImageRequest request;
    request.name = "web-" + std::to_string(version);
    request.image_location = "kiln:" + store.add_image(config, {layer}).str();
    return call<wire::ec2::RegisterImage>(request).image_id.value();
  }

  wire::ec2::RequestLaunchTemplateData template_data(int version) const {
    wire::ec2::RequestLaunchTemplateData data;
    data.image_id = images[static_cast<std::size_t>(version - 1)];
    data.instance_type = "t3.micro";
    data.tag_specifications.emplace_back();
    data.tag_specifications.back().resource_type = "instance";
    data.tag_specifications.back().tags.push_back({.key = "from", .value = "template"});
    return data;
  }
  void add_version(int version) {
    wire::ec2::CreateLaunchTemplateVersionRequest request;
    request.launch_template_name = "web";
    request.launch_template_data = template_data(version);
    request.client_token = "version-" + std::to_string(version);
    call<wire::ec2::CreateLaunchTemplateVersion>(request);
  }

  // Template with three versions, target group, load balancer and a group of `count` on version 1, all healthy.
  void build(int count) {
    wire::ec2::CreateLaunchTemplateRequest launch_template;
    launch_template.launch_template_name = "web";
    launch_template.launch_template_data = template_data(1);
    call<wire::ec2::CreateLaunchTemplate>(launch_template);
    add_version(2);
    add_version(3);
    build_load_balancer();
    asg::CreateAutoScalingGroupType group;
    group.auto_scaling_group_name = "web";
    group.launch_template = spec("1");
    group.min_size = count;
    group.max_size = 2 * count;
    group.vpc_zone_identifier = subnets;
    group.target_group_arns = {target_group};
    group.health_check_type = "ELB";
    group.health_check_grace_period = 300;
    group.default_instance_warmup = 0;
    group.tags.emplace_back();
    group.tags.back().key = "app";
    group.tags.back().value = "web";
    group.tags.back().propagate_at_launch = true;
    call<asg::CreateAutoScalingGroup>(group);
    ASSERT_TRUE(wait([&] { return healthy() == count && in_service() == count; }, minutes(2)));
    serving = true;
  }
  void build_load_balancer() {
    std::vector<std::string> ids;
    std::string vpc;
    for (const auto& subnet : call<wire::ec2::DescribeSubnets>({}).subnets) {
      ids.push_back(subnet.subnet_id.value());
      vpc = subnet.vpc_id.value();
      subnets += (subnets.empty() ? "" : ",") + ids.back();
    }
    wire::elb::CreateTargetGroupInput group;
    group.name = "web";
    group.protocol = "HTTP";
    group.port = 80;
    group.vpc_id = vpc;
    group.health_check_path = "/healthz";
    group.health_check_interval_seconds = 5;
    group.health_check_timeout_seconds = 2;
    target_group = call<wire::elb::CreateTargetGroup>(group).target_groups.at(0).target_group_arn.value();
    wire::elb::ModifyTargetGroupAttributesInput attributes;
    attributes.target_group_arn = target_group;
    attributes.attributes.push_back({.key = "deregistration_delay.timeout_seconds", .value = "2"});
    call<wire::elb::ModifyTargetGroupAttributes>(attributes);
    wire::elb::CreateLoadBalancerInput balancer_input;
    balancer_input.name = "web";
    balancer_input.subnets = ids;
    auto made = call<wire::elb::CreateLoadBalancer>(balancer_input).load_balancers.at(0);
    address = made.dns_name.value();
    wire::elb::CreateListenerInput listener;
    listener.load_balancer_arn = made.load_balancer_arn;
    listener.protocol = "HTTP";
    listener.port = 80;
    listener.default_actions.emplace_back();
    listener.default_actions.back().type = "forward";
    listener.default_actions.back().target_group_arn = target_group;
    call<wire::elb::CreateListener>(listener);
  }

  asg::LaunchTemplateSpecification spec(const std::string& version) const {
    asg::LaunchTemplateSpecification out;
    out.launch_template_name = "web";
    out.version = version;
    return out;
  }
  asg::StartInstanceRefreshType refresh_request(const std::string& version) const {
    asg::StartInstanceRefreshType request;
    request.auto_scaling_group_name = "web";
    request.desired_configuration.emplace().launch_template = spec(version);
    request.preferences.emplace();
    request.preferences->min_healthy_percentage = 100;
    request.preferences->max_healthy_percentage = 200;
    return request;
  }
  // A client that does not know whether its last call arrived asks again, and takes "there is one" for an answer.
  void start_refresh(const std::string& version) {
    std::string refused = refusal<asg::StartInstanceRefresh>(refresh_request(version));
    EXPECT_TRUE(refused.empty() || refused.starts_with("InstanceRefreshInProgress")) << refused;
  }

  asg::AutoScalingGroup group() {
    asg::AutoScalingGroupNamesType request;
    request.auto_scaling_group_names = {"web"};
    return call<asg::DescribeAutoScalingGroups>(request).auto_scaling_groups.at(0);
  }
  asg::InstanceRefresh refresh() {
    asg::DescribeInstanceRefreshesType request;
    request.auto_scaling_group_name = "web";
    return call<asg::DescribeInstanceRefreshes>(request).instance_refreshes.at(0);
  }
  int in_service(const std::string& version = "") {
    int count = 0;
    for (const asg::Instance& one : group().instances) {
      count += one.lifecycle_state == "InService" && (version.empty() || one.launch_template->version == version);
    }
    return count;
  }
  int healthy() { return with_state("healthy"); }
  int with_state(const std::string& state) {
    wire::elb::DescribeTargetHealthInput request;
    request.target_group_arn = target_group;
    int count = 0;
    for (const auto& one : call<wire::elb::DescribeTargetHealth>(request).target_health_descriptions) {
      count += one.target_health->state == state;
    }
    return count;
  }
  // Asks every 200 ms, as an impatient client does.
  bool wait(const std::function<bool()>& done, Duration budget) {
    Time end = loop.now() + budget;
    while (!done()) {
      if (loop.now() >= end) return false;
      run_for(Duration(200));
    }
    return true;
  }

  // One request through the load balancer every 10 ms, for ever; none may fail once the fleet serves.
  void traffic() {
    loop.after(Duration(10), [this] {
      traffic();
      if (!serving) return;
      ++requests;
      auto server = balancer.route(address, 80, random);
      int status = server ? machines.http_status_at(server->first, server->second, "/") : 503;
      if (status != 200) ++failed;
    });
  }

  // It finds its machines again; anything else that it has to say would be trouble.
  static void say_of_a_restart(const std::string& line) {
    EXPECT_THAT(line, ::testing::EndsWith(" machines run from before"));
  }

  struct Life {
    explicit Life(FleetWorld& world)
        : loop(world.loop),
          prober(loop,
                 [&world](const elb::Probe& probe) {
                   return world.machines.http_status_at(probe.address, probe.port, probe.path, probe.vpc);
                 }),
          region({loop, world.random, world.journal, world.store, world.machines, world.network, world.balancer, prober,
                  world.log, nullptr, say_of_a_restart,
                  [&world](const std::string& line) { world.events.push_back(line); }},
                 {"us-east-1", "123456789012", "AKIDEXAMPLE", "the secret"}) {}
    testing::MortalLoop loop;
    elb::SimulatedProber prober;
    Partition region;
  };

  host::SimulatedLoop loop{parse_iso8601("2026-11-24T03:00:00Z")};
  host::SeededRandom random;
  MemoryJournal journal;
  machine::SimulatedMachines machines{loop, random, [](const machine::Spec& spec, host::Random& chance) {
                                        machine::Behaviour behaviour = machine::ordinary(spec, chance);
                                        if (spec.image.config.app == "bad") {
                                          behaviour.http = [](int, const std::string&, Duration) { return 500; };
                                        }
                                        return behaviour;
                                      }};
  machine::SimulatedNetwork network;
  elb::SimulatedBalancer balancer{loop};
  host::TemporaryFolder folder{"kiln-fleet-test-"};
  store::Store store{folder.path() / "store"};
  RequestLog log;
  std::vector<std::string> events;
  std::vector<std::string> images;
  std::string subnets, target_group, address;
  bool serving = false;
  int requests = 0, failed = 0;
  int kill_in = 0;
  int deaths = 0;
  std::unique_ptr<Life> life;
};

TEST(AFleet, IsReplacedUnderTrafficInUnderFifteenSecondsWithoutOneFailedRequest) {
  FleetWorld world;
  world.build(4);
  EXPECT_EQ(world.with_state("healthy"), 4);
  Time begin = world.loop.now();
  world.start_refresh("2");
  ASSERT_TRUE(world.wait([&] { return world.refresh().status == "Successful" && world.group().instances.size() == 4; },
                         minutes(1)));
  EXPECT_LT(world.loop.now() - begin, seconds(15));
  EXPECT_EQ(world.in_service("2"), 4);
  EXPECT_EQ(world.group().launch_template->version, "2");
  EXPECT_GT(world.requests, 300);
  EXPECT_EQ(world.failed, 0);
}

// The lines whose subject and text have both parts, in their order.
std::vector<std::string> events_with(const FleetWorld& world, const std::string& one, const std::string& other) {
  std::vector<std::string> found;
  for (const std::string& line : world.events) {
    if (line.find(one) != std::string::npos && line.find(other) != std::string::npos) found.push_back(line);
  }
  return found;
}

TEST(AFleet, ItsEventsSayWhyInstancesCameAndWent) {
  FleetWorld world;
  world.build(2);
  const std::string first = world.group().instances.front().instance_id.value();
  world.machines.kill(first, "killed by signal 9");
  ASSERT_TRUE(world.wait([&] { return world.healthy() == 2 && world.group().instances.size() == 2; }, minutes(5)));
  EXPECT_EQ(events_with(world, "instance " + first, "running -> stopped: Server.InternalError").size(), 1u);
  EXPECT_EQ(events_with(world, " " + first + ":80 ", "unused: Target.InvalidState").size(), 1u);
  EXPECT_EQ(events_with(world, first, "EC2 health check indicating it has been terminated or stopped").size(), 1u);
  EXPECT_EQ(events_with(world, first, "deregistered").size(), 1u);
  world.start_refresh("2");
  ASSERT_TRUE(world.wait([&] { return world.refresh().status == "Successful"; }, minutes(5)));
  EXPECT_GE(events_with(world, "refresh web ", "InProgress").size(), 1u);
  EXPECT_EQ(events_with(world, "refresh web ", "Successful").size(), 1u);
  EXPECT_EQ(events_with(world, "InProgress: Terminating", "in response to an instance refresh").size(), 2u);
  EXPECT_EQ(events_with(world, "123456789012/us-east-1 ", "draining: Target.DeregistrationInProgress").size(), 3u);
}

TEST(AFleet, GoesBackFromABadVersionWithoutOneFailedRequest) {
  FleetWorld world;
  world.build(3);
  world.start_refresh("3");
  ASSERT_TRUE(world.wait([&] { return world.with_state("unhealthy") == 3; }, minutes(1)));
  EXPECT_EQ(world.refresh().percentage_complete, 0);
  asg::RollbackInstanceRefreshType back;
  back.auto_scaling_group_name = "web";
  world.call<asg::RollbackInstanceRefresh>(back);
  ASSERT_TRUE(
      world.wait([&] { return world.refresh().status == "RollbackSuccessful" && world.group().instances.size() == 3; },
                 minutes(1)));
  EXPECT_EQ(world.in_service("1"), 3);
  EXPECT_EQ(world.failed, 0);
}

TEST(AFleet, LaunchesTheImageThatAParameterNamesThenAndCannotRollBackByItself) {
  FleetWorld world;
  world.build(1);
  const auto put = [&](const std::string& image) {
    wire::ssm::PutParameterRequest request;
    request.name = "/golden/web";
    request.value = image;
    request.type = "String";
    request.overwrite = true;
    world.call<wire::ssm::PutParameter>(request);
  };
  const auto image_of = [&](const std::string& id) {
    wire::ec2::DescribeInstancesRequest request;
    request.instance_ids = {id};
    return world.call<wire::ec2::DescribeInstances>(request).reservations.at(0).instances.at(0).image_id.value();
  };
  put(world.images[0]);
  wire::ec2::CreateLaunchTemplateVersionRequest version;
  version.launch_template_name = "web";
  version.launch_template_data = world.template_data(1);
  version.launch_template_data->image_id = "resolve:ssm:/golden/web";
  world.call<wire::ec2::CreateLaunchTemplateVersion>(version);
  world.start_refresh("4");
  ASSERT_TRUE(
      world.wait([&] { return world.in_service("4") == 1 && world.group().instances.size() == 1; }, minutes(1)));
  const std::string first = world.group().instances[0].instance_id.value();
  EXPECT_EQ(image_of(first), world.images[0]);
  put(world.images[1]);
  wire::ec2::TerminateInstancesRequest terminate;
  terminate.instance_ids = {first};
  world.call<wire::ec2::TerminateInstances>(terminate);
  ASSERT_TRUE(world.wait(
      [&] {
        const auto now = world.group().instances;
        return now.size() == 1 && now[0].instance_id != first && now[0].lifecycle_state == "InService";
      },
      minutes(2)));
  EXPECT_EQ(image_of(world.group().instances[0].instance_id.value()), world.images[1]);
  asg::StartInstanceRefreshType request = world.refresh_request("2");
  request.preferences->auto_rollback = true;
  EXPECT_THAT(world.refusal<asg::StartInstanceRefresh>(request), ::testing::HasSubstr("Systems Manager parameter"));
}

TEST(AFleet, ReplacesAMachineThatDiedAndSaysWhy) {
  FleetWorld world;
  world.build(3);
  std::string victim = world.group().instances.at(0).instance_id.value();
  world.machines.kill(victim, "killed by signal 9");
  ASSERT_TRUE(world.wait([&] { return world.healthy() == 3 && world.group().instances.size() == 3; }, minutes(1)));
  asg::DescribeScalingActivitiesType request;
  request.auto_scaling_group_name = "web";
  auto activities = world.call<asg::DescribeScalingActivities>(request).activities;
  EXPECT_THAT(activities, ::testing::Contains(::testing::Field(
                              &asg::Activity::cause,
                              ::testing::Optional(::testing::HasSubstr("EC2 health check indicating it has")))));
}

TEST(AFleet, TagsItsInstancesFromTheTemplateAndFromTheGroup) {
  FleetWorld world;
  world.build(1);
  wire::ec2::DescribeInstancesRequest request;
  request.instance_ids = {world.group().instances.at(0).instance_id.value()};
  std::map<std::string, std::string> tags;
  auto answer = world.call<wire::ec2::DescribeInstances>(request);
  for (const auto& tag : answer.reservations.at(0).instances.at(0).tags) {
    tags[tag.key.value()] = tag.value.value();
  }
  EXPECT_EQ(tags["from"], "template");
  EXPECT_EQ(tags["app"], "web");
  EXPECT_EQ(tags["aws:autoscaling:groupName"], "web");
}

TEST(AFleet, AnswersPagesFiltersAndRefusalsAsAwsDoes) {
  FleetWorld world;
  world.build(3);
  asg::DescribeAutoScalingInstancesType page;
  page.max_records = 2;
  auto first = world.call<asg::DescribeAutoScalingInstances>(page);
  EXPECT_EQ(first.auto_scaling_instances.size(), 2u);
  page.next_token = first.next_token;
  auto second = world.call<asg::DescribeAutoScalingInstances>(page);
  EXPECT_EQ(second.auto_scaling_instances.size(), 1u);
  EXPECT_FALSE(second.next_token);
  EXPECT_EQ(second.auto_scaling_instances[0].health_status, "HEALTHY");
  page.next_token = "nonsense";
  EXPECT_THAT(world.refusal<asg::DescribeAutoScalingInstances>(page), ::testing::StartsWith("InvalidNextToken"));

  asg::DescribeTagsType tags;
  tags.filters.push_back({.name = "auto-scaling-group", .values = {"web"}});
  EXPECT_EQ(world.call<asg::DescribeTags>(tags).tags.at(0).key, "app");
  tags.filters[0].name = "colour";
  EXPECT_THAT(world.refusal<asg::DescribeTags>(tags), ::testing::StartsWith("ValidationError"));

  asg::UpdateAutoScalingGroupType update;
  update.auto_scaling_group_name = "web";
  update.mixed_instances_policy.emplace().launch_template.emplace().launch_template_specification = world.spec("1");
  EXPECT_THAT(world.refusal<asg::UpdateAutoScalingGroup>(update),
              ::testing::AllOf(::testing::StartsWith("ValidationError"), ::testing::HasSubstr("MixedInstancesPolicy")));
  asg::StartInstanceRefreshType refresh = world.refresh_request("2");
  refresh.preferences->alarm_specification.emplace().alarms = {"web-5xx"};
  EXPECT_THAT(world.refusal<asg::StartInstanceRefresh>(refresh),
              ::testing::AllOf(::testing::StartsWith("ValidationError"), ::testing::HasSubstr("AlarmSpecification")));
  refresh = world.refresh_request("2");
  refresh.preferences->min_healthy_percentage.reset();
  EXPECT_THAT(world.refusal<asg::StartInstanceRefresh>(refresh), ::testing::StartsWith("ValidationError"));
  refresh = world.refresh_request("2");
  refresh.strategy = "ReplaceRootVolume";
  EXPECT_THAT(world.refusal<asg::StartInstanceRefresh>(refresh), ::testing::StartsWith("ValidationError"));
}

// A refresh whose control plane dies at its `kill`th commit. True when that commit came.
bool dies_at(int kill) {
  FleetWorld world(static_cast<std::uint64_t>(kill));
  world.build(3);
  std::size_t before = world.machines.launches();
  world.kill_in = kill;
  world.start_refresh("2");
  bool done = world.wait([&] { return world.refresh().status == "Successful" && world.group().instances.size() == 3; },
                         minutes(2));
  EXPECT_TRUE(done) << "killed at commit " << kill;
  bool died = world.deaths > 0;
  world.kill_in = 0;
  world.run_for(seconds(5));
  EXPECT_EQ(world.in_service("2"), 3) << "killed at commit " << kill;
  EXPECT_EQ(world.healthy(), 3) << "killed at commit " << kill;
  EXPECT_EQ(world.machines.ids().size(), 3u) << "a machine was left over, killed at commit " << kill;
  EXPECT_LE(world.machines.launches() - before, 6u) << "killed at commit " << kill;
  EXPECT_EQ(world.failed, 0) << "requests failed, killed at commit " << kill;
  return died;
}

TEST(AFleet, LosesNoRequestWhenItsControlPlaneIsKilledAtAnyCommitOfARefresh) {
  int kill = 1;
  while (dies_at(kill) && !::testing::Test::HasFailure()) ++kill;
  EXPECT_GT(kill, 20);
}

}  // namespace
}  // namespace kiln::region
