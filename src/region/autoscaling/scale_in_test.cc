// Which instances go, and where new ones come.
#include "region/autoscaling/scale_in.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/random.h"
#include "region/autoscaling/zones.h"

namespace kiln::region::autoscaling {
namespace {

using testing::ElementsAre;

Candidate candidate(std::size_t index, const std::string& zone, long version = 1, int age = 0) {
  return {index, zone, true, false, false, version, "lt-1", Time(Duration(1'000'000 - age))};
}

TEST(ScaleIn, TakesFromTheZoneWithTheMostInstances) {
  std::vector<Candidate> all{candidate(0, "a"), candidate(1, "b"), candidate(2, "b"), candidate(3, "b"),
                             candidate(4, "a")};
  EXPECT_THAT(choose_victims(all, 2, {}), ElementsAre(1, 0));
}

TEST(ScaleIn, TakesTheOldestTemplateVersionOfThatZoneFirstAndThenTheOldestInstance) {
  std::vector<Candidate> all{candidate(0, "a", 3, 50), candidate(1, "a", 2, 10), candidate(2, "a", 2, 20)};
  EXPECT_THAT(choose_victims(all, 3, {}), ElementsAre(2, 1, 0));
}

TEST(ScaleIn, FollowsThePoliciesInTheirOrder) {
  std::vector<Candidate> all{candidate(0, "a", 1, 10), candidate(1, "a", 2, 99), candidate(2, "a", 1, 50)};
  EXPECT_THAT(choose_victims(all, 1, {"OldestInstance"}), ElementsAre(1));
  EXPECT_THAT(choose_victims(all, 1, {"NewestInstance"}), ElementsAre(0));
  EXPECT_THAT(choose_victims(all, 1, {"OldestLaunchTemplate"}), ElementsAre(2));
}

TEST(ScaleIn, TakesWhatDoesNotServeFirstWhateverItsZone) {
  std::vector<Candidate> all{candidate(0, "a"), candidate(1, "a"), candidate(2, "b")};
  all[2].ready = false;
  EXPECT_THAT(choose_victims(all, 1, {}), ElementsAre(2));
}

TEST(ScaleIn, NeverTakesProtectedInstances) {
  std::vector<Candidate> all{candidate(0, "a"), candidate(1, "a")};
  all[0].protected_ = true;
  EXPECT_THAT(choose_victims(all, 2, {}), ElementsAre(1));
}

TEST(ScaleIn, LeavesTheZonesEvenForRandomFleets) {
  host::SeededRandom random(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<Candidate> all;
    std::size_t size = 3 + random.below(60);
    for (std::size_t i = 0; i < size; ++i) {
      all.push_back(candidate(i, std::string(1, static_cast<char>('a' + random.below(3)))));
    }
    std::map<std::string, int> left;
    for (const Candidate& one : all) ++left[one.zone];
    int before = 0;
    for (const auto& [zone, count] : left) before = std::max(before, count);
    for (std::size_t victim : choose_victims(all, random.below(size), {})) {
      int most = 0;
      for (const auto& [zone, count] : left) most = std::max(most, count);
      EXPECT_EQ(left[all[victim].zone], most);
      --left[all[victim].zone];
    }
  }
}

TEST(Zones, SpreadsNewInstancesEvenlyOverZonesAndTheirSubnets) {
  std::map<std::string, std::string> subnets{{"s1", "a"}, {"s2", "b"}, {"s3", "b"}};
  std::map<std::string, int> placed;
  for (const Place& place : spread(subnets, {}, 8)) ++placed[place.subnet_id];
  EXPECT_EQ(placed["s1"], 4);
  EXPECT_EQ(placed["s2"], 2);
  EXPECT_EQ(placed["s3"], 2);
}

TEST(Zones, FillsTheZoneThatHasTheFewest) {
  std::map<std::string, std::string> subnets{{"s1", "a"}, {"s2", "b"}, {"s3", "c"}};
  EXPECT_THAT(spread(subnets, {{"s1", 2}, {"s2", 1}, {"s3", 2}}, 1), ElementsAre(Place{"b", "s2"}));
}

}  // namespace
}  // namespace kiln::region::autoscaling
