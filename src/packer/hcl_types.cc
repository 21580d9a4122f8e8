// converted: what a variable's type makes of a value.
#include "packer/internal/hcl_types.h"

#include <fmt/format.h>

namespace kiln::packer {

Value converted(Value value, const Expression& type, const Place& place, int depth) {
  if (depth > kDepthMax) throw type.place.error("this type is nested too deeply");
  if (value.is(Value::Kind::null)) return value;
  const auto wrong = [&](const std::string& wanted) {
    return place.error(fmt::format("{} must be here, this is {}", wanted, to_string(value.kind)));
  };
  using Kind = Expression::Kind;
  // `type = "string"` is how it was written first.
  const std::string name = type.kind == Kind::literal && type.value.is(Value::Kind::text) ? type.value.text : type.name;
  if (type.kind == Kind::name || type.kind == Kind::literal) {
    if (name == "any" || name == "list" || name == "map") return value;
    if (name == "string") {
      const auto text = text_of(value);
      if (!text) throw wrong("a string");
      return Value::of(*text);
    }
    if (name == "number") {
      const auto number = number_of(value);
      if (!number) throw wrong("a number");
      return Value::of(*number);
    }
    if (name == "bool") {
      const auto is = boolean_of(value);
      if (!is) throw wrong("true or false");
      return Value::of(*is);
    }
  }
  if (type.kind != Kind::call || type.parts.size() != 1)
    throw type.place.error("this is not a type",
                           "types are string, number, bool, list(..), set(..), map(..), object({..}), any");
  const Expression& inner = *type.parts[0];
  if (name == "list" || name == "set") {
    if (!value.is(Value::Kind::list)) throw wrong("a list");
    for (Value& item : value.items) item = converted(std::move(item), inner, place, depth + 1);
  } else if (name == "map") {
    if (!value.is(Value::Kind::object)) throw wrong("an object");
    for (auto& [key, member] : value.members) member = converted(std::move(member), inner, place, depth + 1);
  } else if (name == "object" && inner.kind == Kind::object) {
    if (!value.is(Value::Kind::object)) throw wrong("an object");
    for (std::size_t i = 0; i + 1 < inner.parts.size(); i += 2) {
      const std::string& key = inner.parts[i]->value.text;
      const Value* member = value.find(key);
      if (member == nullptr) throw place.error(fmt::format("the object has no '{}'", key));
      value.set(key, converted(Value(*member), *inner.parts[i + 1], place, depth + 1));
    }
  } else if (name == "tuple" && inner.kind == Kind::list) {
    if (!value.is(Value::Kind::list) || value.items.size() != inner.parts.size())
      throw wrong(fmt::format("a list of {} elements", inner.parts.size()));
    for (std::size_t i = 0; i < inner.parts.size(); ++i)
      value.items[i] = converted(std::move(value.items[i]), *inner.parts[i], place, depth + 1);
  } else {
    throw type.place.error(fmt::format("there is no type '{}'", name),
                           "types are string, number, bool, list(..), set(..), map(..), object({..}), any");
  }
  return value;
}

}  // namespace kiln::packer
