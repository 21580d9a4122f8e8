// Entry: one line of the ledger, its digest, and its form as JSON.
//
// The digest is the SHA-256 of a canonical, versioned encoding of every other field (docs/ledger.md gives the bytes);
// `previous` is among them, so each digest stands for the whole history before it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/time.h"

namespace kiln::ledger {

// Of the digest's encoding and of the database; a ledger of a newer version is refused, never guessed at.
inline constexpr int kFormatVersion = 1;

// Bounds of one entry; a field beyond them is an Error(invalid).
inline constexpr std::size_t kNameBytesMax = 256;  // actor, kind, subject
inline constexpr std::size_t kBodyBytesMax = 1 << 20;
inline constexpr std::size_t kLineBytesMax = 2 * kBodyBytesMax;
inline constexpr std::int64_t kSequenceMax = std::int64_t{1} << 53;  // JSON's readers take whole numbers up to it
inline constexpr int kBodyDepthMax = 32;

struct Entry {
  std::int64_t sequence = 0;  // from 1, without a gap
  Time time{};
  std::string actor;    // "user@host"
  std::string kind;     // "bake.finished": words of a-z, 0-9, '_' and '-', joined by '.'
  std::string subject;  // what it is about: "web", or a deployment's id; free text without control characters
  std::string body;     // a JSON object in canonical form
  Digest previous;      // the digest of the entry before it; all zero in the first
  Digest digest;

  bool operator==(const Entry&) const = default;
};

// Keys sorted by bytes, no spaces, no floating point; invalid UTF-8 becomes U+FFFD. Throws Error(invalid) for a float,
// for what is not an object, and beyond the bounds above.
std::string canonical(const nlohmann::json& body);

// What `entry.digest` must be.
Digest digest_of(const Entry& entry);

// Throws Error(invalid) naming the field when actor, kind or subject is not as said above, or the body is not
// canonical.
void check_fields(const Entry& entry);

// One line of an export, without a newline: a JSON object with Entry's fields, `body` as an object.
std::string to_line(const Entry& entry);
// Reads what `to_line` wrote. Throws Error(invalid) on anything else: unknown or missing fields, a body that is not
// canonical, a digest that is not the fields'.
Entry parse_line(std::string_view line);

}  // namespace kiln::ledger
