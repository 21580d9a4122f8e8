// Tests of history and of the way back, on a ledger with real entries.
#include "deploy/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/testing/errors.h"
#include "deploy/progress.h"
#include "deploy/rollback.h"

namespace kiln::deploy {
namespace {

using testing::expect_error;
using ::testing::HasSubstr;

class HistoryTest : public ::testing::Test {
 protected:
  void start(const std::string& id, const std::string& version, const std::string& verb = "deploy",
             const std::string& environment = "production", const nlohmann::json& pinned = nullptr) {
    ledger_.append(kStarted, id,
                   {{"app", "web"},
                    {"environment", environment},
                    {"verb", verb},
                    {"version", version},
                    {"digest", sha256(version).str()},
                    {"ami", "ami-" + version},
                    {"instance_type", "t3.micro"},
                    {"pinned_version", pinned},
                    {"fingerprint", sha256(id).str()},
                    {"from_version", "0.9.0"},
                    {"from_template_version", 1},
                    {"from_proven", true}});
  }
  void finish(const std::string& id, Outcome outcome, std::int64_t template_version) {
    ledger_.append(kFinished, id,
                   {{"outcome", to_string(outcome)}, {"why", "because"}, {"template_version", template_version}});
  }
  void deployed(const std::string& id, const std::string& version, std::int64_t template_version,
                const std::string& verb = "deploy", Outcome outcome = Outcome::done) {
    start(id, version, verb);
    finish(id, outcome, template_version);
    auto& lt = fleet_.launch_template;
    if (!lt) lt = fleet::LaunchTemplate{};
    if (lt->version(template_version) == nullptr) {
      lt->versions.push_back({template_version, "ami-" + version, "t3.micro", {}, "", version, sha256(version).str()});
    }
    fleet_.images["ami-" + version] = {
        "ami-" + version, "", "available", {{"kiln:version", version}, {"kiln:digest", sha256(version).str()}}};
    if (outcome != Outcome::done) return;
    fleet_.group = fleet::Group{};
    fleet_.group->template_version = template_version;
  }
  WayBack way(const std::optional<std::string>& to = std::nullopt) {
    return find_way_back(names_, fleet_, history_, to);
  }

  host::TemporaryFolder folder_{"history-test-"};
  host::SimulatedClock clock_{Time(std::chrono::seconds(1'780'000'000))};
  ledger::Ledger ledger_{folder_.path() / "ledger", clock_, "ana@forge"};
  History history_{ledger_};
  fleet::Names names_ = fleet::names_of("web", "production");
  fleet::Fleet fleet_;
};

TEST_F(HistoryTest, TellsDeploymentsOfOneFleetInOrder) {
  deployed("d-1", "1.0.0", 1);
  start("d-2", "1.1.0");
  start("d-3", "1.1.0", "deploy", "staging");
  auto list = history_.list("web", "production");
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].outcome, Outcome::done);
  EXPECT_EQ(list[0].actor, "ana@forge");
  EXPECT_EQ(list[0].template_version, 1);
  EXPECT_FALSE(list[1].outcome);
  EXPECT_EQ(history_.unfinished("web", "production")->id, "d-2");
  EXPECT_EQ(history_.unfinished("web", "staging")->id, "d-3");
  EXPECT_FALSE(history_.unfinished("api", "production"));
}

TEST_F(HistoryTest, WayBackIsTheVersionThatRanWithSuccessBefore) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.2.0", 3, "deploy", Outcome::rolled_back);
  WayBack back = way();
  EXPECT_EQ(back.version, "1.0.0");
  EXPECT_EQ(back.template_version, 1);
  EXPECT_EQ(back.ami, "ami-1.0.0");
  prove(back, fleet_);
}

TEST_F(HistoryTest, GoingBackTwiceGoesTwoVersionsBackAndNotToAndFro) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.2.0", 3);
  EXPECT_EQ(way().version, "1.1.0");
  deployed("d-4", "1.1.0", 2, "rollback");
  EXPECT_EQ(way().version, "1.0.0");
  deployed("d-5", "1.0.0", 1, "rollback");
  expect_error(ErrorCode::not_found, "no version before it", [&] { way(); });
}

TEST_F(HistoryTest, AVersionThatWasLeftByGoingBackIsNoWayBack) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.0.0", 1, "rollback");
  deployed("d-4", "1.2.0", 3);
  EXPECT_EQ(way().version, "1.0.0") << "1.2.0 has replaced 1.0.0";
}

TEST_F(HistoryTest, AVersionThatWasLeftAndIsBroughtBackByNameStandsOnWhatItReplaced) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.0.0", 1, "rollback");
  deployed("d-4", "1.1.0", 2, "rollback");
  EXPECT_EQ(way().version, "1.0.0");
  deployed("d-5", "1.2.0", 3);
  EXPECT_EQ(way().version, "1.1.0");
}

TEST_F(HistoryTest, GoingBackByNameLeavesWhatIsNewerToo) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.0.0", 1, "rollback");
  deployed("d-4", "1.2.0", 3);
  deployed("d-5", "1.1.0", 2, "rollback");
  EXPECT_EQ(way().version, "1.0.0") << "1.2.0 was gone back from";
}

TEST_F(HistoryTest, TheSameVersionDeployedTwiceIsGoneBackFromOnce) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.0.0", 1);
  EXPECT_EQ(way().version, "1.1.0");
  deployed("d-4", "1.1.0", 2, "rollback");
  EXPECT_EQ(way().version, "1.0.0");
  deployed("d-5", "1.0.0", 1, "rollback");
  expect_error(ErrorCode::not_found, "no version before it", [&] { way(); });
}

TEST_F(HistoryTest, WayBackMayBeNamed) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.2.0", 3);
  EXPECT_EQ(way("1.0.0").template_version, 1);
  expect_error(ErrorCode::conflict, "serves 1.2.0 already", [&] { way("1.2.0"); });
  expect_error(ErrorCode::not_found, "Did you mean 1.1.0", [&] { way("1.1.1"); });
}

TEST_F(HistoryTest, FleetThatIsHalfOnTheWayGoesToWhatItsGroupLaunches) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.2.0", 3, "deploy", Outcome::stuck);
  fleet::Instance stray;
  stray.template_version = 3;
  fleet_.group->instances = {stray};
  EXPECT_EQ(way().version, "1.1.0");
}

TEST_F(HistoryTest, RollbackThatWasInterruptedGoesOnToTheSamePlaceEvenIfTheGroupIsThereAlready) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  deployed("d-3", "1.2.0", 3);
  start("d-4", "1.1.0", "rollback", "production", 2);
  EXPECT_EQ(way().template_version, 2);
  fleet_.group->template_version = 2;
  EXPECT_EQ(way().template_version, 2);
  EXPECT_EQ(way("1.1.0").template_version, 2);
}

TEST_F(HistoryTest, NothingToGoBackToIsSaid) {
  expect_error(ErrorCode::not_found, "no fleet", [&] { way(); });
  deployed("d-1", "1.0.0", 1);
  expect_error(ErrorCode::not_found, "no version before it", [&] { way(); });
}

TEST_F(HistoryTest, WhatWasDeployedBeforeADestructionIsNoWayBack) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  ledger_.append(kDestroyed, "web", {{"environment", "production"}});
  deployed("d-3", "1.2.0", 1);
  expect_error(ErrorCode::not_found, "no version before it", [&] { way(); });
  EXPECT_TRUE(history_.list("web", "production")[0].destroyed);
}

TEST_F(HistoryTest, WayBackThatCannotBeLaunchedIsRefusedBeforeAnythingChanges) {
  deployed("d-1", "1.0.0", 1);
  deployed("d-2", "1.1.0", 2);
  const WayBack back = way();
  const fleet::Fleet good = fleet_;
  fleet_.images["ami-1.0.0"].state = "disabled";
  expect_error(ErrorCode::conflict, "is disabled", [&] { prove(back, fleet_); });
  fleet_ = good;
  fleet_.images.erase("ami-1.0.0");
  expect_error(ErrorCode::conflict, "was deregistered", [&] { prove(back, fleet_); });
  fleet_ = good;
  fleet_.images["ami-1.0.0"].tags["kiln:digest"] = sha256("other").str();
  expect_error(ErrorCode::conflict, "launches ami-1.0.0", [&] { prove(back, fleet_); });
  fleet_ = good;
  fleet_.launch_template->versions.erase(fleet_.launch_template->versions.begin());
  expect_error(ErrorCode::conflict, "is gone", [&] { prove(back, fleet_); });
  const Wanted wanted = wanted_of(back, names_, {}, {});
  EXPECT_EQ(wanted.template_version, 1);
  EXPECT_EQ(wanted.version, "1.0.0");
}

TEST_F(HistoryTest, UnfinishedOnesOfAllFleetsAreFoundAndSayWhatGoesOnWithThem) {
  deployed("d-1", "1.0.0", 1);
  start("d-2", "1.1.0");
  start("d-3", "1.0.0", "rollback", "staging");
  start("d-4", "1.0.0", "deploy", "gone");
  ledger_.append(kDestroyed, "web", {{"environment", "gone"}});
  const std::vector<Deployment> found = history_.all_unfinished();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].id, "d-2");
  EXPECT_THAT(unfinished_words(found[0]), HasSubstr("deploy 1.1.0 of web in production was begun by"));
  EXPECT_THAT(unfinished_next(found[0]), HasSubstr("`kiln deploy --env production --image 1.1.0`"));
  EXPECT_EQ(found[1].id, "d-3");
  EXPECT_THAT(unfinished_next(found[1]), HasSubstr("`kiln rollback --env staging --to 1.0.0`"));
}

TEST_F(HistoryTest, ProgressIsRecalledFromTheEntriesAlone) {
  start("d-1", "1.1.0");
  ledger_.append(kIntent, "d-1", {{"step", "start-refresh-2"}, {"what", "starting"}, {"refresh_before", "r-1"}});
  ledger_.append(kOutcome, "d-1", {{"step", "start-refresh-2"}, {"ok", false}, {"error", "busy"}});
  clock_.advance(std::chrono::seconds(5));
  ledger_.append(kIntent, "d-1", {{"step", "start-refresh-2"}, {"what", "starting"}, {"refresh_before", "r-1"}});
  ledger_.append(kOutcome, "d-1", {{"step", "start-refresh-2"}, {"ok", true}, {"id", "r-2"}});
  ledger_.append(kGoingBack, "d-1", {{"why", "it answered 500"}, {"asked", false}});
  Progress progress = recall(history_.entries("d-1"));
  EXPECT_EQ(progress.id, "d-1");
  EXPECT_EQ(progress.from_template_version, 1);
  EXPECT_TRUE(progress.from_proven);
  EXPECT_EQ(progress.refresh_before, "r-1");
  EXPECT_EQ(progress.tries["start-refresh-2"], 2);
  EXPECT_TRUE(progress.done.contains("start-refresh-2"));
  EXPECT_EQ(progress.tried["start-refresh-2"], clock_.now());
  EXPECT_EQ(progress.failing_why, "it answered 500");
  EXPECT_FALSE(progress.asked_to_go_back);
  EXPECT_FALSE(progress.return_before);
}

}  // namespace
}  // namespace kiln::deploy
