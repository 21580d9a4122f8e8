// Database: SQLite behind errors of ours.
#include "host/database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/error.h"

namespace kiln::host {
namespace {

[[noreturn]] void fail(sqlite3* connection, const std::string& path, std::string_view attempted) {
  int code = sqlite3_errcode(connection) & 0xff;
  ErrorCode ours = ErrorCode::io;
  std::string next;
  if (code == SQLITE_FULL) {
    ours = ErrorCode::disk_full;
    next = "Free some space on that file system, then run the same command again.";
  } else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
    ours = ErrorCode::corrupt;
    next = "Restore the file from a copy, or move it away to begin anew.";
  } else if (code == SQLITE_BUSY) {
    ours = ErrorCode::held;
  } else if (code == SQLITE_READONLY || code == SQLITE_PERM || code == SQLITE_AUTH || code == SQLITE_CANTOPEN) {
    ours = ErrorCode::denied;
  }
  throw Error(ours, fmt::format("{} in {}: {}", attempted, path, sqlite3_errmsg(connection)), next);
}

}  // namespace

struct Statement::State {
  sqlite3* connection = nullptr;
  sqlite3_stmt* statement = nullptr;
  std::string path;
  ~State() { sqlite3_finalize(statement); }
  void check(int code, std::string_view attempted) const {
    if (code != SQLITE_OK) fail(connection, path, attempted);
  }
};

Statement::Statement(std::unique_ptr<State> state) : state_(std::move(state)) {}
Statement::~Statement() = default;
Statement::Statement(Statement&&) noexcept = default;
Statement& Statement::operator=(Statement&&) noexcept = default;

Statement& Statement::bind(int index, std::string_view text) {
  // SQLite takes a null pointer for NULL; an empty view may have one.
  const char* data = text.data() == nullptr ? "" : text.data();
  state_->check(sqlite3_bind_text64(state_->statement, index, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8),
                "binding");
  return *this;
}

Statement& Statement::bind(int index, std::int64_t number) {
  state_->check(sqlite3_bind_int64(state_->statement, index, number), "binding");
  return *this;
}

bool Statement::step() {
  int code = sqlite3_step(state_->statement);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  fail(state_->connection, state_->path, sqlite3_sql(state_->statement));
}

void Statement::execute() {
  while (step()) {
  }
  reset();
}

void Statement::reset() {
  sqlite3_reset(state_->statement);
  sqlite3_clear_bindings(state_->statement);
}

std::string Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(state_->statement, column));
  auto size = static_cast<std::size_t>(sqlite3_column_bytes(state_->statement, column));
  return data == nullptr ? std::string() : std::string(data, size);
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(state_->statement, column); }

struct Database::State {
  sqlite3* connection = nullptr;
  std::string path;
  ~State() { sqlite3_close(connection); }
};

Database::Database(const Path& path, Durability durability) : state_(std::make_unique<State>()) {
  state_->path = path.string();
  if (sqlite3_open_v2(path.c_str(), &state_->connection,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK) {
    fail(state_->connection, state_->path, "opening the database");
  }
  sqlite3_busy_timeout(state_->connection, 10'000);
  execute("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;");
  execute(durability == Durability::power_loss ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=OFF;");
}

Database::~Database() = default;
Database::Database(Database&&) noexcept = default;

void Database::execute(std::string_view sql) {
  if (sqlite3_exec(state_->connection, std::string(sql).c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    fail(state_->connection, state_->path, sql);
  }
}

Statement Database::prepare(std::string_view sql) {
  auto state = std::make_unique<Statement::State>();
  state->connection = state_->connection;
  state->path = state_->path;
  if (sqlite3_prepare_v2(state_->connection, sql.data(), static_cast<int>(sql.size()), &state->statement, nullptr) !=
      SQLITE_OK) {
    fail(state_->connection, state_->path, sql);
  }
  return Statement(std::move(state));
}

Database::Transaction::Transaction(Database& database) : database_(database) { database_.execute("BEGIN IMMEDIATE"); }

Database::Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.execute("ROLLBACK");
  } catch (const Error&) {
    // SQLite has rolled back by itself where ROLLBACK is refused (a full disk, say).
  }
}

void Database::Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

}  // namespace kiln::host
