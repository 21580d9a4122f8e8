// Tests of the ledger: the chain, its bounds, and what `verify` says of every way to tamper with it.
#include "ledger/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/testing/errors.h"
#include "host/database.h"
#include "host/lock.h"
#include "host/random.h"
#include "host/testing/lock_waiters.h"
#include "ledger/body.h"

namespace kiln::ledger {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

ErrorCode code_of(const std::function<void()>& act) { return testing::failure(act).code(); }

class LedgerTest : public ::testing::Test {
 protected:
  Ledger open() { return Ledger(folder_.path() / "ledger", clock_, "ana@forge"); }
  void fill(int count) {
    Ledger ledger = open();
    for (int i = 1; i <= count; ++i) {
      clock_.advance(std::chrono::seconds(1));
      ledger.append("bake.finished", "web", {{"version", "1.0." + std::to_string(i)}, {"layers", i}});
    }
  }
  void sql(const std::string& text) {
    host::Database database(folder_.path() / "ledger" / "ledger.db", host::Durability::process_death);
    database.execute("DROP TRIGGER IF EXISTS entries_are_not_changed; DROP TRIGGER IF EXISTS entries_are_not_removed;");
    database.execute(text);
  }
  // Rewrites an entry's fields and gives it the digest that fits, as somebody would who knows the format.
  void forge(std::int64_t sequence, const std::string& body) {
    Query query;
    query.from = sequence;
    query.limit = 1;
    Entry entry = open().read(query).at(0);
    entry.body = body;
    sql("UPDATE entries SET body='" + body + "', digest='" + digest_of(entry).str() +
        "' WHERE sequence=" + std::to_string(sequence));
  }
  std::vector<Problem> problems() { return open().verify().problems; }

  host::TemporaryFolder folder_{"ledger-test-"};
  host::SimulatedClock clock_{Time(std::chrono::milliseconds(1'780'000'000'123))};
};

TEST_F(LedgerTest, NumbersEntriesFromOneAndChainsThem) {
  fill(3);
  auto entries = open().read();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].sequence, 1);
  EXPECT_TRUE(entries[0].previous.empty());
  EXPECT_EQ(entries[2].previous, entries[1].digest);
  EXPECT_EQ(entries[2].actor, "ana@forge");
  EXPECT_EQ(entries[2].body, R"({"layers":3,"version":"1.0.3"})");
  EXPECT_EQ(open().head(), (Head{3, entries[2].digest}));
  EXPECT_TRUE(open().verify().ok());
}

TEST_F(LedgerTest, DigestOfAKnownEntryNeverChanges) {
  Entry entry;
  entry.sequence = 7;
  entry.time = Time(std::chrono::milliseconds(1'780'000'000'123));
  entry.actor = "ana@forge";
  entry.kind = "bake.finished";
  entry.subject = "web";
  entry.body = R"({"version":"1.0.0"})";
  // sha256 of the bytes that docs/ledger.md gives, made with Python's hashlib.
  EXPECT_EQ(digest_of(entry).hex(), "3c35e63a8ad45371ef54766a48173b46bcf1a80db7c5bf5bbac1ffb5f67a6f7a");
}

TEST_F(LedgerTest, AnEmptyLedgerIsSound) {
  EXPECT_TRUE(open().verify().ok());
  EXPECT_EQ(open().head(), Head{});
}

TEST_F(LedgerTest, RefusesWhatHasNoCanonicalForm) {
  Ledger ledger = open();
  EXPECT_EQ(code_of([&] { ledger.append("a.b", "s", {{"x", 1.5}}); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([&] { ledger.append("a.b", "s", json::array()); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([&] { ledger.append("A B", "s", json::object()); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([&] { ledger.append("", "s", json::object()); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([&] { ledger.append("a", "line\nbreak", json::object()); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([&] { ledger.append("a", std::string(300, 'x'), json::object()); }), ErrorCode::invalid);
  EXPECT_EQ(code_of([&] { ledger.append("a", "s", {{"x", std::string(kBodyBytesMax, 'x')}}); }), ErrorCode::invalid);
  json deep = 1;
  for (int i = 0; i < kBodyDepthMax + 1; ++i) deep = json{{"x", deep}};
  EXPECT_EQ(code_of([&] { ledger.append("a", "s", deep); }), ErrorCode::invalid);
  EXPECT_EQ(ledger.head().sequence, 0);
  ledger.append("a", "s", {{"bytes", "\xff"}});
  EXPECT_TRUE(ledger.verify().ok());
}

TEST_F(LedgerTest, ReadsByKindSubjectAndRange) {
  Ledger ledger = open();
  ledger.append("deployment.started", "d-1", json::object());
  ledger.append("deployment.finished", "d-1", json::object());
  ledger.append("deployments", "d-1", json::object());
  ledger.append("image.baked", "web", json::object());
  EXPECT_EQ(ledger.read({1, 0, "deployment.", "", false}).size(), 2u);
  EXPECT_EQ(ledger.read({1, 0, "deployment.started", "", false}).size(), 1u);
  EXPECT_EQ(ledger.read({1, 0, "", "d-1", false}).size(), 3u);
  EXPECT_EQ(ledger.read({2, 0, "", "d-1", true}).front().sequence, 3);
  EXPECT_EQ(ledger.read({1, 2, "", "", false}).size(), 2u);
  EXPECT_EQ(ledger.newest("deployment.started", "d-1")->sequence, 1);
  EXPECT_EQ(ledger.newest("deployment.started", "d-2"), std::nullopt);
}

TEST_F(LedgerTest, SeveralWritersMakeOneChain) {
  { open(); }
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([this] {
      Ledger ledger = open();
      for (int j = 0; j < 10; ++j) ledger.append("a", "s", {{"j", j}});
    });
  }
  for (auto& writer : writers) writer.join();
  Verification result = open().verify();
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result.entries, 40);
  EXPECT_EQ(open().verify(open().head()).problems.size(), 0u);
}

// Else the writer that comes second could write head.json first, and it would lag behind what both were told is kept.
TEST_F(LedgerTest, WritesHeadAndEntryOneWriterAtATime) {
  Ledger ledger = open();
  const host::Path path = folder_.path() / "ledger" / "append.lock";
  std::atomic<bool> over = false;
  std::thread writer;
  {
    const auto held = host::FileLock::take(path, "a test", clock_.now());
    writer = std::thread([&] {
      open().append("a", "s", json::object());
      over = true;
    });
    EXPECT_TRUE(host::testing::until_somebody_waits_for(path, over)) << "it did not wait for the other writer";
    EXPECT_EQ(ledger.head().sequence, 0);
  }
  writer.join();
  EXPECT_EQ(ledger.head().sequence, 1);
}

TEST_F(LedgerTest, TellsItsListenerOnceTheEntryIsDurable) {
  Ledger ledger = open();
  struct Killed {};
  ledger.on_append([&](const Entry& entry) {
    EXPECT_EQ(open().head().sequence, entry.sequence);
    throw Killed{};
  });
  EXPECT_THROW(ledger.append("a", "s", json::object()), Killed);
  EXPECT_EQ(open().head().sequence, 1);
  EXPECT_TRUE(open().verify().ok());
}

TEST_F(LedgerTest, RefusesALedgerOfANewerFormat) {
  fill(1);
  sql("PRAGMA user_version = 2");
  EXPECT_EQ(code_of([&] { open(); }), ErrorCode::unsupported);
}

TEST_F(LedgerTest, RefusesChangesByAccident) {
  fill(2);
  host::Database database(folder_.path() / "ledger" / "ledger.db", host::Durability::process_death);
  EXPECT_THROW(database.execute("DELETE FROM entries WHERE sequence=1"), Error);
  EXPECT_THROW(database.execute("UPDATE entries SET kind='x' WHERE sequence=1"), Error);
}

TEST_F(LedgerTest, FindsEveryFieldOfEveryEntryAltered) {
  fill(5);
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"time_ms", "time_ms+1"},
      {"actor", "'eve@forge'"},
      {"kind", "'bake.failed'"},
      {"subject", "'api'"},
      {"body", "'{\"layers\":9}'"},
      {"previous", "'sha256:' || hex(zeroblob(31)) || 'ab'"},
      {"digest", "'sha256:' || hex(zeroblob(31)) || 'ab'"},
      {"digest", "'nonsense'"},
  };
  for (int sequence = 1; sequence <= 5; ++sequence) {
    for (const auto& [column, value] : changes) {
      const std::string at = " WHERE sequence=" + std::to_string(sequence);
      sql("CREATE TABLE kept AS SELECT * FROM entries" + at);
      sql("UPDATE entries SET " + column + "=" + value + at);
      auto found = problems();
      ASSERT_EQ(found.size(), 1u) << column << " of " << sequence;
      EXPECT_EQ(found[0].sequence, sequence) << column;
      EXPECT_EQ(to_string(found[0].kind), "altered") << column;
      sql("DELETE FROM entries" + at + "; INSERT INTO entries SELECT * FROM kept; DROP TABLE kept");
      ASSERT_TRUE(problems().empty());
    }
  }
}

TEST_F(LedgerTest, FindsAnEntryThatWasForgedWithAFittingDigest) {
  for (int sequence = 1; sequence <= 4; ++sequence) {
    SCOPED_TRACE(sequence);
    host::remove_tree(folder_.path() / "ledger");
    fill(4);
    forge(sequence, R"({"layers":99})");
    auto found = problems();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].kind, Problem::Kind::altered);
    EXPECT_EQ(found[0].sequence, sequence);
  }
}

TEST_F(LedgerTest, FindsTheFirstAMiddleAndTheLastEntryRemoved) {
  for (int sequence : {1, 3, 5}) {
    SCOPED_TRACE(sequence);
    host::remove_tree(folder_.path() / "ledger");
    fill(5);
    sql("DELETE FROM entries WHERE sequence=" + std::to_string(sequence));
    auto found = problems();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].kind, Problem::Kind::removed);
    EXPECT_EQ(found[0].sequence, sequence);
  }
}

TEST_F(LedgerTest, FindsAllEntriesRemoved) {
  fill(3);
  sql("DELETE FROM entries");
  auto found = problems();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_THAT(found[0].what, HasSubstr("1 to 3"));
}

TEST_F(LedgerTest, AppendsNothingAfterALostTail) {
  fill(3);
  sql("DELETE FROM entries WHERE sequence=3");
  Ledger ledger = open();
  EXPECT_EQ(code_of([&] { ledger.append("a", "s", json::object()); }), ErrorCode::corrupt);
  EXPECT_EQ(ledger.head().sequence, 2);
}

TEST_F(LedgerTest, FindsATailThatWasRemovedWithItsHeadFileByAHeadKeptElsewhere) {
  fill(3);
  const Head kept = open().head();
  sql("DELETE FROM entries WHERE sequence=3");
  host::remove_tree(folder_.path() / "ledger" / "head.json");
  auto found = open().verify(kept).problems;
  ASSERT_EQ(found.size(), 2u);
  EXPECT_THAT(found[0].what, HasSubstr("head.json is missing"));
  EXPECT_EQ(found[1].kind, Problem::Kind::removed);
}

TEST_F(LedgerTest, TakesAHeadFileThatLagsBehindAsWhatACrashLeaves) {
  fill(2);
  const std::string old = host::read_file(folder_.path() / "ledger" / "head.json");
  fill(1);
  host::write_file(folder_.path() / "ledger" / "head.json", old);
  EXPECT_TRUE(problems().empty());
  EXPECT_EQ(open().verify().behind, 1);
  fill(1);
  EXPECT_TRUE(problems().empty());
  EXPECT_EQ(open().verify().behind, 0);
}

TEST_F(LedgerTest, FindsTwoEntriesSwapped) {
  for (const auto& [one, other] : std::vector<std::pair<int, int>>{{2, 3}, {1, 4}, {2, 40}}) {
    SCOPED_TRACE(other);
    host::remove_tree(folder_.path() / "ledger");
    fill(other + 1);
    sql("UPDATE entries SET sequence=-1 WHERE sequence=" + std::to_string(one) +
        "; UPDATE entries SET sequence=" + std::to_string(one) + " WHERE sequence=" + std::to_string(other) +
        "; UPDATE entries SET sequence=" + std::to_string(other) + " WHERE sequence=-1");
    auto found = problems();
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].kind, Problem::Kind::reordered);
    EXPECT_EQ(found[0].sequence, one);
    EXPECT_THAT(found[0].what, HasSubstr("entry " + std::to_string(other)));
    EXPECT_EQ(found[1].kind, Problem::Kind::reordered);
    EXPECT_EQ(found[1].sequence, other);
  }
}

TEST_F(LedgerTest, FindsAnInsertedEntryAndTheOnesThatItMoved) {
  fill(4);
  Entry second = open().read()[1];
  Entry inserted = second;
  inserted.sequence = 3;
  inserted.previous = second.digest;
  inserted.body = "{}";
  inserted.digest = digest_of(inserted);
  sql("UPDATE entries SET sequence=-sequence-1 WHERE sequence>2; UPDATE entries SET sequence=-sequence WHERE "
      "sequence<0;"
      "INSERT INTO entries SELECT 3, time_ms, actor, kind, subject, '{}', '" +
      second.digest.str() + "', '" + inserted.digest.str() + "' FROM entries WHERE sequence=2");
  auto found = problems();
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].kind, Problem::Kind::inserted);
  EXPECT_EQ(found[0].sequence, 3);
  EXPECT_EQ(found[1].kind, Problem::Kind::reordered);
  EXPECT_EQ(found[2].kind, Problem::Kind::reordered);
}

TEST_F(LedgerTest, SaysWhenTheHeadFileIsNonsense) {
  fill(2);
  host::write_file(folder_.path() / "ledger" / "head.json", "{");
  auto found = problems();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kind, Problem::Kind::format);
  Ledger ledger = open();
  EXPECT_EQ(code_of([&] { ledger.append("a", "s", json::object()); }), ErrorCode::corrupt);
}

class ExportTest : public LedgerTest {
 protected:
  std::string exported() {
    std::string text;
    open().export_lines([&](std::string_view line) { text += line; });
    return text;
  }
};

TEST_F(ExportTest, IsVerifiedWithoutALedger) {
  fill(4);
  const Verification result = verify_lines(exported(), open().head());
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result.entries, 4);
  EXPECT_EQ(result.head, open().head());
  EXPECT_TRUE(verify_lines("").ok());
}

TEST_F(ExportTest, TellsWhichLineWasAlteredRemovedOrTornOff) {
  fill(4);
  const std::string text = exported();
  const Head head = open().head();
  const auto first = [](const Verification& result) {
    return result.problems.empty() ? Problem{} : result.problems[0];
  };

  std::string altered = text;
  altered.replace(altered.find("1.0.3"), 5, "1.0.9");
  const Verification found = verify_lines(altered, head);
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_EQ(first(found).kind, Problem::Kind::altered);
  EXPECT_EQ(first(found).sequence, 3);
  EXPECT_THAT(first(found).what, HasSubstr("line 3"));

  const std::size_t second = text.find('\n') + 1;
  std::string removed = text;
  removed.erase(second, text.find('\n', second) + 1 - second);
  EXPECT_EQ(first(verify_lines(removed)).kind, Problem::Kind::removed);
  EXPECT_EQ(first(verify_lines(removed)).sequence, 2);

  const std::string shorter = text.substr(0, text.rfind('\n', text.size() - 2) + 1);
  EXPECT_TRUE(verify_lines(shorter).ok()) << "nothing shows it without a head";
  EXPECT_EQ(first(verify_lines(shorter, head)).sequence, 4);
  EXPECT_EQ(first(verify_lines(text.substr(0, text.size() - 5), head)).sequence, 4);
}

TEST_F(ExportTest, ReaderTakesNothingButWhatTheWriterWrote) {
  fill(1);
  const std::string line = to_line(open().read()[0]);
  EXPECT_EQ(parse_line(line), open().read()[0]);
  for (std::size_t size = 0; size < line.size(); ++size) {
    EXPECT_EQ(code_of([&] { parse_line(line.substr(0, size)); }), ErrorCode::invalid) << size;
  }
  // Every byte changed, and random damage: an Error(invalid) each, never a crash and never an entry.
  host::SeededRandom random(11);
  for (int round = 0; round < 4000; ++round) {
    std::string damaged = line;
    const int edits = 1 + static_cast<int>(random.below(3));
    for (int i = 0; i < edits; ++i) {
      const std::size_t at = random.below(damaged.size());
      switch (random.below(3)) {
        case 0:
          damaged[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          damaged.erase(at, 1 + random.below(4));
          break;
        default:
          damaged.insert(at, 1, "{}[]\",:09\\"[random.below(10)]);
          break;
      }
    }
    if (damaged == line) continue;
    EXPECT_EQ(code_of([&] { parse_line(damaged); }), ErrorCode::invalid) << damaged;
  }
  EXPECT_EQ(code_of([&] { parse_line(std::string(5000, '[')); }), ErrorCode::invalid);
}

TEST(Body, WhatCannotBeReadNamesItsEntry) {
  Entry entry;
  entry.sequence = 7;
  entry.kind = "image.baked";
  entry.body = R"({"version": "1.0.0"})";
  std::string version;
  read_body(entry, [&](const json& body) { version = body.at("version"); });
  EXPECT_EQ(version, "1.0.0");
  const auto expect_damage = [&](const char* member) {
    const Error error = testing::failure(
        [&] { read_body(entry, [&](const json& body) { body.at(member).get<std::vector<std::string>>(); }); });
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_THAT(error.message(), HasSubstr("entry 7 (image.baked)"));
    EXPECT_THAT(error.next(), HasSubstr("kiln ledger verify"));
  };
  expect_damage("digest");
  expect_damage("version");
  entry.body = "{";
  expect_damage("version");
}

}  // namespace
}  // namespace kiln::ledger
