// HeaderValues: the header fields of a registry's answers that have a grammar of their own. Whatever cannot be read is
// nothing, never a guess.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace kiln::registry {

// One way to say who we are (RFC 9110, section 11.6.1): `Bearer realm="https://auth/token",service="r"`.
struct Challenge {
  std::string scheme;                             // small letters
  std::map<std::string, std::string> parameters;  // names in small letters
  bool operator==(const Challenge&) const = default;
};
// WWW-Authenticate; what comes after something unreadable is left out.
std::vector<Challenge> parse_challenges(std::string_view value);

// The target of rel="next" in a Link field (RFC 8288), as it stands.
std::optional<std::string> parse_next_link(std::string_view value);

// "bytes 5-9/10"; `total` is absent for '*'.
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> total;
  bool operator==(const ContentRange&) const = default;
};
std::optional<ContentRange> parse_content_range(std::string_view value);

// Range of an upload, "0-1023" (some write "bytes=0-1023"): how many bytes have arrived. Registries write "0-0" for
// none.
std::optional<std::uint64_t> parse_upload_range(std::string_view value);

// Retry-After in seconds or as a date, seen from `now`; never below zero.
std::optional<Duration> parse_retry_after(std::string_view value, Time now);

// "Application/JSON; charset=utf-8" → "application/json".
std::string media_type_of(std::string_view content_type);

}  // namespace kiln::registry
