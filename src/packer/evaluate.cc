// Evaluator: one function for each kind of expression.
#include "packer/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace kiln::packer {
namespace {

using Kind = Expression::Kind;

constexpr const char* kItem = "*";  // no name of the user's

Value member_of(const Value& of, const std::string& name, const Place& place) {
  if (!of.is(Value::Kind::object)) throw place.error(fmt::format("{} has no '{}'", to_string(of.kind), name));
  if (const Value* member = of.find(name)) return *member;
  std::vector<std::string> names;
  for (const auto& [key, value] : of.members) names.push_back(key);
  const auto near = nearest(name, names);
  throw place.error(
      fmt::format("there is no '{}' here{}", name, near ? fmt::format("; did you mean '{}'?", *near) : ""));
}

Value element_of(const Value& of, const Value& key, const Place& place) {
  if (of.is(Value::Kind::object)) {
    const auto name = text_of(key);
    if (!name) throw place.error("a key must be a string");
    return member_of(of, *name, place);
  }
  if (!of.is(Value::Kind::list)) throw place.error(fmt::format("{} has no elements", to_string(of.kind)));
  const auto number = number_of(key);
  if (!number || *number != std::floor(*number)) throw place.error("a list's index must be a whole number");
  if (*number < 0 || *number >= static_cast<double>(of.items.size()))
    throw place.error(
        fmt::format("the list has {} elements, none has the index {}", of.items.size(), *text_of(Value::of(*number))));
  return of.items.at(static_cast<std::size_t>(*number));
}

}  // namespace

std::vector<std::pair<Value, Value>> elements(const Value& of, const Place& place) {
  std::vector<std::pair<Value, Value>> out;
  if (of.is(Value::Kind::list)) {
    for (std::size_t i = 0; i < of.items.size(); ++i) out.emplace_back(Value::of(static_cast<double>(i)), of.items[i]);
    return out;
  }
  if (!of.is(Value::Kind::object))
    throw place.error(fmt::format("a list or an object must be here, to go over, this is {}", to_string(of.kind)));
  auto members = of.members;
  std::ranges::sort(members, {}, &Value::Members::value_type::first);
  for (auto& [key, value] : members) out.emplace_back(Value::of(key), std::move(value));
  return out;
}

Value Evaluator::paid(Value value, const Place& place) {
  spent_ += kStepCost + weigh(value, place);
  if (spent_ > kBudget) throw place.error("the template's values become too large here");
  return value;
}

Value Evaluator::evaluate(const Expression& expression) {
  if (++depth_ > 8 * kDepthMax) throw expression.place.error("this is nested too deeply");
  try {
    Value value = paid(compute(expression), expression.place);
    --depth_;
    value.place = expression.place;
    return value;
  } catch (...) {
    --depth_;
    throw;
  }
}

Value Evaluator::compute(const Expression& expression) {
  switch (expression.kind) {
    case Kind::literal:
      return expression.value;
    case Kind::text:
      return text(expression);
    case Kind::name:
      return name(expression);
    case Kind::attribute:
      return attribute(expression);
    case Kind::index:
      return index(expression);
    case Kind::splat:
      return splat(expression);
    case Kind::item:
      return *local(kItem);
    case Kind::call:
      return call(expression);
    case Kind::list: {
      Value list = Value::list();
      for (const auto& part : expression.parts) list.items.push_back(evaluate(*part));
      return list;
    }
    case Kind::object:
      return object(expression);
    case Kind::for_list:
    case Kind::for_object:
    case Kind::for_text:
      return loop(expression);
    case Kind::condition:
      return evaluate(*expression.parts.at(condition(*expression.parts.at(0)) ? 1 : 2));
    case Kind::binary:
      return binary(expression);
    case Kind::unary:
      return unary(expression);
  }
  return {};
}

const Value* Evaluator::local(const std::string& name) const {
  for (auto it = names_.rbegin(); it != names_.rend(); ++it) {
    if (it->first == name) return &it->second;
  }
  return nullptr;
}

Value Evaluator::text(const Expression& expression) {
  std::string out;
  for (const auto& part : expression.parts) {
    const Value value = evaluate(*part);
    const auto piece = text_of(value);
    if (!piece)
      throw part->place.error(
          fmt::format("{} cannot be part of a string", to_string(value.kind)),
          value.is(Value::Kind::null) ? "" : "join(\", \", ..) or jsonencode(..) makes it a string");
    out += *piece;
    if (out.size() > kWeightMax) throw part->place.error("this string becomes too long");
  }
  return Value::of(out);
}

Value Evaluator::name(const Expression& expression) {
  if (const Value* value = local(expression.name)) return *value;
  throw expression.place.error(fmt::format("there is no '{}' here", expression.name),
                               "variables are var.NAME, locals are local.NAME; a string is in double quotes");
}

Value Evaluator::attribute(const Expression& expression) {
  const Expression& of = *expression.parts.at(0);
  if (of.kind == Kind::name && local(of.name) == nullptr) {
    if (auto value = look_(of.name, expression.name, expression.place)) return *value;
  }
  return member_of(evaluate(of), expression.name, expression.place);
}

Value Evaluator::index(const Expression& expression) {
  const Expression& of = *expression.parts.at(0);
  const Value key = evaluate(*expression.parts.at(1));
  if (of.kind == Kind::name && local(of.name) == nullptr && key.is(Value::Kind::text)) {
    if (auto value = look_(of.name, key.text, expression.place)) return *value;
  }
  return element_of(evaluate(of), key, expression.place);
}

Value Evaluator::splat(const Expression& expression) {
  const Value of = evaluate(*expression.parts.at(0));
  Value out = Value::list();
  // Anything but a list is a list of itself; null is the empty one.
  if (of.is(Value::Kind::null)) return out;
  for (const Value& item : of.is(Value::Kind::list) ? of.items : std::vector<Value>{of})
    out.items.push_back(with_names(*expression.parts.at(1), {{kItem, item}}));
  return out;
}

Value Evaluator::call(const Expression& expression) {
  if (expression.name == "try" || expression.name == "can") {
    for (const auto& part : expression.parts) {
      try {
        Value value = evaluate(*part);
        return expression.name == "can" ? Value::of(true) : value;
      } catch (const Error& error) {
        if (spent_ > kBudget || error.code() != ErrorCode::usage) throw;
      }
    }
    if (expression.name == "can") return Value::of(false);
    throw expression.place.error("none of the arguments of 'try' has a value");
  }
  std::vector<Value> arguments;
  for (const auto& part : expression.parts) arguments.push_back(evaluate(*part));
  if (expression.spread && !arguments.empty()) {
    const Value last = arguments.back();
    if (!last.is(Value::Kind::list)) throw last.place.error("only a list can be spread with '...'");
    arguments.pop_back();
    arguments.insert(arguments.end(), last.items.begin(), last.items.end());
  }
  return call_function(expression.name, std::move(arguments), *this, expression.place);
}

Value Evaluator::object(const Expression& expression) {
  Value out = Value::object();
  for (std::size_t i = 0; i + 1 < expression.parts.size(); i += 2) {
    const Value key = evaluate(*expression.parts[i]);
    const auto name = text_of(key);
    if (!name) throw expression.parts[i]->place.error("a key must be a string");
    out.set(*name, evaluate(*expression.parts[i + 1]));
  }
  return out;
}

Value Evaluator::loop(const Expression& expression) {
  const Value of = evaluate(*expression.parts.at(0));
  const auto over = elements(of, expression.place);
  Value list = Value::list();
  Value object = Value::object();
  std::string text;
  for (const auto& [key, value] : over) {
    std::map<std::string, Value> names = {{expression.name, value}};
    if (!expression.second.empty()) names[expression.second] = key;
    if (expression.kind == Kind::for_text) {
      text += with_names(*expression.parts.at(1), names).text;
      if (text.size() > kWeightMax) throw expression.place.error("this string becomes too long");
      continue;
    }
    if (expression.parts.at(2) != nullptr) {
      const Value wanted = with_names(*expression.parts[2], names);
      const auto is = boolean_of(wanted);
      if (!is) throw wanted.place.error("the condition of 'for' is neither true nor false");
      if (!*is) continue;
    }
    Value made = with_names(*expression.parts.at(1), names);
    if (expression.kind == Kind::for_list) {
      list.items.push_back(std::move(made));
      continue;
    }
    const Value made_key = with_names(*expression.parts.at(3), names);
    const auto name = text_of(made_key);
    if (!name) throw made_key.place.error("a key must be a string");
    if (!expression.spread) {
      if (object.find(*name) != nullptr)
        throw made_key.place.error(fmt::format("two elements have the key '{}'", *name),
                                   "'...' behind the value groups them");
      if (object.members.size() >= kMembersMax) throw expression.place.error("this object becomes too large");
      object.set(*name, std::move(made));
    } else {
      if (object.find(*name) == nullptr) object.set(*name, Value::list());
      for (auto& [known, group] : object.members) {
        if (known == *name) group.items.push_back(made);
      }
    }
  }
  if (expression.kind == Kind::for_text) return Value::of(text);
  return expression.kind == Kind::for_list ? list : object;
}

bool Evaluator::condition(const Expression& expression) {
  const Value value = evaluate(expression);
  if (const auto is = boolean_of(value)) return *is;
  throw expression.place.error(fmt::format("true or false must be here, this is {}", to_string(value.kind)));
}

Value Evaluator::binary(const Expression& expression) {
  const std::string& what = expression.name;
  const Expression& first = *expression.parts.at(0);
  const Expression& second = *expression.parts.at(1);
  if (what == "&&") return Value::of(condition(first) && condition(second));
  if (what == "||") return Value::of(condition(first) || condition(second));
  const Value left = evaluate(first), right = evaluate(second);
  if (what == "==") return Value::of(left == right);
  if (what == "!=") return Value::of(!(left == right));
  const auto a = number_of(left), b = number_of(right);
  if (!a || !b)
    throw expression.place.error(
        fmt::format("'{}' needs two numbers, here are {} and {}", what, to_string(left.kind), to_string(right.kind)),
        "strings are put together with \"${a}${b}\"");
  if (what == "<") return Value::of(*a < *b);
  if (what == ">") return Value::of(*a > *b);
  if (what == "<=") return Value::of(*a <= *b);
  if (what == ">=") return Value::of(*a >= *b);
  if (what == "+") return Value::of(*a + *b);
  if (what == "-") return Value::of(*a - *b);
  if (what == "*") return Value::of(*a * *b);
  if (*b == 0) throw expression.place.error("division by zero");
  return Value::of(what == "/" ? *a / *b : std::fmod(*a, *b));
}

Value Evaluator::unary(const Expression& expression) {
  if (expression.name == "!") return Value::of(!condition(*expression.parts.at(0)));
  const auto number = number_of(evaluate(*expression.parts.at(0)));
  if (!number) throw expression.place.error("'-' needs a number");
  return Value::of(-*number);
}

}  // namespace kiln::packer
