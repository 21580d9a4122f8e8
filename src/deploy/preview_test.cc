// Tests of the preview: what `kiln plan` says, word for word.
#include "deploy/preview.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "deploy/destroy.h"
#include "deploy/plan.h"

namespace kiln::deploy {
namespace {

using namespace std::chrono_literals;

Wanted wanted_of(const std::string& version) {
  Wanted wanted;
  wanted.names = fleet::names_of("web", "production");
  wanted.fleet.size = wanted.fleet.min = 4;
  wanted.fleet.max = 8;
  wanted.fleet.health.path = "/healthz";
  wanted.fleet.health.interval = 5s;
  wanted.fleet.drain = 10s;
  wanted.deploy.bake = 2min;
  wanted.version = version;
  wanted.digest = sha256(version);
  wanted.ami = "ami-0a" + version.substr(2, 1);
  return wanted;
}

fleet::Fleet running(const Wanted& wanted) {
  const auto tags = wanted.names.tags();
  fleet::Fleet fleet;
  fleet.vpc = "vpc-1";
  fleet.subnets = {"subnet-1"};
  fleet.instance_security_group = fleet::SecurityGroup{"sg-i", "kiln-web-production", tags, {80}};
  fleet.balancer_security_group = fleet::SecurityGroup{"sg-b", "kiln-web-production-balancer", tags, {80}};
  fleet::LaunchTemplate lt{"lt-1", "kiln-web-production", tags, 1, {}};
  lt.versions.push_back({1, "ami-0a0", "t3.micro", {"sg-i"}, "", "1.0.0", sha256("1.0.0").str()});
  fleet.launch_template = lt;
  fleet::TargetGroup tg;
  tg.arn = "tg";
  tg.name = "kiln-web-production";
  tg.port = 80;
  tg.health_path = "/healthz";
  tg.health_interval = 5s;
  tg.health_timeout = wanted.fleet.health.timeout;
  tg.healthy_threshold = wanted.fleet.health.healthy;
  tg.unhealthy_threshold = wanted.fleet.health.unhealthy;
  tg.matcher = "200";
  tg.drain = 10s;
  tg.load_balancers = {"lb"};
  tg.tags = tags;
  fleet.target_group = tg;
  fleet.load_balancer = fleet::LoadBalancer{"lb", "kiln-web-production", "127.77.1.1", "active", tags};
  fleet.listeners = {{"listener", 80, {{"tg", 1}}}};
  fleet::Group group;
  group.name = "kiln-web-production";
  group.min = group.desired = 4;
  group.max = 8;
  group.template_version = 1;
  group.tags = tags;
  group.tags["kiln:size"] = "4";
  for (int i = 1; i <= 4; ++i) {
    fleet::Instance instance;
    instance.id = fmt::format("i-0{}91b2c3d4e5f6071", i);
    instance.lifecycle = "InService";
    instance.health = "Healthy";
    instance.target.state = "healthy";
    instance.template_version = 1;
    group.instances.push_back(instance);
  }
  fleet.group = group;
  for (const std::string version : {"1.0.0", "1.1.0"}) {
    const std::string ami = "ami-0a" + version.substr(2, 1);
    fleet.images[ami] = {ami, "", "available", {{"kiln:version", version}, {"kiln:digest", sha256(version).str()}}};
  }
  return fleet;
}

TEST(Preview, OfAFirstDeploymentNamesEachThingThatIsMade) {
  Wanted wanted = wanted_of("1.0.0");
  fleet::Fleet fleet;
  fleet.subnets = {"subnet-1"};
  fleet.images = running(wanted).images;
  EXPECT_EQ(describe(preview(wanted, fleet)),
            R"(web 1.0.0 → production   rolling, 4 instances, min 4 max 8

  create   security group kiln-web-production-balancer: port 80 from everywhere
  create   security group kiln-web-production: port 80 from the load balancer
  create   target group kiln-web-production: port 80, health /healthz every 5s
  create   load balancer kiln-web-production
  create   listener on port 80
  create   launch template kiln-web-production: ami-0a0 (92521fc3cbd9), t3.micro
  create   Auto Scaling group kiln-web-production with 4 instances of 1.0.0

  capacity   1.0.0 0 → 4
  back       there is no version before it: a failed first deployment is left to look at
  budget     gives up after 30m and the 2m that it must hold; a new instance may take 1m20s to be healthy
)");
}

TEST(Preview, OfAReplacementSaysWhatIsEndedAndHowItWouldGoBack) {
  Wanted wanted = wanted_of("1.1.0");
  EXPECT_EQ(describe(preview(wanted, running(wanted))),
            R"(web 1.1.0 → production   rolling, 4 instances, min 4 max 8

  create   version 2 of launch template kiln-web-production: ami-0a1 (7fbd210ebec1), t3.micro
  replace  4 instances of 1.0.0 by 4 of 1.1.0, new ones first
  end      i-0191b2c.., i-0291b2c.., i-0391b2c.., i-0491b2c..: each after the new ones are healthy and 10s of draining
  keep     security group kiln-web-production-balancer: port 80 from everywhere
  keep     security group kiln-web-production: port 80 from the load balancer
  keep     target group kiln-web-production: port 80, health /healthz every 5s
  keep     load balancer kiln-web-production
  keep     listener on port 80

  capacity   1.0.0 4 → 0, 1.1.0 0 → 4
             never below 4 healthy, never above 8
  back       by itself to 1.0.0: version 1 of the launch template, ami-0a0 is available
  budget     gives up after 30m and the 2m that it must hold; a new instance may take 1m20s to be healthy
)");
}

TEST(Preview, SaysWhenThereIsNothingToDo) {
  Wanted wanted = wanted_of("1.0.0");
  Preview told = preview(wanted, running(wanted));
  EXPECT_TRUE(told.nothing_to_do);
  EXPECT_NE(describe(told).find("Nothing to do"), std::string::npos);
  EXPECT_TRUE(to_json(told)["nothing_to_do"].get<bool>());
}

TEST(Preview, NamesChangesOfSettingsAndSize) {
  Wanted wanted = wanted_of("1.1.0");
  wanted.fleet.drain = 20s;
  wanted.fleet.size = wanted.fleet.min = 6;
  wanted.fleet.max = 12;
  const std::string text = describe(preview(wanted, running(wanted)));
  EXPECT_NE(text.find("change   target group kiln-web-production, at the end: drain 10s → 20s"), std::string::npos)
      << text;
  EXPECT_NE(text.find("change   Auto Scaling group kiln-web-production, at the end: 4 → 6 instances (min 6, max 12)"),
            std::string::npos)
      << text;
}

TEST(Preview, TellsRefusals) {
  Wanted wanted = wanted_of("1.1.0");
  fleet::Fleet fleet = running(wanted);
  fleet.images.erase("ami-0a1");
  Preview told = preview(wanted, fleet);
  ASSERT_EQ(told.refusals.size(), 1u);
  EXPECT_NE(describe(told).find("This cannot work:\n  - the AMI ami-0a1 of 1.1.0 is not here"), std::string::npos);
}

TEST(Destroy, NamesEverythingAndEndsItInAnOrderThatAwsAccepts) {
  Wanted wanted = wanted_of("1.0.0");
  fleet::Fleet fleet = running(wanted);
  std::vector<std::string> order;
  EXPECT_EQ(describe(plan_destroy(wanted.names, fleet, {})),
            R"(  end      Auto Scaling group kiln-web-production with 4 instances
  end      listener on port 80
  end      load balancer kiln-web-production
  end      target group kiln-web-production
  end      launch template kiln-web-production
  end      security group kiln-web-production
  end      security group kiln-web-production-balancer
)");
  for (int round = 0; round < 10; ++round) {
    DestroyPlan plan = plan_destroy(wanted.names, fleet, {});
    if (plan.done()) break;
    for (const End& end : plan.now) {
      order.push_back(end.id);
      if (end.what == Ending::group) fleet.group.reset();
      if (end.what == Ending::listener) fleet.listeners.clear();
      if (end.what == Ending::load_balancer) fleet.load_balancer.reset();
      if (end.what == Ending::target_group) fleet.target_group.reset();
      if (end.what == Ending::launch_template) fleet.launch_template.reset();
      if (end.id == "sg-i") fleet.instance_security_group.reset();
      if (end.id == "sg-b") fleet.balancer_security_group.reset();
    }
  }
  EXPECT_EQ(order, (std::vector<std::string>{"kiln-web-production", "listener", "lb", "tg", "lt-1", "sg-i", "sg-b"}));
  EXPECT_TRUE(fleet.empty());
}

TEST(Destroy, WaitsForAGroupThatIsBeingDeletedAndKeepsWhatIsNotItsOwn) {
  Wanted wanted = wanted_of("1.0.0");
  fleet::Fleet fleet = running(wanted);
  fleet.group->status = "Delete in progress";
  DestroyPlan plan = plan_destroy(wanted.names, fleet, {});
  EXPECT_TRUE(plan.now.empty());
  EXPECT_FALSE(plan.done());
  fleet.load_balancer->tags.clear();
  EXPECT_EQ(plan_destroy(wanted.names, fleet, {}).refusals.size(), 1u);
}

}  // namespace
}  // namespace kiln::deploy
