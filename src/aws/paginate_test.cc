// Paginate: every page, and an end to it.
#include "aws/paginate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aws/fake_aws.h"
#include "wire/ec2.h"
#include "wire/elb.h"

namespace kiln::aws {
namespace {

using ::testing::HasSubstr;
using wire::ec2::DescribeInstances;
using wire::ec2::DescribeInstancesResult;

class Paging : public ::testing::Test {
 protected:
  DescribeInstancesResult page(const std::string& reservation, const std::string& next) const {
    DescribeInstancesResult result;
    result.reservations.emplace_back().reservation_id = reservation;
    if (!next.empty()) {
      result.next_token = next;
    }
    return result;
  }
  host::SimulatedClock clock{parse_iso8601("2026-11-24T03:00:00Z")};
  host::SeededRandom random{1};
  FakeAws aws{clock};
  Client client{test_config(), aws, clock, random};
};

TEST_F(Paging, CollectsTheItemsOfAllPagesInOrder) {
  aws.then_ok<DescribeInstances>(page("r-1", "t1"))
      .then_ok<DescribeInstances>(page("r-2", "t2"))
      .then_ok<DescribeInstances>(page("r-3", ""));
  auto all = collect<DescribeInstances>(client, {}, &DescribeInstancesResult::reservations);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].reservation_id, "r-3");
  EXPECT_EQ(aws.requests[0].body.find("NextToken"), std::string::npos);
  EXPECT_THAT(aws.requests[1].body, HasSubstr("NextToken=t1"));
  EXPECT_THAT(aws.requests[2].body, HasSubstr("NextToken=t2"));
}

TEST_F(Paging, FollowsMarkersToo) {
  using wire::elb::DescribeLoadBalancers;
  wire::elb::DescribeLoadBalancersOutput first, last;
  first.load_balancers.emplace_back().load_balancer_name = "a";
  first.next_marker = "m";
  last.load_balancers.emplace_back().load_balancer_name = "b";
  aws.then_ok<DescribeLoadBalancers>(first).then_ok<DescribeLoadBalancers>(last);
  auto all = collect<DescribeLoadBalancers>(client, {}, &wire::elb::DescribeLoadBalancersOutput::load_balancers);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_THAT(aws.requests[1].body, HasSubstr("Marker=m"));
}

TEST_F(Paging, StopsWhenThePageSaysSo) {
  aws.then_ok<DescribeInstances>(page("r-1", "t1"));
  for_each_page<DescribeInstances>(client, {}, [](DescribeInstancesResult&) { return false; });
  EXPECT_EQ(aws.requests.size(), 1u);
}

TEST_F(Paging, RefusesAServiceThatHandsOutOneTokenForEver) {
  aws.then_ok<DescribeInstances>(page("r-1", "t1")).then_ok<DescribeInstances>(page("r-1", "t1"));
  EXPECT_THROW(collect<DescribeInstances>(client, {}, &DescribeInstancesResult::reservations), Error);
}

}  // namespace
}  // namespace kiln::aws
