// Journal: a turn's changes, written as one.
#include "region/journal.h"

#include "host/database.h"

namespace kiln::region {

void LateTables::put(const std::string& table, const std::string& key, std::string text) {
  later(table, key, text);
  all_.put(table, key, std::move(text));
}

void LateTables::erase(const std::string& table, const std::string& key) {
  later(table, key, std::nullopt);
  all_.erase(table, key);
}

void LateTables::later(const std::string& table, const std::string& key, std::optional<std::string> text) {
  loop_.after(delay_, [reader = reader_, alive = alive_, table, key, text = std::move(text)] {
    if (!alive.expired()) reader(table, key, text);
  });
}

void Journal::put(const std::string& table, const std::string& key, std::string text) {
  pending_[{table, key}] = std::move(text);
}

void Journal::erase(const std::string& table, const std::string& key) { pending_[{table, key}] = std::nullopt; }

void Journal::commit() {
  if (pending_.empty()) return;
  if (hook_) hook_();
  Changes changes;
  changes.swap(pending_);
  write(changes);
}

namespace {

host::Database open_records(const host::Path& file) {
  host::Database database(file, host::Durability::process_death);
  database.execute(
      "CREATE TABLE IF NOT EXISTS records (kind TEXT, key TEXT, text TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID");
  return database;
}

}  // namespace

struct FileJournal::State {
  explicit State(const host::Path& file) : database(open_records(file)) {}
  host::Database database;
  host::Statement insert = database.prepare("INSERT OR REPLACE INTO records VALUES (?, ?, ?)");
  host::Statement remove = database.prepare("DELETE FROM records WHERE kind = ? AND key = ?");
};

FileJournal::FileJournal(const host::Path& file) : state_(std::make_unique<State>(file)) {}
FileJournal::~FileJournal() = default;

std::map<std::string, std::string> FileJournal::load(const std::string& table) const {
  std::map<std::string, std::string> records;
  host::Statement rows = state_->database.prepare("SELECT key, text FROM records WHERE kind = ?");
  rows.bind(1, table);
  while (rows.step()) records[rows.text(0)] = rows.text(1);
  return records;
}

void FileJournal::write(const Changes& changes) {
  host::Database::Transaction transaction(state_->database);
  for (const auto& [name, text] : changes) {
    if (text) {
      state_->insert.bind(1, name.first).bind(2, name.second).bind(3, *text).execute();
    } else {
      state_->remove.bind(1, name.first).bind(2, name.second).execute();
    }
  }
  transaction.commit();
}

std::map<std::string, std::string> MemoryJournal::load(const std::string& table) const {
  auto it = tables_.find(table);
  return it == tables_.end() ? std::map<std::string, std::string>() : it->second;
}

void MemoryJournal::write(const Changes& changes) {
  for (const auto& [name, text] : changes) {
    if (text) {
      tables_[name.first][name.second] = *text;
    } else {
      tables_[name.first].erase(name.second);
    }
  }
}

}  // namespace kiln::region
