// Database: SQLite, as far as the ledger and the region's journal need it.
//
// One object, one connection, one thread at a time. Several processes may open the same file: writers wait for each
// other up to 10 s. Write-ahead logging; after kill -9 every committed transaction is there. Failures are Errors:
// disk_full, corrupt, io.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "host/file.h"

namespace kiln::host {

enum class Durability {
  power_loss,     // synchronous=FULL: a committed transaction survives a power cut
  process_death,  // synchronous=OFF: survives the death of any process, not of the machine; much quicker
};

class Statement {
 public:
  ~Statement();
  Statement(Statement&&) noexcept;
  Statement& operator=(Statement&&) noexcept;

  // Parameters are numbered from 1.
  Statement& bind(int index, std::string_view text);
  Statement& bind(int index, std::int64_t number);
  // True when there is a row to read.
  bool step();
  // Steps to the end and makes it ready to be bound again.
  void execute();
  void reset();

  std::string text(int column) const;
  std::int64_t integer(int column) const;

 private:
  friend class Database;
  struct State;
  explicit Statement(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class Database {
 public:
  Database(const Path& path, Durability durability);
  ~Database();
  Database(Database&&) noexcept;

  void execute(std::string_view sql);  // one or more statements, no parameters
  Statement prepare(std::string_view sql);

  // Takes the write lock at once (BEGIN IMMEDIATE); rolls back unless `commit` is called.
  class Transaction {
   public:
    explicit Transaction(Database& database);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    void commit();

   private:
    Database& database_;
    bool open_ = true;
  };

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::host
