// Tests of the rules that a channel moves by, and of channels and standings in the catalog.
#include "catalog/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/testing/errors.h"

namespace kiln::catalog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> rules_of(const std::vector<Refusal>& refusals) {
  std::vector<std::string> rules;
  for (const Refusal& refusal : refusals) rules.push_back(refusal.rule);
  return rules;
}

class RulesTest : public ::testing::Test {
 protected:
  Image bake(const std::string& version, const std::string& content) {
    Image made;
    made.app = "web";
    made.version = version;
    made.digest = sha256(content);
    made.built = clock_.now();
    made.recipe = sha256("recipe");
    return catalog_.record_baked(made);
  }
  void test(const Image& image, bool passed) {
    ledger_.append(kImageTested, "web",
                   {{"version", image.version},
                    {"digest", image.digest.str()},
                    {"passed", passed},
                    {"checks", {{{"name", "port 80"}, {"passed", passed}}}}});
  }
  std::vector<std::string> asked(const Channel& channel, const std::string& version, const PromotionFacts& facts = {}) {
    return rules_of(refusals(channel, catalog_.find("web@" + version), catalog_.view(), facts));
  }
  std::string refused(const std::function<void()>& body) {
    const Error error = testing::failure(body);
    return error.message() + " " + error.next();
  }

  host::TemporaryFolder folder_{"catalog-rules-"};
  host::SimulatedClock clock_{Time(std::chrono::seconds(1'780'000'000))};
  ledger::Ledger ledger_{folder_.path() / "ledger", clock_, "ana@forge"};
  Catalog catalog_{ledger_};
};

TEST_F(RulesTest, ProductionTakesOnlyWhatStagingHadAndWhatWasDeployedWell) {
  const Channel production = default_channels(true).at(2);
  const Image image = bake("1.0.0", "a");
  EXPECT_THAT(asked(production, "1.0.0"), ElementsAre("from: staging", "deployed: staging"));
  catalog_.record_promoted(image, "staging", "looks well", false);
  EXPECT_THAT(asked(production, "1.0.0", {{"dev"}, ""}), ElementsAre("deployed: staging"));
  EXPECT_THAT(asked(production, "1.0.0", {{"staging"}, ""}), ElementsAre());
}

TEST_F(RulesTest, WithoutAStagingFleetAnyDeploymentCounts) {
  const Channel production = default_channels(false).at(2);
  catalog_.record_promoted(bake("1.0.0", "a"), "staging", "", false);
  EXPECT_THAT(asked(production, "1.0.0"), ElementsAre("deployed: any"));
  EXPECT_THAT(asked(production, "1.0.0", {{""}, ""}), ElementsAre());
}

TEST_F(RulesTest, AnImageThatFailedItsNewestTestGoesNowhere) {
  const Channel dev = default_channels(false).at(0);
  const Image image = bake("1.0.0", "a");
  EXPECT_THAT(asked(dev, "1.0.0"), ElementsAre());
  test(image, false);
  EXPECT_THAT(asked(dev, "1.0.0"), ElementsAre("tested"));
  EXPECT_THAT(refusals(dev, catalog_.find("web@1.0.0"), catalog_.view(), {}).at(0).why, HasSubstr("port 80"));
  test(image, true);
  EXPECT_THAT(asked(dev, "1.0.0"), ElementsAre());
}

TEST_F(RulesTest, AsksForTestsSignaturesAndApproval) {
  Channel strict{.name = "production"};
  strict.tested = strict.is_signed = true;
  strict.approved_by = {"ben@desk", "ana@forge"};
  const Image image = bake("1.0.0", "a");
  EXPECT_THAT(asked(strict, "1.0.0", {{}, "eve@elsewhere"}), ElementsAre("tested", "signed", "approved_by"));
  test(image, true);
  ledger_.append(kImageSigned, "web",
                 {{"version", "1.0.0"}, {"digest", image.digest.str()}, {"key", "k1"}, {"artifact", "x"}});
  EXPECT_THAT(asked(strict, "1.0.0", {{}, "eve@elsewhere"}), ElementsAre("approved_by"));
  EXPECT_THAT(asked(strict, "1.0.0", {{}, "ben@desk"}), ElementsAre());
  catalog_.record_approved(image, "staging", "");
  EXPECT_THAT(asked(strict, "1.0.0", {{}, "eve@elsewhere"}), ElementsAre("approved_by"));
  catalog_.record_approved(image, "production", "");
  EXPECT_THAT(asked(strict, "1.0.0", {{}, "eve@elsewhere"}), ElementsAre());
}

TEST_F(RulesTest, ARevokedImageIsRefusedWhateverIsForced) {
  const Image image = bake("1.0.0", "a");
  catalog_.record_standing(image, Standing::revoked, "CVE-2026-1");
  const auto found = refusals(default_channels(false).at(0), catalog_.find("web@1.0.0"), catalog_.view(), {});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(is_absolute(found[0]));
  EXPECT_THAT(found[0].why, HasSubstr("CVE-2026-1"));
}

TEST_F(RulesTest, AChannelIsAReferenceAndMovesBackToo) {
  const Image one = bake("1.0.0", "a");
  const Image two = bake("2.0.0", "b");
  EXPECT_EQ(catalog_.record_promoted(one, "staging", "first", false).from, "");
  EXPECT_EQ(catalog_.record_promoted(two, "staging", "second", false).from, "1.0.0");
  EXPECT_EQ(catalog_.find("web@staging").version, "2.0.0");
  EXPECT_EQ(catalog_.find("staging", "web").version, "2.0.0");
  const auto before = ledger_.head().sequence;
  catalog_.record_promoted(two, "staging", "again", false);
  EXPECT_EQ(ledger_.head().sequence, before);
  catalog_.record_promoted(one, "staging", "back", true);
  EXPECT_EQ(catalog_.find("web@staging").version, "1.0.0");
  EXPECT_THAT(catalog_.find("web@1.0.0").channels, ElementsAre("staging"));
  EXPECT_THAT(catalog_.find("web@2.0.0").channels, ElementsAre());
  EXPECT_EQ(catalog_.view().channel("web", "staging")->act.why, "back");
  EXPECT_TRUE(catalog_.view().channel("web", "staging")->forced);
  EXPECT_THAT(refused([&] { catalog_.find("web@stagin"); }), HasSubstr("Did you mean web@staging"));
}

TEST_F(RulesTest, AStandingHoldsForEveryVersionOfTheContentAndCanBeTakenBack) {
  const Image one = bake("1.0.0", "a");
  bake("1.0.1", "a");
  bake("2.0.0", "b");
  catalog_.record_standing(one, Standing::disabled, "slow");
  EXPECT_EQ(catalog_.find("web@1.0.1").standing, Standing::disabled);
  EXPECT_EQ(catalog_.find("web@1.0.1").stood.why, "slow");
  EXPECT_EQ(catalog_.find("web@1.0.1").stood.by, "ana@forge");
  EXPECT_FALSE(catalog_.find("web@1.0.0").deployable());
  EXPECT_TRUE(catalog_.find("web@2.0.0").deployable());
  const auto before = ledger_.head().sequence;
  catalog_.record_standing(one, Standing::disabled, "slow");
  EXPECT_EQ(ledger_.head().sequence, before);
  catalog_.record_standing(one, Standing::usable, "fixed by configuration");
  EXPECT_TRUE(catalog_.find("web@1.0.1").deployable());
}

TEST_F(RulesTest, AVersionStaysTakenWhenItsImageIsGone) {
  const Image one = bake("1.0.0", "a");
  catalog_.record_placed(one, {"1", "r", "ami-1", {}});
  catalog_.record_standing(one, Standing::aside, "old");
  EXPECT_EQ(catalog_.find("web@1.0.0").standing, Standing::aside);
  EXPECT_THAT(refused([&] { bake("1.0.0", "a"); }), HasSubstr("kiln gc --undo web@1.0.0"));
  catalog_.record_standing(one, Standing::gone, "old");
  EXPECT_TRUE(catalog_.images().empty());
  EXPECT_THAT(refused([&] { catalog_.find("web@1.0.0"); }), HasSubstr("was removed on"));
  EXPECT_THAT(refused([&] { bake("1.0.0", "b"); }), HasSubstr("never moves"));
  EXPECT_THAT(refused([&] { catalog_.record_standing(one, Standing::usable, "x"); }), HasSubstr("was removed on"));
  bake("1.0.0", "a");
  EXPECT_TRUE(catalog_.find("web@1.0.0").deployable());
  EXPECT_TRUE(catalog_.find("web@1.0.0").placements.empty());
}

TEST_F(RulesTest, KindsOfLaterVersionsArePassedOver) {
  bake("1.0.0", "a");
  ledger_.append("image.polished", "web", {{"how", "well"}});
  EXPECT_EQ(catalog_.find("web@1.0.0").version, "1.0.0");
}

}  // namespace
}  // namespace kiln::catalog
