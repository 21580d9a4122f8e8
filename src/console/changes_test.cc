// What a log of a deployment says.
#include "console/changes.h"

#include <gtest/gtest.h>

namespace kiln::console {

TEST(Changes, SaysEachChangeOnceAndThatAnInstanceEnded) {
  deploy::Wanted wanted;
  wanted.version = "1.1.0";
  fleet::Fleet fleet;
  fleet.group.emplace();
  fleet::Instance instance;
  instance.id = "i-1";
  instance.image_version = "1.1.0";
  instance.lifecycle = "Pending";
  fleet.group->instances = {instance};
  deploy::Progress progress;
  deploy::Plan plan;
  auto moment = [&] { return deploy::Moment{wanted, fleet, progress, plan, Time{} + std::chrono::seconds(5)}; };

  Changes changes;
  EXPECT_EQ(changes.since_last(moment()), std::vector<std::string>{"00:00:05  i-1 of 1.1.0: Pending"});
  EXPECT_TRUE(changes.since_last(moment()).empty());
  fleet.group->instances[0].lifecycle = "InService";
  fleet.group->instances[0].target = {"unhealthy", "Target.ResponseCodeMismatch",
                                      "Health checks failed with these codes: [500]"};
  EXPECT_EQ(changes.since_last(moment()),
            std::vector<std::string>{
                "00:00:05  i-1 of 1.1.0: InService, unhealthy (Health checks failed with these codes: [500])"});
  fleet.group->instances.clear();
  EXPECT_EQ(changes.since_last(moment()), std::vector<std::string>{"00:00:05  i-1 has ended"});
  EXPECT_TRUE(changes.since_last(moment()).empty());
}

}  // namespace kiln::console
