// Handlers of ELBv2: tests of what goes in and comes out, without the wire's text.
#include "region/elb/handlers.h"

#include <gtest/gtest.h>

#include "region/elb/testing/simulated_world.h"
#include "wire/elb.h"

namespace kiln::region::elb {
namespace {

namespace w = wire::elb;
using testing::SimulatedWorld;

struct Served : SimulatedWorld {
  Served() { serve(handlers, *elb); }

  template <class Op>
  typename Op::Output call(const typename Op::Input& input) {
    return *std::static_pointer_cast<typename Op::Output>(handlers.run(Op::operation(), Call{}, &input));
  }
  template <class Op>
  std::string refusal(const typename Op::Input& input) {
    try {
      call<Op>(input);
      return "";
    } catch (const ApiError& error) {
      return error.code() + ": " + error.message();
    }
  }
  w::Listener make_listener(const w::Action& action, std::int64_t port = 80) {
    w::CreateListenerInput input;
    input.load_balancer_arn = load_balancer().str();
    input.protocol = "HTTP";
    input.port = port;
    input.default_actions = {action};
    return call<w::CreateListener>(input).listeners.at(0);
  }
  Handlers handlers;
};

w::Action forward_to(const std::string& arn) {
  w::Action action;
  action.type = "forward";
  action.target_group_arn = arn;
  return action;
}

TEST(ElbHandlers, ServeEveryOperationOfTheList) {
  Served region;
  for (const wire::Operation& operation : w::CreateListener::operation().service->operations) {
    EXPECT_TRUE(region.handlers.serves(operation)) << operation.name;
  }
}

TEST(ElbHandlers, AnswerASingleTargetGroupInBothFormsAndSeveralAsAForwardConfig) {
  Served region;
  std::string blue = region.group("blue").str();
  std::string green = region.group("green").str();
  w::Listener made = region.make_listener(forward_to(blue));
  ASSERT_EQ(made.default_actions.size(), 1U);
  EXPECT_EQ(made.default_actions[0].target_group_arn, blue);
  EXPECT_EQ(made.default_actions[0].forward_config->target_groups[0].target_group_arn, blue);
  EXPECT_EQ(made.default_actions[0].forward_config->target_groups[0].weight, 1);
  EXPECT_EQ(made.default_actions[0].forward_config->target_group_stickiness_config->enabled, false);

  w::ModifyListenerInput change;
  change.listener_arn = made.listener_arn;
  w::Action action;
  action.type = "forward";
  action.forward_config.emplace().target_groups = {{blue, 90}, {green, 10}};
  change.default_actions = {action};
  w::Listener changed = region.call<w::ModifyListener>(change).listeners.at(0);
  EXPECT_FALSE(changed.default_actions[0].target_group_arn.has_value());
  EXPECT_EQ(changed.default_actions[0].forward_config->target_groups[1].weight, 10);
  EXPECT_EQ(changed.port, 80);
}

TEST(ElbHandlers, RefuseByNameWhatIsNotServed) {
  Served region;
  std::string web = region.group().str();
  w::CreateLoadBalancerInput network;
  network.name = "n";
  network.subnets = {"subnet-a", "subnet-b"};
  network.type = "network";
  EXPECT_NE(region.refusal<w::CreateLoadBalancer>(network).find("'network'"), std::string::npos);
  w::CreateTargetGroupInput group;
  group.name = "g";
  group.protocol = "HTTP";
  group.port = 80;
  group.vpc_id = "vpc-1";
  group.target_type = "lambda";
  EXPECT_NE(region.refusal<w::CreateTargetGroup>(group).find("'lambda'"), std::string::npos);
  w::CreateListenerInput listener;
  listener.load_balancer_arn = region.load_balancer().str();
  listener.protocol = "HTTPS";
  listener.port = 443;
  listener.default_actions = {forward_to(web)};
  EXPECT_EQ(region.refusal<w::CreateListener>(listener).substr(0, 19), "UnsupportedProtocol");
  listener.protocol = "HTTP";
  listener.default_actions[0].type = "redirect";
  EXPECT_EQ(region.refusal<w::CreateListener>(listener).substr(0, 25), "InvalidLoadBalancerAction");
  listener.default_actions = {forward_to(web)};
  listener.ssl_policy = "x";
  EXPECT_NE(region.refusal<w::CreateListener>(listener).find("SslPolicy"), std::string::npos);
}

TEST(ElbHandlers, PageInOrderAndNameWhatIsNotThere) {
  Served region;
  for (const char* name : {"c", "a", "b"}) region.group(name);
  w::DescribeTargetGroupsInput input;
  input.page_size = 2;
  auto first = region.call<w::DescribeTargetGroups>(input);
  ASSERT_EQ(first.target_groups.size(), 2U);
  EXPECT_EQ(first.target_groups[0].target_group_name, "a");
  ASSERT_TRUE(first.next_marker.has_value());
  input.marker = first.next_marker;
  auto second = region.call<w::DescribeTargetGroups>(input);
  ASSERT_EQ(second.target_groups.size(), 1U);
  EXPECT_EQ(second.target_groups[0].target_group_name, "c");
  EXPECT_FALSE(second.next_marker.has_value());
  input = {};
  input.page_size = 401;
  EXPECT_EQ(region.refusal<w::DescribeTargetGroups>(input).substr(0, 15), "ValidationError");
  input = {};
  input.names = {"a", "none"};
  EXPECT_EQ(region.refusal<w::DescribeTargetGroups>(input).substr(0, 19), "TargetGroupNotFound");
  w::DescribeLoadBalancersInput balancers;
  balancers.names = {"none"};
  EXPECT_EQ(region.refusal<w::DescribeLoadBalancers>(balancers),
            "LoadBalancerNotFound: Load balancers '[none]' not found");
}

TEST(ElbHandlers, ReportTheHealthOfTargetsAlsoOfOneThatIsNotRegistered) {
  Served region;
  TargetGroupArn web = region.group();
  region.make_listener(forward_to(web.str()));
  w::RegisterTargetsInput wanted;
  wanted.target_group_arn = web.str();
  wanted.targets.resize(1);
  wanted.targets[0].id = region.instance(1);
  region.call<w::RegisterTargets>(wanted);
  region.run(Duration(1'000));
  w::DescribeTargetHealthInput input;
  input.target_group_arn = web.str();
  auto all = region.call<w::DescribeTargetHealth>(input).target_health_descriptions;
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].target->port, 80);
  EXPECT_EQ(all[0].health_check_port, "80");
  EXPECT_EQ(all[0].target_health->state, "healthy");
  EXPECT_FALSE(all[0].target_health->reason.has_value());
  input.targets.resize(1);
  input.targets[0].id = "i-other";
  auto other = region.call<w::DescribeTargetHealth>(input).target_health_descriptions;
  ASSERT_EQ(other.size(), 1U);
  EXPECT_EQ(other[0].target_health->reason, "Target.NotRegistered");
}

TEST(ElbHandlers, AddReplaceAndRemoveTags) {
  Served region;
  std::string web = region.group().str();
  w::AddTagsInput add;
  add.resource_arns = {web};
  add.tags = {{"a", "1"}, {"b", "2"}};
  region.call<w::AddTags>(add);
  add.tags = {{"a", "3"}};
  region.call<w::AddTags>(add);
  w::RemoveTagsInput remove;
  remove.resource_arns = {web};
  remove.tag_keys = {"b"};
  region.call<w::RemoveTags>(remove);
  w::DescribeTagsInput describe;
  describe.resource_arns = {web};
  auto tags = region.call<w::DescribeTags>(describe).tag_descriptions.at(0).tags;
  ASSERT_EQ(tags.size(), 1U);
  EXPECT_EQ(tags[0].value, "3");
  add.tags = {{"x", "1"}, {"x", "2"}};
  EXPECT_EQ(region.refusal<w::AddTags>(add).substr(0, 16), "DuplicateTagKeys");
}

}  // namespace
}  // namespace kiln::region::elb
