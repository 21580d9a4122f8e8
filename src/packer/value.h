// Value: what a template says, JSON or HCL2: one type for both, each with the place where it was written.
//
// Plain values, copied freely. How large a template may make them is bounded by `kWeightMax`.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spec/source.h"

namespace kiln::packer {

// Bytes and elements of one value; a template that makes more is refused, before it fills the memory.
inline constexpr std::size_t kWeightMax = std::size_t{2} << 20;
// How deep blocks, brackets and values may be nested.
inline constexpr int kDepthMax = 64;
// Members of one object, which are looked up one after the other.
inline constexpr std::size_t kMembersMax = 4096;

// Where in which file. The source must outlive it; `source` is null for what no file says.
struct Place {
  const spec::Source* source = nullptr;
  spec::Location where{};

  // Error(usage) that quotes the line.
  [[nodiscard]] Error error(const std::string& message, std::string next = {}) const;
};

struct Value {
  enum class Kind { null, boolean, number, text, list, object };
  using Members = std::vector<std::pair<std::string, Value>>;

  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string text{};
  std::vector<Value> items;
  Members members;  // in the order of the file
  Place place{};

  static Value of(bool value);
  static Value of(double value);
  static Value of(std::string value);
  static Value of(const char* value) { return of(std::string(value)); }
  static Value list(std::vector<Value> values = {});
  static Value object(Members values = {});

  bool is(Kind other) const { return kind == other; }
  const Value* find(std::string_view name) const;  // a member of an object; null when there is none
  Value& set(const std::string& name, Value value);
  bool operator==(const Value& other) const;  // the places do not matter
};

std::string_view to_string(Value::Kind kind);

// As HCL2 and Packer convert: true → "true", 3 → "3", 2.5 → "2.5"; nullopt for null, lists and objects.
std::optional<std::string> text_of(const Value& value);
std::optional<double> number_of(const Value& value);  // a number, or a text that is one
std::optional<bool> boolean_of(const Value& value);   // a bool, or the text "true" or "false"

// Elements and bytes. Throws Error(usage) at `place` above kWeightMax, or when it is nested too deeply.
std::size_t weigh(const Value& value, const Place& place);

// JSON text of it, compact, members sorted as HCL2's jsonencode does.
std::string to_json(const Value& value);
// Throws Error(usage) with line and column of `source`. Comments are not JSON and are refused.
Value read_json(const spec::Source& source);

}  // namespace kiln::packer
