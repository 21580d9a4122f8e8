// HeaderValues: small readers, each left to right, none of which looks back.
#include "registry/header_values.h"

#include <algorithm>

#include "base/text.h"
#include "http/date.h"

namespace kiln::registry {
namespace {

constexpr std::size_t kParametersMax = 32;
constexpr std::string_view kSpace = " \t";

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  std::size_t position() const { return at_; }
  void go_to(std::size_t position) { at_ = position; }
  void skip(std::string_view which) { at_ = std::min(text_.find_first_not_of(which, at_), text_.size()); }
  bool take(char c) {
    if (peek() != c || at_end()) return false;
    ++at_;
    return true;
  }
  std::string token() {
    const std::size_t start = at_;
    while (!at_end() && is_token_char(text_[at_])) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }
  std::optional<std::string> quoted() {
    if (!take('"')) return std::nullopt;
    std::string value;
    while (!at_end()) {
      char c = text_[at_++];
      if (c == '"') return value;
      if (c == '\\' && !at_end()) c = text_[at_++];
      value += c;
    }
    return std::nullopt;
  }
  std::optional<std::string> until(char end) {
    const std::size_t found = text_.find(end, at_);
    if (found == text_.npos) return std::nullopt;
    std::string value(text_.substr(at_, found - at_));
    at_ = found + 1;
    return value;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// name=value; leaves the reader where it was when there is none.
std::optional<std::pair<std::string, std::string>> parameter(Reader& reader) {
  const std::size_t start = reader.position();
  std::string name = to_lower(reader.token());
  reader.skip(kSpace);
  if (name.empty() || !reader.take('=')) {
    reader.go_to(start);
    return std::nullopt;
  }
  reader.skip(kSpace);
  std::optional<std::string> value = reader.peek() == '"' ? reader.quoted() : std::optional(reader.token());
  if (!value) {
    reader.go_to(start);
    return std::nullopt;
  }
  return std::pair(std::move(name), std::move(*value));
}

std::optional<std::uint64_t> number(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
  const auto value = parse_int(text);
  return value ? std::optional(static_cast<std::uint64_t>(*value)) : std::nullopt;
}

}  // namespace

std::vector<Challenge> parse_challenges(std::string_view value) {
  std::vector<Challenge> challenges;
  Reader reader(value);
  while (true) {
    reader.skip(" \t,");
    Challenge challenge;
    challenge.scheme = to_lower(reader.token());
    if (challenge.scheme.empty()) return challenges;
    while (challenge.parameters.size() < kParametersMax) {
      reader.skip(" \t,");
      auto found = parameter(reader);
      if (!found) break;
      challenge.parameters.insert(std::move(*found));
    }
    challenges.push_back(std::move(challenge));
    if (challenges.size() == kParametersMax) return challenges;
  }
}

std::optional<std::string> parse_next_link(std::string_view value) {
  Reader reader(value);
  while (true) {
    reader.skip(" \t,");
    if (!reader.take('<')) return std::nullopt;
    const auto target = reader.until('>');
    if (!target) return std::nullopt;
    reader.skip(kSpace);
    while (reader.take(';')) {
      reader.skip(kSpace);
      const auto found = parameter(reader);
      if (!found) return std::nullopt;
      if (found->first == "rel" && to_lower(found->second) == "next") return target;
      reader.skip(kSpace);
    }
  }
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  if (!to_lower(value.substr(0, 6)).starts_with("bytes ")) return std::nullopt;
  const std::string_view rest = trim(value.substr(6));
  const std::size_t dash = rest.find('-');
  const std::size_t slash = rest.find('/');
  if (dash == rest.npos || slash == rest.npos || dash > slash) return std::nullopt;
  const auto first = number(rest.substr(0, dash));
  const auto last = number(rest.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *first > *last) return std::nullopt;
  ContentRange range{*first, *last, std::nullopt};
  if (rest.substr(slash + 1) == "*") return range;
  range.total = number(rest.substr(slash + 1));
  if (!range.total || *range.total <= range.last) return std::nullopt;
  return range;
}

std::optional<std::uint64_t> parse_upload_range(std::string_view value) {
  value = trim(value);
  if (value.starts_with("bytes=")) value.remove_prefix(6);
  const std::size_t dash = value.find('-');
  if (dash == value.npos) return std::nullopt;
  const auto first = number(value.substr(0, dash));
  const auto last = number(value.substr(dash + 1));
  if (!first || !last || *first != 0) return std::nullopt;
  return *last == 0 ? 0 : *last + 1;
}

std::optional<Duration> parse_retry_after(std::string_view value, Time now) {
  constexpr std::uint64_t kSecondsMax = 86'400;
  if (const auto seconds = number(trim(value))) {
    return std::chrono::seconds(std::min(*seconds, kSecondsMax));
  }
  const auto date = http::parse_date(trim(value));
  if (!date) return std::nullopt;
  return std::max(Duration(0), std::chrono::duration_cast<Duration>(*date - now));
}

std::string media_type_of(std::string_view content_type) {
  return to_lower(trim(content_type.substr(0, content_type.find(';'))));
}

}  // namespace kiln::registry
