// Verifier: reads entries as they lie in the database and finds what was done to them since they were appended. Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ledger/ledger.h"

namespace kiln::ledger {

inline constexpr std::size_t kProblemsMax = 100;

// A row as it is read: nothing in it is to be believed yet.
struct Row {
  Entry entry;                // without the digests
  std::string previous_text;  // as stored
  std::string digest_text;
};

class Verifier {
 public:
  // What is known of the chain from elsewhere, each with a name for messages: "head.json".
  explicit Verifier(std::vector<std::pair<std::string, Head>> heads) : heads_(std::move(heads)) {}

  // In order of sequence.
  void feed(const Row& row);
  Verification finish();

 private:
  struct Seen {
    Entry entry;
    Digest computed;  // of its fields, with the sequence that it had when it was appended, as far as that can be told
    bool content_ok = true;
    bool blamed = false;
  };

  void check_gap(const Entry& entry);
  bool check_format(const Row& row, Entry& entry);
  void check_content(Seen& now);
  void check_link(Seen& now);
  void check_heads(Seen& now);
  void settle_doubt(bool follower_is_intact);
  void match_suspects();
  void add(Problem::Kind kind, const Entry& entry, std::string what);
  void add_removed(std::int64_t first, std::int64_t last);

  std::vector<std::pair<std::string, Head>> heads_;
  Verification result_;
  std::optional<Seen> last_;
  std::optional<Seen> before_last_;
  bool gap_ = false;  // right before the entry at hand
  std::optional<std::pair<Seen, Seen>>
      doubt_;                    // two neighbours that do not fit, and whose fault it is is not known yet
  std::vector<Entry> suspects_;  // whose fields do not give their digest
};

}  // namespace kiln::ledger
