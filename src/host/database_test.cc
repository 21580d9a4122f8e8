// SQLite behind our errors.
#include "host/database.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::host {

TEST(Database, KeepsWhatWasCommittedAndNothingElse) {
  TemporaryFolder folder("kiln-test-");
  {
    Database db(folder.path() / "x.db", Durability::power_loss);
    db.execute("CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER)");
    {
      Database::Transaction transaction(db);
      db.prepare("INSERT INTO t VALUES (?, ?)").bind(1, "a").bind(2, std::int64_t{7}).execute();
      transaction.commit();
    }
    Database::Transaction dropped(db);
    db.prepare("INSERT INTO t VALUES ('b', 8)").execute();
  }
  Database db(folder.path() / "x.db", Durability::process_death);
  Statement rows = db.prepare("SELECT k, v FROM t ORDER BY k");
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.text(0), "a");
  EXPECT_EQ(rows.integer(1), 7);
  EXPECT_FALSE(rows.step());
}

TEST(Database, NamesTheFileThatIsNotOne) {
  TemporaryFolder folder("kiln-test-");
  write_file(folder.path() / "x.db", std::string(4096, 'x'));
  try {
    Database db(folder.path() / "x.db", Durability::power_loss);
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_NE(error.message().find("x.db"), std::string::npos);
  }
}

TEST(Database, SecondWriterSeesWhatTheFirstCommitted) {
  TemporaryFolder folder("kiln-test-");
  Database one(folder.path() / "x.db", Durability::power_loss);
  Database two(folder.path() / "x.db", Durability::power_loss);
  one.execute("CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (1)");
  Statement row = two.prepare("SELECT v FROM t");
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), 1);
}

}  // namespace kiln::host
