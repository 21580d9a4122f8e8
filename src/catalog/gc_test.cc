// Tests of the planner of gc: each reason to keep, the two steps of going, and that a referenced image never goes.
#include "catalog/gc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace kiln::catalog {
namespace {

using ::testing::HasSubstr;

constexpr Duration kDay = std::chrono::hours(24);
const Time kNow{std::chrono::seconds(1'780'000'000)};

class GcTest : public ::testing::Test {
 protected:
  Image& add(const std::string& version, int days_old, const std::string& content = "",
             const std::string& app = "web") {
    Image image;
    image.app = app;
    image.version = version;
    image.digest = sha256(content.empty() ? app + version : content);
    image.built = kNow - days_old * kDay;
    image.placements = {{"1", "r", "ami-" + version, image.built}};
    facts_.view.images.push_back(image);
    return facts_.view.images.back();
  }
  Verdict verdict(const std::string& version) {
    facts_.now = kNow;
    for (Verdict& one : plan_gc(facts_, rules_)) {
      if (one.image.version == version) return one;
    }
    return {Image(), Fate::keep, "not in the plan"};
  }
  void expect(const std::string& version, Fate fate, const std::string& why) {
    const Verdict found = verdict(version);
    EXPECT_EQ(to_string(found.fate), to_string(fate)) << version << ": " << found.why;
    EXPECT_THAT(found.why, HasSubstr(why)) << version;
  }

  GcFacts facts_;
  GcRules rules_{.app = "", .keep = 0};
};

TEST_F(GcTest, WhatNothingRefersToIsPutAsideAndGoesAfterItsGrace) {
  Image& image = add("1.0.0", 100);
  expect("1.0.0", Fate::put_aside, "nothing refers to it");
  image.standing = Standing::aside;
  image.stood = {"ana", kNow - 6 * kDay, "nothing refers to it"};
  expect("1.0.0", Fate::wait, "aside until");
  image.stood.when = kNow - 7 * kDay;
  expect("1.0.0", Fate::remove, "nothing refers to it");
}

TEST_F(GcTest, WhatIsNeededIsNeededWhateverTheRulesSay) {
  const Image image = add("1.0.0", 100);
  EXPECT_EQ(needed(facts_, image), std::nullopt);
  facts_.references = {{image.digest, "kiln push (process 1) uses it now"}};
  EXPECT_EQ(needed(facts_, image), "kiln push (process 1) uses it now");
  facts_.references.clear();
  Image& child = add("2.0.0", 1, "", "shop");
  child.base = "web@1.0.0";
  EXPECT_EQ(needed(facts_, image), "shop@2.0.0 is made from it");
  child.standing = Standing::aside;
  EXPECT_EQ(needed(facts_, image), std::nullopt);
  facts_.view.images.front().channels = {"production"};
  EXPECT_EQ(needed(facts_, image), "the channel production points at web@1.0.0");
}

TEST_F(GcTest, WithoutAGraceItGoesAtOnce) {
  rules_.grace = Duration(0);
  add("1.0.0", 100);
  expect("1.0.0", Fate::remove, "nothing refers to it");
}

TEST_F(GcTest, KeepsTheNewestOfEachAppThatCanBeDeployed) {
  rules_.keep = 1;
  add("3.0.0", 50).standing = Standing::revoked;
  add("2.0.0", 60);
  add("1.0.0", 70);
  add("9.0.0", 80, "", "api");
  expect("3.0.0", Fate::put_aside, "nothing");
  expect("2.0.0", Fate::keep, "newest");
  expect("1.0.0", Fate::put_aside, "nothing");
  expect("9.0.0", Fate::keep, "newest");
}

TEST_F(GcTest, KeepsWhatIsYoung) {
  add("1.0.0", 29);
  add("0.9.0", 30);
  expect("1.0.0", Fate::keep, "younger than 30 days");
  expect("0.9.0", Fate::put_aside, "");
}

TEST_F(GcTest, KeepsWhatIsReferredToAndWhatAChannelPointsAt) {
  add("1.0.0", 100);
  add("2.0.0", 100).channels = {"production"};
  facts_.references = {{sha256("web1.0.0"), "the instance i-1 is running from ami-1"}};
  expect("1.0.0", Fate::keep, "i-1");
  expect("2.0.0", Fate::keep, "production");
}

TEST_F(GcTest, AReferenceWinsOverEverySecondStep) {
  Image& image = add("1.0.0", 100);
  image.standing = Standing::aside;
  image.stood.when = kNow - 100 * kDay;
  facts_.references = {{image.digest, "the group g launches it"}};
  expect("1.0.0", Fate::keep, "the group g");
}

TEST_F(GcTest, VersionsOfTheSameContentShareTheirFate) {
  add("1.0.1", 100, "same").channels = {"dev"};
  add("1.0.0", 200, "same");
  expect("1.0.0", Fate::keep, "dev");
  rules_.keep = 1;
  facts_.view.images.clear();
  add("2.0.1", 100, "same");
  add("2.0.0", 200, "same");
  expect("2.0.0", Fate::keep, "web@2.0.1 has the same content");
}

TEST_F(GcTest, KeepsWhatKeptImagesAreMadeFrom) {
  add("3.0.0", 100).base = "web@2.0.0";
  facts_.view.images.back().channels = {"dev"};
  add("2.0.0", 100).metadata = {{"kiln:base", sha256("web1.0.0").str()}};
  add("1.0.0", 100);
  add("0.1.0", 100);
  expect("2.0.0", Fate::keep, "web@3.0.0 is made from it");
  expect("1.0.0", Fate::keep, "web@2.0.0 is made from it");
  expect("0.1.0", Fate::put_aside, "");
}

TEST_F(GcTest, AChildThatIsAsideStillKeepsItsParent) {
  Image& child = add("2.0.0", 100);
  child.base = "web@1.0.0";
  child.standing = Standing::aside;
  child.stood.when = kNow - kDay;
  add("1.0.0", 100);
  expect("1.0.0", Fate::keep, "web@2.0.0 is made from it");
}

TEST_F(GcTest, KeepsWhatMayBeInUseWhereNobodyCouldLook) {
  facts_.not_reached = {"staging: no answer"};
  add("1.0.0", 100);
  add("2.0.0", 100).placements.clear();
  expect("1.0.0", Fate::keep, "staging: no answer");
  expect("2.0.0", Fate::put_aside, "");
}

TEST_F(GcTest, OneAppCanBeAskedFor) {
  rules_.app = "api";
  add("1.0.0", 100);
  add("2.0.0", 100, "", "api");
  expect("1.0.0", Fate::keep, "another app");
  expect("2.0.0", Fate::put_aside, "");
}

TEST_F(GcTest, WhatIsGoneIsNotInThePlan) {
  add("1.0.0", 100).standing = Standing::gone;
  EXPECT_EQ(verdict("1.0.0").why, "not in the plan");
}

// Whatever the catalog looks like: nothing that is referred to, channelled, young or the base of what stays goes.
TEST_F(GcTest, AReferencedImageNeverGoes) {
  std::mt19937 random(20'261'125);
  const auto chance = [&](int percent) { return static_cast<int>(random() % 100) < percent; };
  int went = 0;
  for (int round = 0; round < 500; ++round) {
    facts_ = {};
    rules_ = {.app = "", .keep = random() % 3};
    rules_.grace = chance(30) ? Duration(0) : 7 * kDay;
    for (int i = 0; i < 12; ++i) {
      Image& image = add(std::to_string(i), static_cast<int>(random() % 90), chance(20) ? "shared" : "");
      if (chance(15)) image.channels = {"staging"};
      if (chance(25)) image.base = "web@" + std::to_string(random() % 12);
      image.standing = static_cast<Standing>(random() % 6);
      image.stood.when = kNow - static_cast<int>(random() % 20) * kDay;
      if (chance(15)) facts_.references.push_back({image.digest, "used"});
    }
    facts_.now = kNow;
    const auto plan = plan_gc(facts_, rules_);
    for (const Verdict& gone : plan) {
      if (gone.fate != Fate::put_aside && gone.fate != Fate::remove) continue;
      ++went;
      EXPECT_TRUE(gone.image.channels.empty());
      EXPECT_FALSE(gone.why.empty());
      for (const Reference& reference : facts_.references) EXPECT_NE(reference.digest, gone.image.digest);
      for (const Verdict& other : plan) {
        const bool kept = other.fate == Fate::keep;
        EXPECT_FALSE(kept && other.image.digest == gone.image.digest);
        EXPECT_FALSE((kept || other.fate == Fate::wait) && is_made_from(other.image, gone.image));
      }
    }
  }
  EXPECT_GT(went, 500);
}

}  // namespace
}  // namespace kiln::catalog
