// What the live screen shows.
#include "console/picture.h"

#include <gtest/gtest.h>

namespace kiln::console {
namespace {

struct Scene {
  deploy::Wanted wanted;
  fleet::Fleet fleet;
  deploy::Progress progress;
  deploy::Plan plan;

  Scene() {
    wanted.names = fleet::names_of("web", "production");
    wanted.version = "1.1.0";
    wanted.fleet.size = 2;
    wanted.fleet.min = 2;
    wanted.fleet.max = 4;
    progress.from_version = "1.0.0";
    fleet.group.emplace();
    for (auto [id, version, state] : {std::tuple("i-0000000000000001a", "1.1.0", "initial"),
                                      std::tuple("i-0000000000000002b", "1.0.0", "healthy")}) {
      fleet::Instance instance;
      instance.id = id;
      instance.image_version = version;
      instance.zone = "us-east-1a";
      instance.lifecycle = "InService";
      instance.health = "Healthy";
      instance.target.state = state;
      fleet.group->instances.push_back(instance);
    }
    plan.wait = deploy::Wait{"0 of 2 instances of 1.1.0 are healthy", Time{}, Time{} + std::chrono::minutes(1)};
  }
  deploy::Moment moment() const { return {wanted, fleet, progress, plan, Time{} + std::chrono::seconds(21)}; }
};

}  // namespace

TEST(Picture, ShowsTheOldBeforeTheNewAndWhatComesNext) {
  Scene scene;
  std::vector<std::string> lines = picture(scene.moment(), std::nullopt, Style{});
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_NE(lines[0].find("web 1.1.0 → production"), std::string::npos);
  EXPECT_TRUE(lines[0].ends_with("00:00:21"));
  EXPECT_NE(lines[1].find("old 1.0.0    i-0000000000000002b"), std::string::npos) << lines[1];
  EXPECT_NE(lines[2].find("new 1.1.0    i-0000000000000001a"), std::string::npos) << lines[2];
  EXPECT_NE(lines[3].find("0 of 2 instances of 1.1.0 are healthy"), std::string::npos);
}

TEST(Picture, ShowsTheShareOfTraffic) {
  Scene scene;
  Traffic traffic;
  traffic.requests = {{"1.0.0", 300}, {"1.1.0", 100}};
  traffic.p99_ms = 4.2;
  std::vector<std::string> lines = picture(scene.moment(), traffic, Style{});
  EXPECT_NE(lines[3].find("1.0.0 ███████████████░░░░░ 1.1.0    400 req/s   0 errors   p99 4 ms"), std::string::npos)
      << lines[3];
}

TEST(Picture, HasNoLineBeyondTheWidthAndColorOnlyWhenAsked) {
  Scene scene;
  for (bool color : {false, true}) {
    for (const std::string& line : picture(scene.moment(), std::nullopt, Style{40, color})) {
      std::size_t columns = 0;
      bool escape = false;
      for (unsigned char c : line) {
        if (c == 0x1b) escape = true;
        if (!escape && (c & 0xc0) != 0x80) ++columns;
        if (c == 'm') escape = false;
      }
      EXPECT_LE(columns, 40u) << line;
      if (!color) {
        EXPECT_EQ(line.find('\x1b'), std::string::npos);
      }
    }
  }
}

}  // namespace kiln::console
