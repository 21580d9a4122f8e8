// Tests of the catalog: versions that never move, references, placements.
#include "catalog/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"

namespace kiln::catalog {
namespace {

using testing::expect_error;

class CatalogTest : public ::testing::Test {
 protected:
  Image image(const std::string& version, const std::string& content, const std::string& app = "web") {
    Image made;
    made.app = app;
    made.version = version;
    made.digest = sha256(content);
    made.built = clock_.now();
    made.commit = "0a1b2c";
    made.recipe = sha256("recipe");
    made.base = "debian:bookworm";
    made.kiln = "0.1.0";
    made.size_bytes = 123;
    made.metadata = {{"builder", "forge"}};
    return made;
  }

  host::TemporaryFolder folder_{"catalog-test-"};
  host::SimulatedClock clock_{Time(std::chrono::seconds(1'780'000'000))};
  ledger::Ledger ledger_{folder_.path() / "ledger", clock_, "ana@forge"};
  Catalog catalog_{ledger_};
};

TEST_F(CatalogTest, GivesBackWhatWasBaked) {
  catalog_.record_baked(image("1.0.0", "a"));
  Image found = catalog_.find("web@1.0.0");
  EXPECT_EQ(found.digest, sha256("a"));
  EXPECT_EQ(found.built, clock_.now());
  EXPECT_EQ(found.commit, "0a1b2c");
  EXPECT_EQ(found.recipe, sha256("recipe"));
  EXPECT_EQ(found.size_bytes, 123u);
  EXPECT_EQ(found.metadata.at("builder"), "forge");
  EXPECT_EQ(found.sequence, 1);
}

TEST_F(CatalogTest, NeverMovesAVersionToAnotherDigest) {
  catalog_.record_baked(image("1.0.0", "a"));
  catalog_.record_baked(image("1.0.0", "a"));
  EXPECT_EQ(ledger_.head().sequence, 1);
  expect_error(ErrorCode::already_exists, sha256("b").short_str(), [&] { catalog_.record_baked(image("1.0.0", "b")); });
  expect_error(ErrorCode::already_exists, sha256("a").short_str(), [&] { catalog_.record_baked(image("1.0.0", "b")); });
  EXPECT_EQ(catalog_.find("web@1.0.0").digest, sha256("a"));
}

TEST_F(CatalogTest, KnowsTheCopiesInRegistries) {
  const Image one = catalog_.record_baked(image("1.0.0", "a"));
  catalog_.record_pushed(one, "r.example/team/web:1.0.0");
  catalog_.record_pushed(one, "r.example/team/web:stable");
  catalog_.record_pushed(one, "r.example/team/web:1.0.0");
  EXPECT_EQ(ledger_.head().sequence, 3);
  const std::vector<Copy> copies = catalog_.find("web@1.0.0").copies;
  ASSERT_EQ(copies.size(), 2u);
  EXPECT_EQ(copies[0], (Copy{"r.example/team/web:1.0.0", "ana@forge", clock_.now()}));

  // A tag that moved names the newer image alone.
  const Image two = catalog_.record_baked(image("1.1.0", "b"));
  catalog_.record_pushed(two, "r.example/team/web:stable");
  EXPECT_EQ(catalog_.find("web@1.0.0").copies.size(), 1u);
  EXPECT_EQ(catalog_.find("web@1.1.0").copies.at(0).reference, "r.example/team/web:stable");
}

TEST_F(CatalogTest, WhatWasRemovedHereCanBeFetchedFromItsCopy) {
  const Image one = catalog_.record_baked(image("1.0.0", "a"));
  catalog_.record_pushed(one, "r.example/team/web:1.0.0");
  catalog_.record_standing(one, Standing::gone, "nothing refers to it");
  expect_error(ErrorCode::not_found, "kiln pull r.example/team/web:1.0.0@" + sha256("a").str(),
               [&] { catalog_.find("web@1.0.0"); });
  catalog_.record_pulled(one, "r.example/team/web:1.0.0@" + sha256("a").str());
  const Image back = catalog_.find("web@1.0.0");
  EXPECT_EQ(back.standing, Standing::usable);
  EXPECT_EQ(back.copies.size(), 1u);
}

TEST_F(CatalogTest, AnImageThatWasPulledWasNotBakedHere) {
  const Image pulled = catalog_.record_pulled(image("1.0.0", "a"), "r.example/web:1.0.0");
  EXPECT_EQ(ledger_.read({}).at(0).kind, kImageImported);
  EXPECT_EQ(catalog_.find("web@1.0.0").imported_from, "r.example/web:1.0.0");
  catalog_.record_signed(pulled, sha256("key"));
  catalog_.record_signed(pulled, sha256("key"));
  EXPECT_EQ(catalog_.find("web@1.0.0").signed_by, std::vector<std::string>{sha256("key").str()});
  EXPECT_EQ(ledger_.head().sequence, 2);
}

TEST_F(CatalogTest, FindsByVersionLatestAndDigest) {
  catalog_.record_baked(image("2.0.0", "b"));
  catalog_.record_baked(image("1.0.1", "c"));
  catalog_.record_baked(image("9.0.0", "d", "api"));
  EXPECT_EQ(catalog_.find("web@latest").version, "1.0.1");
  EXPECT_EQ(catalog_.find("latest", "api").version, "9.0.0");
  EXPECT_EQ(catalog_.find("2.0.0", "web").digest, sha256("b"));
  EXPECT_EQ(catalog_.find("web@" + sha256("b").str()).version, "2.0.0");
  EXPECT_EQ(catalog_.find("web@" + sha256("b").str().substr(0, 15)).version, "2.0.0");
}

TEST_F(CatalogTest, SaysWhatIsWrongWithAReference) {
  expect_error(ErrorCode::not_found, "kiln bake", [&] { catalog_.find("web@1.0.0"); });
  catalog_.record_baked(image("1.4.2", "b"));
  expect_error(ErrorCode::not_found, "Did you mean web@1.4.2", [&] { catalog_.find("web@1.4.3"); });
  expect_error(ErrorCode::usage, "names no image", [&] { catalog_.find("1.4.2"); });
  expect_error(ErrorCode::usage, "names no image", [&] { catalog_.find("web@"); });
  expect_error(ErrorCode::usage, "names no image", [&] { catalog_.find("@1.0.0"); });
  expect_error(ErrorCode::usage, "names no image", [&] { catalog_.find("a@b@c"); });
  expect_error(ErrorCode::usage, "too short", [&] { catalog_.find("web@sha256:ab"); });
}

TEST_F(CatalogTest, OneDigestMayHaveSeveralVersions) {
  catalog_.record_baked(image("1.0.0", "a"));
  catalog_.record_baked(image("1.0.1", "a"));
  EXPECT_EQ(catalog_.find("web@" + sha256("a").str()).version, "1.0.1");
}

TEST_F(CatalogTest, KeepsPlacementsOfEachRegion) {
  Image baked = catalog_.record_baked(image("1.0.0", "a"));
  catalog_.record_placed(baked, {"123456789012", "us-east-1", "ami-1", {}});
  catalog_.record_placed(baked, {"123456789012", "us-east-1", "ami-1", {}});
  catalog_.record_placed(baked, {"123456789012", "eu-west-1", "ami-2", {}});
  EXPECT_EQ(ledger_.head().sequence, 3);
  Image found = catalog_.find("web@1.0.0");
  ASSERT_EQ(found.placements.size(), 2u);
  EXPECT_EQ(found.placed_in("123456789012", "eu-west-1")->ami, "ami-2");
  EXPECT_EQ(found.placed_in("999999999999", "eu-west-1"), nullptr);
}

TEST_F(CatalogTest, RefusesPlacementsThatContradict) {
  Image baked = catalog_.record_baked(image("1.0.0", "a"));
  Image other = catalog_.record_baked(image("1.1.0", "b"));
  catalog_.record_placed(baked, {"1", "r", "ami-1", {}});
  expect_error(ErrorCode::already_exists, "web@1.0.0", [&] { catalog_.record_placed(other, {"1", "r", "ami-1", {}}); });
  expect_error(ErrorCode::not_found, "not baked", [&] {
    catalog_.record_placed(image("3.0.0", "x"), {"1", "r", "ami-9", {}});
  });
}

TEST_F(CatalogTest, ListsNewestFirst) {
  catalog_.record_baked(image("1.0.0", "a"));
  catalog_.record_baked(image("1.1.0", "b"));
  catalog_.record_baked(image("5.0.0", "c", "api"));
  auto all = catalog_.images("web");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].version, "1.1.0");
  EXPECT_EQ(catalog_.images().size(), 3u);
}

}  // namespace
}  // namespace kiln::catalog
