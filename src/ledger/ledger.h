// Ledger: what must never be forgotten or altered: one append-only, hash-chained log. All of Kiln's other state is a
// view of it.
//
// It lives in a folder: ledger.db (SQLite, every append survives a power cut) and head.json, the newest entry's number
// and digest, written after each append. After a crash every entry whose `append` returned is there; head.json may lag
// behind by entries, never run ahead. Several processes may append to one folder; each object is for one thread at a
// time.
//
// What `verify` can see: any change, removal, insertion or reordering of entries, as long as whoever did it did not
// compute all later digests anew; and the loss of the newest entries, as long as head.json was left as it was. Somebody
// who may write both files can write another history: against that, keep a copy of `head()` elsewhere and give it to
// `verify`.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/clock.h"
#include "host/file.h"
#include "ledger/entry.h"

namespace kiln::ledger {

// The newest entry: sequence 0 and a zero digest while there is none.
struct Head {
  std::int64_t sequence = 0;
  Digest digest;
  bool operator==(const Head&) const = default;
};

struct Query {
  std::int64_t from = 1;     // the first sequence that may be answered
  std::size_t limit = 1000;  // at most this many entries; 0 is all
  std::string kind;     // exactly this kind; or every kind below it when it ends in '.' ("deployment."); empty: any
  std::string subject;  // exactly this subject; empty: any
  bool newest_first = false;  // then `from` is still the lowest sequence
};

// One finding of `verify`.
struct Problem {
  enum class Kind { altered, removed, inserted, reordered, format };
  Kind kind = Kind::altered;
  std::int64_t sequence = 0;  // the entry concerned; of several that were removed, the first
  std::string entry_kind;     // "deployment.started"; empty when the entry is not there
  std::string what;           // a sentence: which field or digest differs, from what
};
std::string_view to_string(Problem::Kind kind);

struct Verification {
  std::int64_t entries = 0;
  Head head;
  std::vector<Problem> problems;  // in order of sequence, at most 100
  // Entries that head.json does not know yet: its writer died between the two. The next append mends it.
  std::int64_t behind = 0;
  bool ok() const { return problems.empty(); }
};

class Ledger {
 public:
  // Opens the ledger in `folder`, and makes both when they are not there. `actor` is written into every entry that this
  // object appends. `clock` must outlive it. Throws Error(unsupported) for a ledger of a newer format, Error(corrupt),
  // Error(io).
  Ledger(const host::Path& folder, const host::Clock& clock, std::string actor);
  ~Ledger();
  Ledger(Ledger&&) noexcept;

  // Durable when it returns. Throws Error(invalid) for fields or a body out of bounds (see entry.h), Error(corrupt)
  // when entries at the end are missing (head.json knows newer ones): then nothing is appended.
  Entry append(std::string_view kind, std::string_view subject, const nlohmann::json& body);

  // Called after each append of this object, once the entry is durable and head.json names it. What it throws climbs
  // out of `append`; the entry stays.
  void on_append(std::function<void(const Entry&)> listener);

  std::vector<Entry> read(const Query& query = {}) const;
  std::optional<Entry> newest(std::string_view kind, std::string_view subject) const;
  Head head() const;

  // Reads and checks everything. `remembered` is a head that was kept elsewhere; head.json is checked in any case.
  Verification verify(const std::optional<Head>& remembered = std::nullopt) const;

  // One line an entry, each with its newline, oldest first.
  void export_lines(const std::function<void(std::string_view)>& sink) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// As Ledger::verify, of what `export_lines` wrote: an export can be checked where there is no ledger. A line that is no
// entry, or whose digest is not its content's, is a finding too, with the number that an entry there must have.
Verification verify_lines(std::string_view text, const std::optional<Head>& remembered = std::nullopt);

}  // namespace kiln::ledger
