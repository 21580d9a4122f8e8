// Findings: homes that are damaged on purpose, without a region.
#include "cli/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/session.h"
#include "deploy/history.h"
#include "host/database.h"
#include "host/lock.h"
#include "store/store.h"

namespace kiln::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Findings : public ::testing::Test {
 protected:
  Findings() {
    context_.home = folder_.path();
    context_.folder = folder_.path();
  }
  ledger::Ledger ledger() { return ledger::Ledger(context_.ledger_folder(), context_.clock, "ana@forge"); }
  void begin(const std::string& id, const std::string& environment) {
    ledger().append(deploy::kStarted, id,
                    {{"app", "web"},
                     {"environment", environment},
                     {"verb", "deploy"},
                     {"version", "1.1.0"},
                     {"digest", sha256("x").str()},
                     {"ami", "ami-1"},
                     {"instance_type", "t3.micro"},
                     {"pinned_version", nullptr},
                     {"fingerprint", sha256(id).str()},
                     {"from_version", ""},
                     {"from_template_version", 0},
                     {"from_proven", false}});
  }
  host::Path write_region(const std::string& text) {
    const host::Path folder = context_.region_folder("default");
    host::make_folders(folder);
    host::write_file(folder / "region.json", text);
    return folder;
  }

  host::TemporaryFolder folder_{"kiln-findings-test-"};
  Context context_;
};

TEST_F(Findings, AnEmptyHomeHasNoneAndStaysEmpty) {
  EXPECT_THAT(look_at_regions(context_), IsEmpty());
  EXPECT_THAT(look_at_ledger(context_), IsEmpty());
  EXPECT_THAT(look_at_store(context_), IsEmpty());
  EXPECT_THAT(look_at_locks(context_), IsEmpty());
  EXPECT_THAT(host::list_folder(folder_.path()), IsEmpty());
}

TEST_F(Findings, ADeploymentWithoutAnEndSaysWhatGoesOnWithIt) {
  begin("d-1", "staging");
  ledger().append(deploy::kIntent, "d-1", {{"step", "start-refresh"}});
  const std::vector<Finding> found = look_at_ledger(context_);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].about, "deployment");
  EXPECT_TRUE(found[0].wrong);
  EXPECT_THAT(found[0].what, HasSubstr("deploy 1.1.0 of web in staging was begun by ana@forge"));
  EXPECT_THAT(found[0].what, HasSubstr("its last entry is 2 (deployment.intent)"));
  EXPECT_THAT(found[0].next, HasSubstr("kiln deploy --env staging --image 1.1.0"));
}

TEST_F(Findings, ADeploymentThatSomebodyGoesOnWithIsANote) {
  begin("d-1", "");
  host::make_folders(context_.locks_folder());
  const auto lock =
      host::FileLock::take(context_.locks_folder() / "kiln-web.lock", "kiln deploy web 1.1.0", context_.clock.now());
  const std::vector<Finding> found = look_at_ledger(context_);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_FALSE(found[0].wrong);
  EXPECT_THAT(found[0].what, HasSubstr(std::to_string(::getpid())));
  const std::vector<Finding> locks = look_at_locks(context_);
  ASSERT_THAT(locks, SizeIs(1));
  EXPECT_FALSE(locks[0].wrong);
  EXPECT_THAT(locks[0].what, HasSubstr("'kiln deploy web 1.1.0'"));
}

TEST_F(Findings, ALedgerThatWasAlteredIsWrongAndNamesTheEntry) {
  for (int i = 0; i < 3; ++i) ledger().append("a.b", "s", {{"n", i}});
  host::Database(context_.ledger_folder() / "ledger.db", host::Durability::process_death)
      .execute("DROP TRIGGER entries_are_not_changed; UPDATE entries SET body='{}' WHERE sequence=2");
  const std::vector<Finding> found = look_at_ledger(context_);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_TRUE(found[0].wrong);
  EXPECT_THAT(found[0].what, HasSubstr("entry 2 (a.b) altered"));
  EXPECT_THAT(found[0].next, HasSubstr("kiln ledger verify"));
}

TEST_F(Findings, AHeadFileThatLagsBehindIsANote) {
  ledger().append("a.b", "s", nlohmann::json::object());
  const std::string old = host::read_file(context_.ledger_folder() / "head.json");
  ledger().append("a.b", "s", nlohmann::json::object());
  host::write_file(context_.ledger_folder() / "head.json", old);
  const std::vector<Finding> found = look_at_ledger(context_);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_FALSE(found[0].wrong);
  EXPECT_THAT(found[0].what, HasSubstr("head.json"));
}

TEST_F(Findings, ALedgerThatIsNoDatabaseIsWrong) {
  host::make_folders(context_.ledger_folder());
  host::write_file(context_.ledger_folder() / "ledger.db", std::string(8192, 'x'));
  const std::vector<Finding> found = look_at_ledger(context_);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_TRUE(found[0].wrong);
  EXPECT_THAT(found[0].what, HasSubstr("ledger.db"));
}

TEST_F(Findings, AStoreThatLostALayerNamesImageAndFile) {
  store::Store store(context_.store_folder());
  const Digest layer = store.put("layer");
  store::ImageConfig config;
  config.app = "web";
  const Digest image = store.add_image(config, {{layer, 5, std::string(store::kErofsLayerType)}});
  ledger::Ledger book = ledger();
  catalog::Image baked;
  baked.app = "web";
  baked.version = "1.4.2";
  baked.digest = image;
  catalog::Catalog(book).record_baked(baked);
  EXPECT_THAT(look_at_store(context_), IsEmpty());
  host::remove_tree(store.path_of(layer));
  const std::vector<Finding> found = look_at_store(context_);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_THAT(found[0].what, HasSubstr("web@1.4.2: a layer of 5 bytes is missing: " + store.path_of(layer).string()));
  EXPECT_THAT(found[0].next, HasSubstr("kiln verify web@1.4.2"));
}

TEST_F(Findings, ARegionWhoseFilesCannotBeReadIsWrong) {
  const host::Path folder = write_region("{ half a file");
  host::write_file(folder / "journal.db", std::string(8192, 'x'));
  const std::vector<Finding> found = look_at_regions(context_);
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_THAT(found[0].what, HasSubstr("region.json cannot be read"));
  EXPECT_THAT(found[1].what, HasSubstr("journal.db cannot be read"));
  EXPECT_THAT(found[1].next, HasSubstr("kiln region reset"));
}

TEST_F(Findings, ARegionThatIsStoppedHasNone) {
  RegionRecord record;
  record.name = "default";
  record.machines = "nspawn";
  record.slot = 3;
  host::make_folders(context_.region_folder("default"));
  write_region_record(context_, record);
  EXPECT_THAT(look_at_regions(context_), IsEmpty());
}

}  // namespace
}  // namespace kiln::cli
