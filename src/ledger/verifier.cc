// Verifier: altered, removed, inserted and reordered entries, told apart by what the neighbours remember.
#include "ledger/internal/verifier.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace kiln::ledger {
namespace {

// How far an entry may have been renumbered to be recognised at once; farther ones are matched among the suspects.
constexpr std::int64_t kShiftMax = 8;

std::optional<std::int64_t> sequence_that_fits(Entry entry, std::int64_t low, std::int64_t high) {
  for (std::int64_t sequence = std::max<std::int64_t>(1, low); sequence <= high; ++sequence) {
    entry.sequence = sequence;
    if (digest_of(entry) == entry.digest) return sequence;
  }
  return std::nullopt;
}

}  // namespace

std::string_view to_string(Problem::Kind kind) {
  switch (kind) {
    case Problem::Kind::altered:
      return "altered";
    case Problem::Kind::removed:
      return "removed";
    case Problem::Kind::inserted:
      return "inserted";
    case Problem::Kind::reordered:
      return "reordered";
    case Problem::Kind::format:
      return "format";
  }
  return "unknown";
}

Verification verify_lines(std::string_view text, const std::optional<Head>& remembered) {
  std::vector<std::pair<std::string, Head>> heads;
  if (remembered) heads.emplace_back("the remembered head", *remembered);
  Verifier verifier(std::move(heads));
  std::vector<Problem> unreadable;
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    try {
      const Entry entry = parse_line(text.substr(0, end));
      verifier.feed({entry, entry.previous.str(), entry.digest.str()});
    } catch (const Error& error) {
      if (unreadable.size() < kProblemsMax) {
        unreadable.push_back({Problem::Kind::altered, number, "", fmt::format("line {}: {}", number, error.message())});
      }
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  Verification result = verifier.finish();
  result.entries += static_cast<std::int64_t>(unreadable.size());
  // What could not be read is missing from the chain: one finding is enough.
  std::erase_if(result.problems, [&](const Problem& problem) {
    return problem.kind == Problem::Kind::removed &&
           std::ranges::any_of(unreadable, [&](const Problem& line) { return line.sequence == problem.sequence; });
  });
  result.problems.insert(result.problems.end(), unreadable.begin(), unreadable.end());
  std::ranges::stable_sort(result.problems, {}, &Problem::sequence);
  return result;
}

void Verifier::feed(const Row& row) {
  ++result_.entries;
  Seen now;
  now.entry = row.entry;
  gap_ = false;
  check_gap(now.entry);
  if (check_format(row, now.entry)) {
    check_content(now);
    check_link(now);
    check_heads(now);
  } else {
    now.content_ok = false;
    now.blamed = true;
  }
  result_.head = {now.entry.sequence, now.entry.digest};
  before_last_ = std::move(last_);
  last_ = std::move(now);
}

Verification Verifier::finish() {
  const bool head_known = last_ && std::ranges::any_of(heads_, [&](const auto& named) {
                            return named.second == Head{last_->entry.sequence, last_->entry.digest};
                          });
  const bool head_contradicts =
      last_ && std::ranges::any_of(heads_, [&](const auto& named) {
        return named.second.sequence == last_->entry.sequence && named.second.digest != last_->entry.digest;
      });
  settle_doubt(head_known || !head_contradicts);
  std::int64_t newest = 0;
  for (const auto& [name, head] : heads_) newest = std::max(newest, head.sequence);
  const std::int64_t last = last_ ? last_->entry.sequence : 0;
  if (newest > last) add_removed(last + 1, newest);
  match_suspects();
  std::ranges::stable_sort(result_.problems, {}, &Problem::sequence);
  return std::move(result_);
}

void Verifier::check_gap(const Entry& entry) {
  const std::int64_t expected = last_ ? last_->entry.sequence + 1 : 1;
  if (entry.sequence > expected) {
    gap_ = true;
    add_removed(expected, entry.sequence - 1);
  } else if (entry.sequence < expected) {
    add(Problem::Kind::format, entry, fmt::format("its number is {}, where {} is expected", entry.sequence, expected));
  }
}

bool Verifier::check_format(const Row& row, Entry& entry) {
  try {
    entry.previous = Digest::parse(row.previous_text);
    entry.digest = Digest::parse(row.digest_text);
    return true;
  } catch (const Error&) {
    settle_doubt(true);
    add(Problem::Kind::altered, entry, "its digest, or that of the entry before it, is not a digest");
    return false;
  }
}

// The digest stands for all fields: when they do not give it, one of them was changed, or the digest itself.
void Verifier::check_content(Seen& now) {
  now.computed = digest_of(now.entry);
  if (now.computed == now.entry.digest) return;
  auto was = sequence_that_fits(now.entry, now.entry.sequence - kShiftMax, now.entry.sequence + kShiftMax);
  if (was) {
    now.computed = now.entry.digest;
    now.blamed = true;
    add(Problem::Kind::reordered, now.entry, fmt::format("it was appended as entry {}", *was));
    return;
  }
  now.content_ok = false;
  now.blamed = true;
  suspects_.push_back(now.entry);
}

void Verifier::check_link(Seen& now) {
  // What the entry before the last two remember decides whose fault an earlier doubt is.
  settle_doubt(last_ && now.entry.previous == last_->entry.digest);
  if (gap_) return;
  const Digest expected = last_ ? last_->entry.digest : Digest();
  if (now.entry.previous == expected) return;
  if (last_ && last_->blamed) return;  // the neighbour is known to be false
  if (last_ && now.entry.previous == (before_last_ ? before_last_->entry.digest : Digest())) {
    last_->blamed = true;
    add(Problem::Kind::inserted, last_->entry,
        fmt::format("the entry after it ({}) follows the one before it", now.entry.kind));
    return;
  }
  if (!now.content_ok || now.blamed) return;
  if (!last_) {
    add(Problem::Kind::altered, now.entry, "it is the first, and yet follows another entry");
    now.blamed = true;
    return;
  }
  doubt_ = {*last_, now};
}

// Of two neighbours of which each is whole by itself, the second remembers another first. If the entry after the second
// knows the second, the first was replaced.
void Verifier::settle_doubt(bool follower_is_intact) {
  if (!doubt_) return;
  const auto [first, second] = *std::exchange(doubt_, std::nullopt);
  if (follower_is_intact) {
    if (!first.blamed) {
      add(Problem::Kind::altered, first.entry,
          fmt::format("its digest is {}, and the entry after it remembers {}", first.entry.digest.short_str(),
                      second.entry.previous.short_str()));
    }
  } else {
    add(Problem::Kind::altered, second.entry,
        fmt::format("it follows {}, and the entry before it is {}", second.entry.previous.short_str(),
                    first.entry.digest.short_str()));
  }
}

void Verifier::check_heads(Seen& now) {
  for (const auto& [name, head] : heads_) {
    if (head.sequence != now.entry.sequence || head.digest == now.entry.digest || now.blamed) continue;
    now.blamed = true;
    add(Problem::Kind::altered, now.entry,
        fmt::format("its digest is {}, and {} remembers {}", now.entry.digest.short_str(), name,
                    head.digest.short_str()));
  }
}

// An entry that stands where another should be is found by trying the places of the others.
void Verifier::match_suspects() {
  const std::size_t count = std::min(suspects_.size(), kProblemsMax);
  for (std::size_t i = 0; i < count; ++i) {
    const Entry& entry = suspects_[i];
    std::optional<std::int64_t> was;
    for (std::size_t j = 0; j < count && !was; ++j) {
      was = sequence_that_fits(entry, suspects_[j].sequence, suspects_[j].sequence);
    }
    if (was) {
      add(Problem::Kind::reordered, entry, fmt::format("it was appended as entry {}", *was));
    } else {
      add(Problem::Kind::altered, entry,
          fmt::format("its digest is {}, and its fields give {}", entry.digest.short_str(),
                      digest_of(entry).short_str()));
    }
  }
}

void Verifier::add(Problem::Kind kind, const Entry& entry, std::string what) {
  if (result_.problems.size() >= kProblemsMax) return;
  result_.problems.push_back({kind, entry.sequence, entry.kind, std::move(what)});
}

void Verifier::add_removed(std::int64_t first, std::int64_t last) {
  if (result_.problems.size() >= kProblemsMax) return;
  std::string what = first == last ? fmt::format("entry {} is missing", first)
                                   : fmt::format("entries {} to {} are missing", first, last);
  result_.problems.push_back({Problem::Kind::removed, first, "", std::move(what)});
}

}  // namespace kiln::ledger
