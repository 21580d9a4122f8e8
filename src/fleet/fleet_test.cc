// Tests of names and of what an observation answers.
#include "fleet/fleet.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "fleet/names.h"

namespace kiln::fleet {
namespace {

TEST(Names, OfTheLocalEnvironmentAreShort) {
  Names names = names_of("web", "local");
  EXPECT_EQ(names.group, "kiln-web");
  EXPECT_EQ(names.balancer_security_group, "kiln-web-balancer");
  EXPECT_EQ(names.tags().at("kiln:app"), "web");
  EXPECT_EQ(names.tags().at("kiln:environment"), "local");
  EXPECT_EQ(names_of("web", "").group, "kiln-web");
  EXPECT_EQ(names_of("web", "staging").group, "kiln-web-staging");
}

TEST(Names, AreTakenByTheStrictestService) {
  const std::regex elb("^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$");
  std::set<std::string> seen;
  for (const std::string app : {"web", "a_very_long_application_name_of_a_team",
                                "a_very_long_application_name_of_a_tean", "web.api", "web-api", "ünïcode", "--", "_"}) {
    for (const std::string environment : {"local", "staging", "a-quite-long-environment"}) {
      Names names = names_of(app, environment);
      EXPECT_TRUE(std::regex_match(names.load_balancer, elb)) << names.load_balancer;
      EXPECT_TRUE(seen.insert(names.load_balancer).second) << names.load_balancer;
    }
  }
}

Fleet small_fleet() {
  Fleet fleet;
  fleet.launch_template = LaunchTemplate{"lt-1", "kiln-web", {}, 2, {}};
  fleet.launch_template->versions = {{1, "ami-1", "t3.micro", {}, "", "", ""},
                                     {2, "ami-2", "t3.micro", {}, "", "1.1.0", ""}};
  fleet.images["ami-1"] = Image{"ami-1", "web-1.0.0", "available", {{"kiln:version", "1.0.0"}}};
  fleet.group = Group{};
  Instance serving;
  serving.lifecycle = "InService";
  serving.health = "Healthy";
  serving.target.state = "healthy";
  serving.template_version = 1;
  Instance booting = serving;
  booting.target.state = "initial";
  booting.template_version = 2;
  fleet.group->instances = {serving, booting};
  return fleet;
}

TEST(Fleet, CountsOnlyInstancesThatTheGroupAndTheBalancerCallHealthy) {
  Fleet fleet = small_fleet();
  EXPECT_EQ(fleet.serving(), 1u);
  EXPECT_EQ(fleet.serving(1), 1u);
  EXPECT_EQ(fleet.serving(2), 0u);
  EXPECT_TRUE(Fleet{}.empty());
  EXPECT_EQ(Fleet{}.serving(), 0u);
}

TEST(Fleet, NamesTheImageOfATemplateVersion) {
  Fleet fleet = small_fleet();
  EXPECT_EQ(fleet.image_version(1), "1.0.0");
  EXPECT_EQ(fleet.image_version(2), "1.1.0");
  EXPECT_EQ(fleet.image_version(7), "version 7");
}

TEST(Fleet, KnowsWhichRefreshForbidsAnother) {
  Fleet fleet;
  for (const char* status : {"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"}) {
    fleet.refreshes = {Refresh{}};
    fleet.refreshes[0].status = status;
    EXPECT_EQ(fleet.active_refresh(), nullptr) << status;
  }
  for (const char* status : {"Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress"}) {
    fleet.refreshes[0].status = status;
    EXPECT_NE(fleet.active_refresh(), nullptr) << status;
  }
}

TEST(Fleet, SaysWhereItIsReached) {
  Fleet fleet;
  EXPECT_EQ(fleet.url(), "");
  fleet.load_balancer = LoadBalancer{"arn", "kiln-web", "127.77.1.1", "active", {}};
  fleet.listeners = {Listener{"arn", 80, {}}};
  EXPECT_EQ(fleet.url(), "http://127.77.1.1");
  fleet.listeners[0].port = 8080;
  EXPECT_EQ(fleet.url(), "http://127.77.1.1:8080");
}

}  // namespace
}  // namespace kiln::fleet
