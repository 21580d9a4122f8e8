// HAProxy config: tests against golden text, and of the steps from one state to another.
#include "region/elb/haproxy_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "region/elb/simulated_balancer.h"

namespace kiln::region::elb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const HaproxySite kSite{"/var/kiln/haproxy", "kiln3"};

ServerState accepting(const std::string& address, int share = 100) {
  return {address, 80, ServerMode::accepting, share};
}
ServerState closed(const std::string& address) { return {address, 80, ServerMode::closed, 100}; }

BalancerState two_groups() {
  BalancerState state;
  state.listeners = {{"listener-1", "127.77.3.1", 80, {{"blue-1", 90}, {"green-2", 10}}, true, 600, 60}};
  state.groups = {{"blue-1", true, 86'400, false, {accepting("172.31.0.10"), closed("172.31.0.11")}},
                  {"green-2", false, 0, true, {}}};
  return state;
}

TEST(HaproxyConfig, IsTheGoldenText) {
  SlotTable slots = place(two_groups(), {});
  std::string golden = host::read_file(KILN_SOURCE_DIR "/src/region/elb/testing/haproxy.golden.cfg");
  std::string made = render_config(kSite, two_groups(), slots, 7);
  EXPECT_EQ(made, golden) << "the new text:\n" << made;
}

TEST(HaproxyConfig, ServersAndWeightsAreNoPartOfTheShapeAndGroupsListenersAndSlotsAre) {
  BalancerState state = two_groups();
  SlotTable slots = place(state, {});
  std::string shape = shape_of(kSite, state, slots);
  state.groups[0].servers.push_back(accepting("172.31.0.12"));
  state.listeners[0].routes = {{"green-2", 1}};
  EXPECT_EQ(shape_of(kSite, state, place(state, slots)), shape);
  BalancerState more_listeners = state;
  more_listeners.listeners.push_back({"listener-2", "127.77.3.1", 8080, {{"blue-1", 1}}, false, 0, 60});
  EXPECT_NE(shape_of(kSite, more_listeners, place(more_listeners, slots)), shape);
  BalancerState unsticky = state;
  unsticky.groups[0].sticky = false;
  EXPECT_NE(shape_of(kSite, unsticky, place(unsticky, slots)), shape);
  SlotTable wider = slots;
  wider["blue-1"].resize(16);
  EXPECT_NE(shape_of(kSite, state, wider), shape);
}

TEST(HaproxyRoutes, AreProportionalAndLeaveWeightZeroOut) {
  BalancerState state = two_groups();
  state.listeners[0].sticky = false;
  state.listeners[0].routes = {{"blue-1", 300}, {"green-2", 100}};
  EXPECT_EQ(
      render_routes(state),
      "listener-1/0 blue-1\nlistener-1/1 blue-1\nlistener-1/2 blue-1\nlistener-1/3 green-2\nlistener-1/total 4\n");
  state.listeners[0].routes = {{"blue-1", 0}, {"green-2", 7}};
  EXPECT_EQ(render_routes(state), "listener-1/0 green-2\nlistener-1/total 1\n");
  state.listeners[0].routes = {{"blue-1", 0}};
  EXPECT_EQ(render_routes(state), "listener-1/total 1\n");
  state.listeners[0].sticky = true;
  EXPECT_THAT(render_routes(state), HasSubstr("listener-1~blue-1 blue-1\n")) << "a held client stays, also at weight 0";
}

TEST(HaproxyPlacing, KeepsServersWhereTheyAreAndUsesNoSlotTwiceInOneStep) {
  BalancerState state = two_groups();
  SlotTable first = place(state, {});
  EXPECT_EQ(first["blue-1"][0].address, "172.31.0.10");
  EXPECT_EQ(first["blue-1"][1].address, "172.31.0.11");
  state.groups[0].servers = {accepting("172.31.0.12"), accepting("172.31.0.11")};
  SlotTable second = place(state, first);
  EXPECT_EQ(second["blue-1"][0].address, "") << "freed in this step";
  EXPECT_EQ(second["blue-1"][1].address, "172.31.0.11");
  EXPECT_TRUE(second["blue-1"][1].open);
  EXPECT_EQ(second["blue-1"][2].address, "172.31.0.12");
  state.groups[0].servers.push_back(accepting("172.31.0.13"));
  EXPECT_EQ(place(state, second)["blue-1"][0].address, "172.31.0.13");
}

TEST(HaproxyPlacing, DoublesWhenThereIsNoFreeSlot) {
  BalancerState state = two_groups();
  state.groups[0].servers.clear();
  for (int i = 1; i <= 9; ++i) state.groups[0].servers.push_back(accepting("172.31.0." + std::to_string(i)));
  EXPECT_EQ(place(state, {})["blue-1"].size(), 16U);
  EXPECT_EQ(place(state, {})["green-2"].size(), 8U);
}

TEST(HaproxyChanges, OpenBeforeTheyCloseAndCutWhatIsGone) {
  SlotTable from{{"web", {{"10.0.0.1", 80, true, 100}, {"10.0.0.2", 80, true, 100}, {"10.0.0.3", 80, false, 100}, {}}}};
  SlotTable to{{"web", {{"10.0.0.1", 80, false, 100}, {"10.0.0.2", 80, true, 40}, {}, {"10.0.0.4", 8080, true, 1}}}};
  Changes steps = changes(from, to);
  EXPECT_THAT(steps.opening, ElementsAre("set server web/s2 weight 40", "set server web/s4 addr 10.0.0.4 port 8080",
                                         "set server web/s4 weight 1", "set server web/s4 state ready"));
  EXPECT_THAT(steps.closing, ElementsAre("set server web/s1 state maint", "shutdown sessions server web/s3"));
  Changes none = changes(to, to);
  EXPECT_THAT(none.opening, IsEmpty());
  EXPECT_THAT(none.closing, IsEmpty());
}

TEST(HaproxyState, IsReadBackFromItsOwnWords) {
  SlotTable table = parse_servers_state(
      "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n"
      "4 web 1 s1 172.31.0.10 2 0 100 100 655 1 0 2 0 0 0 0 - 80 - 0 0 - - 0\n"
      "4 web 2 s2 172.31.0.11 0 5 30 100 0 1 0 0 8 0 0 0 - 8080 - 0 0 - - 0\n"
      "4 web 3 s3 192.0.2.1 0 5 100 100 0 1 0 0 8 0 0 0 - 1 - 0 0 - - 0\n"
      "5 kiln-relay-x 1 relay 127.77.0.1 2 0 1 1 0 1 0 0 8 0 0 0 - 80 - 0 0 - - 0\n"
      "broken line\n");
  ASSERT_EQ(table.size(), 1U);
  EXPECT_THAT(table["web"],
              ElementsAre(Slot{"172.31.0.10", 80, true, 100}, Slot{"172.31.0.11", 8080, false, 30}, Slot{}));
  SlotTable other = table;
  other["web"][1].address = "172.31.0.99";
  EXPECT_TRUE(same_traffic(table, other)) << "a closed server's address does not matter";
  other["web"][0].weight = 50;
  EXPECT_FALSE(same_traffic(table, other));
}

TEST(SimulatedBalancerDeathTest, AbortsOnARouteToNoGroup) {
  host::SimulatedLoop loop(Time{});
  SimulatedBalancer balancer(loop);
  BalancerState state = two_groups();
  state.groups.pop_back();
  EXPECT_DEATH(balancer.apply(state, [](std::exception_ptr) {}), "a route leads to a group of the same state");
}

}  // namespace
}  // namespace kiln::region::elb
