// Value: conversions as HCL2 makes them, and their limits.
#include "packer/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace kiln::packer {
namespace {

std::size_t weigh_below(const Value& value, const Place& place, std::size_t weight, int depth) {
  if (depth > kDepthMax) throw place.error("this value is nested too deeply");
  weight += 1 + value.text.size();
  for (const Value& item : value.items) weight = weigh_below(item, place, weight, depth + 1);
  for (const auto& [name, member] : value.members) weight = weigh_below(member, place, weight + name.size(), depth + 1);
  if (weight > kWeightMax) throw place.error("this value is too large");
  return weight;
}

nlohmann::json json_of(const Value& value) {
  switch (value.kind) {
    case Value::Kind::null:
      return nullptr;
    case Value::Kind::boolean:
      return value.boolean;
    case Value::Kind::number:
      if (value.number == std::floor(value.number) && std::fabs(value.number) < 9e15)
        return static_cast<std::int64_t>(value.number);
      return value.number;
    case Value::Kind::text:
      return value.text;
    case Value::Kind::list: {
      nlohmann::json list = nlohmann::json::array();
      for (const Value& item : value.items) list.push_back(json_of(item));
      return list;
    }
    case Value::Kind::object:
      break;
  }
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [name, member] : value.members) object[name] = json_of(member);
  return object;
}

}  // namespace

Error Place::error(const std::string& message, std::string next) const {
  if (source == nullptr) return {ErrorCode::usage, message, std::move(next)};
  return source->error(where, message, std::move(next));
}

Value Value::of(bool value) {
  Value out;
  out.kind = Kind::boolean;
  out.boolean = value;
  return out;
}

Value Value::of(double value) {
  Value out;
  out.kind = Kind::number;
  out.number = value;
  return out;
}

Value Value::of(std::string value) {
  Value out;
  out.kind = Kind::text;
  out.text = std::move(value);
  return out;
}

Value Value::list(std::vector<Value> values) {
  Value out;
  out.kind = Kind::list;
  out.items = std::move(values);
  return out;
}

Value Value::object(Members values) {
  Value out;
  out.kind = Kind::object;
  out.members = std::move(values);
  return out;
}

const Value* Value::find(std::string_view name) const {
  for (const auto& [key, member] : members) {
    if (key == name) return &member;
  }
  return nullptr;
}

Value& Value::set(const std::string& name, Value value) {
  for (auto& [key, member] : members) {
    if (key == name) return member = std::move(value);
  }
  return members.emplace_back(name, std::move(value)).second;
}

bool Value::operator==(const Value& other) const {
  if (kind != other.kind) return false;
  switch (kind) {
    case Kind::null:
      return true;
    case Kind::boolean:
      return boolean == other.boolean;
    case Kind::number:
      return number == other.number;
    case Kind::text:
      return text == other.text;
    case Kind::list:
      return items == other.items;
    case Kind::object:
      break;
  }
  return members.size() == other.members.size() && std::ranges::all_of(members, [&](const auto& member) {
           const Value* same = other.find(member.first);
           return same != nullptr && *same == member.second;
         });
}

std::string_view to_string(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::null:
      return "null";
    case Value::Kind::boolean:
      return "a bool";
    case Value::Kind::number:
      return "a number";
    case Value::Kind::text:
      return "a string";
    case Value::Kind::list:
      return "a list";
    case Value::Kind::object:
      return "an object";
  }
  return "";
}

std::optional<std::string> text_of(const Value& value) {
  switch (value.kind) {
    case Value::Kind::text:
      return value.text;
    case Value::Kind::boolean:
      return value.boolean ? "true" : "false";
    case Value::Kind::number:
      if (value.number == std::floor(value.number) && std::fabs(value.number) < 9e15)
        return fmt::format("{}", static_cast<std::int64_t>(value.number));
      return fmt::format("{}", value.number);
    default:
      return std::nullopt;
  }
}

std::optional<double> number_of(const Value& value) {
  if (value.is(Value::Kind::number)) return value.number;
  if (!value.is(Value::Kind::text) || value.text.empty()) return std::nullopt;
  double number = 0;
  const char* end = value.text.data() + value.text.size();
  const auto read = std::from_chars(value.text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end || !std::isfinite(number)) return std::nullopt;
  return number;
}

std::optional<bool> boolean_of(const Value& value) {
  if (value.is(Value::Kind::boolean)) return value.boolean;
  if (value.is(Value::Kind::text) && (value.text == "true" || value.text == "false")) return value.text == "true";
  return std::nullopt;
}

std::size_t weigh(const Value& value, const Place& place) { return weigh_below(value, place, 0, 0); }

// HCL2 writes '<', '>' and '&' as Go does.
std::string to_json(const Value& value) {
  const std::string plain = json_of(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string out;
  for (const char c : plain) {
    if (c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace kiln::packer
