// Settings: reading one thing's settings, and refusing what nobody knows.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "base/time.h"
#include "packer/internal/raw.h"

namespace kiln::packer {

const Value* Settings::find(std::string_view key) {
  known_.insert(std::string(key));
  const Value* value = object_.find(key);
  return value == nullptr || value->is(Value::Kind::null) ? nullptr : value;
}

Place Settings::place(std::string_view key) const {
  const Value* value = object_.find(key);
  return value == nullptr || value->place.source == nullptr ? place_ : value->place;
}

std::string Settings::interpolated(const Value& value) const {
  const Place& where = value.place.source == nullptr ? place_ : value.place;
  const auto text = text_of(value);
  if (!text) throw where.error(fmt::format("a string must be here, this is {}", to_string(value.kind)));
  return interpolate(*text, with_, where);
}

std::string Settings::text(std::string_view key, const std::string& otherwise) {
  const Value* value = find(key);
  return value == nullptr ? otherwise : interpolated(*value);
}

std::string Settings::raw_text(std::string_view key, const std::string& otherwise) {
  const Value* value = find(key);
  if (value == nullptr) return otherwise;
  const auto text = text_of(*value);
  if (!text) throw place(key).error(fmt::format("'{}' must be a string", key));
  return *text;
}

std::string Settings::required(std::string_view key) {
  if (!has(key)) throw place_.error(fmt::format("{} has no '{}'", what_, key));
  return text(key);
}

bool Settings::flag(std::string_view key, bool otherwise) {
  const Value* value = find(key);
  if (value == nullptr) return otherwise;
  Value plain = *value;
  if (plain.is(Value::Kind::text)) plain = Value::of(interpolated(*value));
  if (const auto is = boolean_of(plain)) return *is;
  throw place(key).error(fmt::format("'{}' must be true or false", key));
}

std::vector<std::string> Settings::texts(std::string_view key) {
  const Value* value = find(key);
  if (value == nullptr) return {};
  std::vector<std::string> out;
  if (value->is(Value::Kind::list)) {
    for (const Value& item : value->items) out.push_back(interpolated(item));
  } else {
    out.push_back(interpolated(*value));
  }
  return out;
}

std::map<std::string, std::string> Settings::map(std::string_view key) {
  const Value* value = find(key);
  if (value == nullptr) return {};
  if (!value->is(Value::Kind::object)) throw place(key).error(fmt::format("'{}' must be an object", key));
  std::map<std::string, std::string> out;
  for (const auto& [name, member] : value->members) out[interpolate(name, with_, place(key))] = interpolated(member);
  return out;
}

double Settings::seconds(std::string_view key) {
  const std::string written = text(key);
  if (written.empty()) return 0;
  try {
    return std::chrono::duration<double>(parse_duration(written)).count();
  } catch (const Error&) {
    throw place(key).error(fmt::format("'{}' must be a duration", key), "it is written as 10s, 5m or 1h");
  }
}

void Settings::accept(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) known_.insert(std::string(key));
}

void Settings::refuse(std::string_view key, const std::string& why, const std::string& way) {
  if (has(key)) throw place(key).error(fmt::format("'{}' of {} is not supported: {}", key, what_, why), way);
}

void Settings::finish() {
  const std::vector<std::string> names(known_.begin(), known_.end());
  for (const auto& [key, value] : object_.members) {
    if (known_.contains(key)) continue;
    const auto near = nearest(key, names);
    const Place& where = value.place.source == nullptr ? place_ : value.place;
    throw where.error(
        fmt::format("{} has no setting '{}'{}", what_, key, near ? fmt::format("; did you mean '{}'?", *near) : ""),
        "docs/packer.md lists what Kiln knows");
  }
}

bool meant_for(Settings& settings, const RawBuild& build) {
  const auto names = [&](const std::string& one) { return one == build.source || one == build.name; };
  const auto only = settings.texts("only");
  const auto except = settings.texts("except");
  if (!only.empty() && !except.empty())
    throw settings.place("except").error("only one of 'only' and 'except' may be given");
  return (only.empty() || std::ranges::any_of(only, names)) && std::ranges::none_of(except, names);
}

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\"'\"'") : std::string(1, c);
  return out + "'";
}

}  // namespace kiln::packer
