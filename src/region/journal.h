// Journal: what the region must know after its control plane died: a table of records a kind of thing.
//
// Who keeps records in it sees `Tables`. Changes of one turn of the loop are kept aside and committed together at its
// end (`commit`); answers go out only after that, so an acknowledged call survives kill -9, and half a call is never
// seen. Not made for power cuts: the machines would be gone with them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/time.h"
#include "host/file.h"
#include "host/loop.h"

namespace kiln::region {

class Tables {
 public:
  virtual ~Tables() = default;
  virtual void put(const std::string& table, const std::string& key, std::string text) = 0;
  virtual void erase(const std::string& table, const std::string& key) = 0;
  // What was committed, by key. For the beginning, before anything is put.
  virtual std::map<std::string, std::string> load(const std::string& table) const = 0;
};

// The tables whose names begin with `prefix`, by the rest of their names.
class PrefixedTables final : public Tables {
 public:
  // `all` must outlive it.
  PrefixedTables(Tables& all, std::string prefix) : all_(all), prefix_(std::move(prefix)) {}
  void put(const std::string& table, const std::string& key, std::string text) override {
    all_.put(prefix_ + table, key, std::move(text));
  }
  void erase(const std::string& table, const std::string& key) override { all_.erase(prefix_ + table, key); }
  std::map<std::string, std::string> load(const std::string& table) const override {
    return all_.load(prefix_ + table);
  }

 private:
  Tables& all_;
  std::string prefix_;
};

// Hands every change on to a reader, some time after it was made.
class LateTables final : public Tables {
 public:
  using Reader =
      std::function<void(const std::string& table, const std::string& key, const std::optional<std::string>& text)>;
  // All must outlive it.
  LateTables(Tables& all, host::Loop& loop, Duration delay) : all_(all), loop_(loop), delay_(delay) {}
  // The loop may still hold changes when this goes: `reader` is only called while `alive` is.
  void hand_on(Reader reader, std::weak_ptr<void> alive) {
    reader_ = std::move(reader);
    alive_ = std::move(alive);
  }
  void put(const std::string& table, const std::string& key, std::string text) override;
  void erase(const std::string& table, const std::string& key) override;
  std::map<std::string, std::string> load(const std::string& table) const override { return all_.load(table); }

 private:
  void later(const std::string& table, const std::string& key, std::optional<std::string> text);

  Tables& all_;
  host::Loop& loop_;
  Duration delay_;
  Reader reader_;
  std::weak_ptr<void> alive_;
};

class Journal : public Tables {
 public:
  void put(const std::string& table, const std::string& key, std::string text) final;
  void erase(const std::string& table, const std::string& key) final;

  // Makes the turn's changes last. Nothing to do is cheap.
  void commit();
  // Called before each commit that has something to write; what it throws stops the commit (a death in a test).
  void before_commit(std::function<void()> hook) { hook_ = std::move(hook); }
  // Drops what was not committed.
  void forget() { pending_.clear(); }

 protected:
  using Changes = std::map<std::pair<std::string, std::string>, std::optional<std::string>>;  // nullopt: erased
  virtual void write(const Changes& changes) = 0;

 private:
  Changes pending_;
  std::function<void()> hook_;
};

// In one SQLite file.
class FileJournal final : public Journal {
 public:
  explicit FileJournal(const host::Path& file);
  ~FileJournal() override;
  std::map<std::string, std::string> load(const std::string& table) const override;

 protected:
  void write(const Changes& changes) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// For tests and simulation: outlives the region that writes it.
class MemoryJournal final : public Journal {
 public:
  std::map<std::string, std::string> load(const std::string& table) const override;

 protected:
  void write(const Changes& changes) override;

 private:
  std::map<std::string, std::map<std::string, std::string>> tables_;
};

}  // namespace kiln::region
