// Entry: the bytes that an entry's digest is of, and its form as one line of JSON.
#include "ledger/entry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ledger/body.h"

namespace kiln::ledger {
namespace {

using nlohmann::json;

// The domain of the digest: no other use of SHA-256 begins so. The digit is kFormatVersion.
constexpr std::string_view kDomain = "kiln.ledger.entry.1\n";

void put_u64(std::string& out, std::uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>((number >> shift) & 0xff));
}

void put_text(std::string& out, std::string_view text) {
  put_u64(out, text.size());
  out += text;
}

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::invalid, message); }

void check_value(const json& value, int depth) {
  if (depth > kBodyDepthMax) refuse(fmt::format("the entry's body is nested deeper than {} levels", kBodyDepthMax));
  if (value.is_number_float()) {
    refuse(fmt::format("the entry's body holds the number {}: only whole numbers have one form", value.dump()));
  }
  if (value.is_binary() || value.is_discarded()) refuse("the entry's body holds a value that JSON cannot write");
  if (value.is_structured()) {
    for (const auto& inner : value) check_value(inner, depth + 1);
  }
}

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// JSON readers agree on valid UTF-8 only, so a field that is not would not survive an export.
bool is_utf8(std::string_view text) {
  try {
    (void)json(std::string(text)).dump();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

void check_text(std::string_view field, std::string_view text) {
  if (text.empty()) refuse(fmt::format("the entry's {} is empty", field));
  if (text.size() > kNameBytesMax) {
    refuse(fmt::format("the entry's {} has {} bytes, more than {}", field, text.size(), kNameBytesMax));
  }
  if (has_control(text) || !is_utf8(text)) {
    refuse(fmt::format("the entry's {} holds control characters or is not UTF-8", field));
  }
}

// Refuses nesting before the parser recurses into it, and duplicate keys, which readers resolve differently.
json parse_bounded(std::string_view text, int depth_max) {
  bool too_deep = false;
  const json::parser_callback_t bound = [&](int depth, json::parse_event_t, json&) {
    if (depth > depth_max) too_deep = true;
    return !too_deep;
  };
  json value = json::parse(text, bound, /*allow_exceptions=*/false);
  if (too_deep || value.is_discarded()) refuse("it is not JSON, or is nested too deeply");
  return value;
}

std::string text_of(const json& line, const char* field) {
  const auto& value = line.at(field);
  if (!value.is_string()) refuse(fmt::format("'{}' is not a string", field));
  return value.get<std::string>();
}

constexpr std::array<const char*, 8> kFields = {"actor",    "body",     "digest",  "kind",
                                                "previous", "sequence", "subject", "time"};

}  // namespace

std::string canonical(const nlohmann::json& body) {
  if (!body.is_object()) refuse("the entry's body is not a JSON object");
  check_value(body, 1);
  // nlohmann's objects are sorted by key bytes; no indent, UTF-8 as it is.
  std::string text = body.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kBodyBytesMax) {
    refuse(fmt::format("the entry's body has {} bytes, more than {}", text.size(), kBodyBytesMax));
  }
  return text;
}

Digest digest_of(const Entry& entry) {
  std::string bytes;
  bytes.reserve(entry.body.size() + 256);
  bytes += kDomain;
  put_u64(bytes, static_cast<std::uint64_t>(entry.sequence));
  put_u64(bytes, static_cast<std::uint64_t>(entry.time.time_since_epoch().count()));
  put_text(bytes, entry.actor);
  put_text(bytes, entry.kind);
  put_text(bytes, entry.subject);
  put_text(bytes, entry.body);
  const auto& previous = entry.previous.bytes();
  bytes.append(reinterpret_cast<const char*>(previous.data()), previous.size());
  return sha256(bytes);
}

void check_fields(const Entry& entry) {
  check_text("actor", entry.actor);
  check_text("kind", entry.kind);
  check_text("subject", entry.subject);
  const bool kind_ok = std::ranges::all_of(entry.kind, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
  if (!kind_ok || entry.kind.front() == '.' || entry.kind.back() == '.') {
    refuse(fmt::format("'{}' is no kind of entry: words of a-z, 0-9, '_' and '-', joined by '.'", entry.kind));
  }
  if (entry.body.size() > kBodyBytesMax || canonical(parse_bounded(entry.body, kBodyDepthMax)) != entry.body) {
    refuse("the entry's body is not in canonical form");
  }
}

std::string to_line(const Entry& entry) {
  json line;
  line["sequence"] = entry.sequence;
  line["time"] = format_iso8601(entry.time);
  line["actor"] = entry.actor;
  line["kind"] = entry.kind;
  line["subject"] = entry.subject;
  line["body"] = json::parse(entry.body);
  line["previous"] = entry.previous.str();
  line["digest"] = entry.digest.str();
  return line.dump();
}

Entry parse_line(std::string_view text) {
  if (text.size() > kLineBytesMax)
    refuse(fmt::format("the line has {} bytes, more than {}", text.size(), kLineBytesMax));
  const json line = parse_bounded(text, kBodyDepthMax + 1);
  if (!line.is_object()) refuse("it is not a JSON object");
  for (const auto& [key, value] : line.items()) {
    if (std::ranges::find(kFields, key) == kFields.end()) refuse(fmt::format("it has an unknown field '{}'", key));
  }
  for (const char* field : kFields) {
    if (!line.contains(field)) refuse(fmt::format("it has no field '{}'", field));
  }
  Entry entry;
  if (!line["sequence"].is_number_integer()) refuse("'sequence' is not a whole number");
  if (line["sequence"].is_number_unsigned() &&
      line["sequence"].get<std::uint64_t>() > static_cast<std::uint64_t>(kSequenceMax)) {
    refuse("'sequence' is too large");
  }
  entry.sequence = line["sequence"].get<std::int64_t>();
  if (entry.sequence < 1) refuse("'sequence' is not a positive number");
  entry.time = parse_iso8601(text_of(line, "time"));
  entry.actor = text_of(line, "actor");
  entry.kind = text_of(line, "kind");
  entry.subject = text_of(line, "subject");
  entry.body = canonical(line["body"]);
  entry.previous = Digest::parse(text_of(line, "previous"));
  entry.digest = Digest::parse(text_of(line, "digest"));
  check_fields(entry);
  if (to_line(entry) != text) refuse("it is not written as an export writes it");
  if (digest_of(entry) != entry.digest) {
    refuse(fmt::format("entry {} ({}): its digest is {}, its content's is {}", entry.sequence, entry.kind,
                       entry.digest.short_str(), digest_of(entry).short_str()));
  }
  return entry;
}

void read_body(const Entry& entry, const std::function<void(const nlohmann::json&)>& take) {
  try {
    take(json::parse(entry.body));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::corrupt,
                fmt::format("the ledger's entry {} ({}) cannot be read: {}", entry.sequence, entry.kind, error.what()),
                "Run `kiln ledger verify`.");
  }
}

}  // namespace kiln::ledger
