// Ledger: entries in SQLite, one transaction an append, and the newest one's digest beside it.
#include "ledger/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "host/database.h"
#include "host/lock.h"
#include "ledger/internal/verifier.h"

namespace kiln::ledger {
namespace {

using nlohmann::json;

// The triggers stop accidents, not attackers: those are found by `verify`.
constexpr std::string_view kSchema = R"sql(
CREATE TABLE IF NOT EXISTS entries (
  sequence INTEGER PRIMARY KEY,
  time_ms  INTEGER NOT NULL,
  actor    TEXT NOT NULL,
  kind     TEXT NOT NULL,
  subject  TEXT NOT NULL,
  body     TEXT NOT NULL,
  previous TEXT NOT NULL,
  digest   TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_kind ON entries (kind, sequence);
CREATE INDEX IF NOT EXISTS entries_by_subject ON entries (subject, sequence);
CREATE TRIGGER IF NOT EXISTS entries_are_not_changed BEFORE UPDATE ON entries
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_are_not_removed BEFORE DELETE ON entries
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
)sql";

constexpr std::string_view kColumns = "sequence, time_ms, actor, kind, subject, body, previous, digest";
constexpr std::string_view kVerifyNext = "Run `kiln ledger verify` to see which entries are concerned.";

Row row_of(const host::Statement& statement) {
  Row row;
  row.entry.sequence = statement.integer(0);
  row.entry.time = Time(Duration(statement.integer(1)));
  row.entry.actor = statement.text(2);
  row.entry.kind = statement.text(3);
  row.entry.subject = statement.text(4);
  row.entry.body = statement.text(5);
  row.previous_text = statement.text(6);
  row.digest_text = statement.text(7);
  return row;
}

Entry entry_of(const host::Statement& statement) {
  Row row = row_of(statement);
  try {
    row.entry.previous = Digest::parse(row.previous_text);
    row.entry.digest = Digest::parse(row.digest_text);
  } catch (const Error&) {
    throw Error(ErrorCode::corrupt, fmt::format("the ledger's entry {} has no digest", row.entry.sequence),
                std::string(kVerifyNext));
  }
  return row.entry;
}

// The first string after all those that begin with `prefix`, which ends in '.': '/' follows '.' in ASCII.
std::string after_prefix(std::string_view prefix) { return std::string(prefix.substr(0, prefix.size() - 1)) + "/"; }

}  // namespace

struct Ledger::State {
  host::Path folder;
  const host::Clock& clock;
  std::string actor;
  host::Database database;
  std::function<void(const Entry&)> listener;

  host::Path head_path() const { return folder / "head.json"; }
  host::FileLock lock() const { return host::FileLock::wait(folder / "append.lock", "appending", clock.now()); }

  Head head() {
    auto statement = database.prepare("SELECT sequence, digest FROM entries ORDER BY sequence DESC LIMIT 1");
    if (!statement.step()) return {};
    try {
      return {statement.integer(0), Digest::parse(statement.text(1))};
    } catch (const Error&) {
      throw Error(ErrorCode::corrupt, fmt::format("the ledger's entry {} has no digest", statement.integer(0)),
                  std::string(kVerifyNext));
    }
  }

  // nullopt when there is no such file. Throws Error(corrupt).
  std::optional<Head> remembered() const {
    std::string text;
    try {
      text = host::read_file(head_path());
    } catch (const Error& error) {
      if (error.code() == ErrorCode::not_found) return std::nullopt;
      throw;
    }
    try {
      json file = json::parse(text);
      return Head{file.at("sequence").get<std::int64_t>(), Digest::parse(file.at("digest").get<std::string>())};
    } catch (const std::exception&) {
      throw Error(ErrorCode::corrupt, fmt::format("{} cannot be read", head_path().string()),
                  "Run `kiln ledger verify`; when it finds nothing else, remove the file.");
    }
  }

  void remember(const Head& head) const {
    json file = {{"version", kFormatVersion}, {"sequence", head.sequence}, {"digest", head.digest.str()}};
    host::write_file(head_path(), file.dump() + "\n");
  }

  // The newest entries may only be missing from head.json, never from the database.
  void check_tail(const Head& newest) const {
    auto known = remembered();
    if (!known || known->sequence < newest.sequence || *known == newest) return;
    const std::string what =
        known->sequence > newest.sequence
            ? fmt::format("the ledger's entries {} to {} are missing", newest.sequence + 1, known->sequence)
            : fmt::format("the ledger's entry {} is not the one that was appended", newest.sequence);
    throw Error(ErrorCode::corrupt, what + " in " + folder.string(), std::string(kVerifyNext));
  }

  void insert(const Entry& entry) {
    database
        .prepare(
            "INSERT INTO entries (sequence, time_ms, actor, kind, subject, body, previous, digest) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
        .bind(1, entry.sequence)
        .bind(2, static_cast<std::int64_t>(entry.time.time_since_epoch().count()))
        .bind(3, entry.actor)
        .bind(4, entry.kind)
        .bind(5, entry.subject)
        .bind(6, entry.body)
        .bind(7, entry.previous.str())
        .bind(8, entry.digest.str())
        .execute();
  }
};

namespace {

host::Database open(const host::Path& folder) {
  host::make_folders(folder, 0700);
  const host::Path path = folder / "ledger.db";
  host::Database database(path, host::Durability::power_loss);
  auto statement = database.prepare("PRAGMA user_version");
  statement.step();
  const std::int64_t version = statement.integer(0);
  statement.reset();
  if (version > kFormatVersion) {
    throw Error(
        ErrorCode::unsupported,
        fmt::format("the ledger {} has format {}, and this Kiln knows {}", path.string(), version, kFormatVersion),
        "Use the version of Kiln that wrote it, or a newer one.");
  }
  if (version == 0) {
    database.execute(kSchema);
    database.execute(fmt::format("PRAGMA user_version = {}", kFormatVersion));
  }
  return database;
}

}  // namespace

Ledger::Ledger(const host::Path& folder, const host::Clock& clock, std::string actor)
    : state_(new State{folder, clock, std::move(actor), open(folder), {}}) {}
Ledger::~Ledger() = default;
Ledger::Ledger(Ledger&&) noexcept = default;

void Ledger::on_append(std::function<void(const Entry&)> listener) { state_->listener = std::move(listener); }

Entry Ledger::append(std::string_view kind, std::string_view subject, const nlohmann::json& body) {
  Entry entry;
  entry.actor = state_->actor;
  entry.kind = kind;
  entry.subject = subject;
  entry.body = canonical(body);
  check_fields(entry);
  {
    // The lock keeps head.json in the order of the entries; the transaction keeps the chain.
    const auto lock = state_->lock();
    host::Database::Transaction transaction(state_->database);
    const Head newest = state_->head();
    state_->check_tail(newest);
    entry.sequence = newest.sequence + 1;
    entry.previous = newest.digest;
    entry.time = state_->clock.now();
    entry.digest = digest_of(entry);
    state_->insert(entry);
    transaction.commit();
    state_->remember({entry.sequence, entry.digest});
  }
  if (state_->listener) state_->listener(entry);
  return entry;
}

std::vector<Entry> Ledger::read(const Query& query) const {
  std::string where = "sequence >= ?1";
  const bool prefix = query.kind.ends_with('.');
  if (!query.kind.empty()) where += prefix ? " AND kind >= ?2 AND kind < ?3" : " AND kind = ?2";
  if (!query.subject.empty()) where += " AND subject = ?4";
  auto statement = state_->database.prepare(fmt::format("SELECT {} FROM entries WHERE {} ORDER BY sequence {} LIMIT ?5",
                                                        kColumns, where, query.newest_first ? "DESC" : "ASC"));
  statement.bind(1, query.from);
  if (!query.kind.empty()) {
    statement.bind(2, query.kind);
    if (prefix) statement.bind(3, after_prefix(query.kind));
  }
  if (!query.subject.empty()) statement.bind(4, query.subject);
  statement.bind(5, query.limit == 0 ? std::int64_t{-1} : static_cast<std::int64_t>(query.limit));
  std::vector<Entry> entries;
  while (statement.step()) entries.push_back(entry_of(statement));
  return entries;
}

std::optional<Entry> Ledger::newest(std::string_view kind, std::string_view subject) const {
  Query query;
  query.kind = kind;
  query.subject = subject;
  query.newest_first = true;
  query.limit = 1;
  auto entries = read(query);
  if (entries.empty()) return std::nullopt;
  return entries.front();
}

Head Ledger::head() const { return state_->head(); }

Verification Ledger::verify(const std::optional<Head>& remembered) const {
  std::vector<std::pair<std::string, Head>> heads;
  std::optional<Problem> head_problem;
  // Read before the entries: another process may append meanwhile, and then head.json would be ahead of them.
  std::optional<Head> known;
  try {
    known = state_->remembered();
    if (known) heads.emplace_back("head.json", *known);
  } catch (const Error& error) {
    head_problem = Problem{Problem::Kind::format, 0, "", error.message()};
  }
  const bool head_missing = heads.empty() && !head_problem;
  if (remembered) heads.emplace_back("the remembered head", *remembered);
  Verifier verifier(std::move(heads));
  auto statement = state_->database.prepare(fmt::format("SELECT {} FROM entries ORDER BY sequence", kColumns));
  while (statement.step()) verifier.feed(row_of(statement));
  Verification result = verifier.finish();
  // A crash in the very first append is the only honest way to entries without the file.
  if (head_missing && result.entries > 1) {
    head_problem = Problem{
        Problem::Kind::format, 0, "",
        fmt::format("{} is missing: the loss of the newest entries could not be seen", state_->head_path().string())};
  }
  if (known) result.behind = std::max<std::int64_t>(0, result.head.sequence - known->sequence);
  if (head_problem) result.problems.insert(result.problems.begin(), *head_problem);
  return result;
}

void Ledger::export_lines(const std::function<void(std::string_view)>& sink) const {
  auto statement = state_->database.prepare(fmt::format("SELECT {} FROM entries ORDER BY sequence", kColumns));
  while (statement.step()) {
    const Entry entry = entry_of(statement);
    if (!json::accept(entry.body)) {
      throw Error(ErrorCode::corrupt, fmt::format("the body of the ledger's entry {} is not JSON", entry.sequence),
                  std::string(kVerifyNext));
    }
    sink(to_line(entry) + "\n");
  }
}

}  // namespace kiln::ledger
