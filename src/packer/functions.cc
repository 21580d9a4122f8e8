// call_function: the functions of HCL2 in Packer that templates use.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/text.h"
#include "packer/evaluate.h"
#include "packer/internal/functions.h"

namespace kiln::packer {

std::string Call::text(std::size_t i) const {
  const auto text = text_of(at(i));
  if (!text)
    throw place.error(
        fmt::format("argument {} of '{}' must be a string, it is {}", i + 1, name, to_string(at(i).kind)));
  return *text;
}

double Call::number(std::size_t i) const {
  const auto number = number_of(at(i));
  if (!number)
    throw place.error(
        fmt::format("argument {} of '{}' must be a number, it is {}", i + 1, name, to_string(at(i).kind)));
  return *number;
}

std::int64_t Call::whole(std::size_t i) const {
  const double value = number(i);
  if (value != std::floor(value) || std::fabs(value) > 1e9)
    throw place.error(fmt::format("argument {} of '{}' must be a whole number", i + 1, name));
  return static_cast<std::int64_t>(value);
}

const std::vector<Value>& Call::list(std::size_t i) const {
  if (!at(i).is(Value::Kind::list))
    throw place.error(fmt::format("argument {} of '{}' must be a list, it is {}", i + 1, name, to_string(at(i).kind)));
  return at(i).items;
}

const Value::Members& Call::object(std::size_t i) const {
  if (!at(i).is(Value::Kind::object))
    throw place.error(
        fmt::format("argument {} of '{}' must be an object, it is {}", i + 1, name, to_string(at(i).kind)));
  return at(i).members;
}

namespace {

using Map = std::map<std::string, Function>;

bool empty(const Value& value) {
  return value.is(Value::Kind::null) || (value.is(Value::Kind::text) && value.text.empty());
}

void flatten_into(const Value& value, std::vector<Value>& out, const Place& place) {
  for (const Value& item : value.items) {
    if (item.is(Value::Kind::list)) {
      flatten_into(item, out, place);
    } else {
      out.push_back(item);
    }
  }
  if (out.size() > kWeightMax) throw place.error("this list becomes too long");
}

Value distinct(const std::vector<Value>& values, const Place& place) {
  // Each is compared with all.
  if (values.size() > 4096) throw place.error("this list is too long");
  Value out = Value::list();
  for (const Value& value : values) {
    if (std::ranges::find(out.items, value) == out.items.end()) out.items.push_back(value);
  }
  return out;
}

// Sets are lists here, sorted as HCL2 shows them.
Value set_of(const std::vector<Value>& values, const Place& place) {
  Value out = distinct(values, place);
  const bool texts = std::ranges::all_of(out.items, [](const Value& one) { return one.is(Value::Kind::text); });
  if (texts) std::ranges::sort(out.items, {}, &Value::text);
  return out;
}

Value sorted_texts(const Call& call) {
  Value out = Value::list();
  for (const Value& item : call.list(0)) out.items.push_back(Value::of(text_of(item).value_or("")));
  std::ranges::sort(out.items, {}, &Value::text);
  return out;
}

Value slice(const Call& call) {
  const auto& list = call.list(0);
  const std::int64_t from = call.whole(1), to = call.whole(2);
  if (from < 0 || to < from || to > static_cast<std::int64_t>(list.size()))
    throw call.place.error(
        fmt::format("the list has {} elements, 'slice' wants those from {} to {}", list.size(), from, to));
  return Value::list({list.begin() + from, list.begin() + to});
}

Value element(const Call& call) {
  const auto& list = call.list(0);
  const std::int64_t index = call.whole(1);
  if (list.empty() || index < 0)
    throw call.place.error("'element' needs a list that is not empty, and an index of 0 or more");
  return list.at(static_cast<std::size_t>(index) % list.size());
}

Value lookup(const Call& call) {
  call.object(0);
  if (const Value* found = call.at(0).find(call.text(1))) return *found;
  if (call.arguments.size() > 2) return call.at(2);
  throw call.place.error(fmt::format("the object has no '{}'", call.text(1)),
                         "a third argument is the value for that case");
}

Value keys(const Call& call, bool values) {
  auto members = call.object(0);
  std::ranges::sort(members, {}, &Value::Members::value_type::first);
  Value out = Value::list();
  for (auto& [key, value] : members) out.items.push_back(values ? std::move(value) : Value::of(key));
  return out;
}

Value range(const Call& call) {
  const std::size_t count = call.arguments.size();
  const double from = count > 1 ? call.number(0) : 0;
  const double to = call.number(count > 1 ? 1 : 0);
  const double step = count > 2 ? call.number(2) : (from <= to ? 1 : -1);
  if (step == 0 || std::fabs((to - from) / step) > 1024) throw call.place.error("'range' makes at most 1024 elements");
  Value out = Value::list();
  for (double at = from; step > 0 ? at < to : at > to; at += step) out.items.push_back(Value::of(at));
  return out;
}

Value chunklist(const Call& call) {
  const std::int64_t size = call.whole(1);
  if (size < 1) throw call.place.error("'chunklist' needs a size of 1 or more");
  Value out = Value::list();
  for (const Value& item : call.list(0)) {
    if (out.items.empty() || out.items.back().items.size() == static_cast<std::size_t>(size))
      out.items.push_back(Value::list());
    out.items.back().items.push_back(item);
  }
  return out;
}

Value merge(const Call& call) {
  Value out = Value::object();
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    if (call.at(i).is(Value::Kind::null)) continue;
    for (const auto& [key, value] : call.object(i)) out.set(key, value);
  }
  return out;
}

Value zipmap(const Call& call) {
  if (call.list(0).size() != call.list(1).size())
    throw call.place.error("the two lists of 'zipmap' must be of one length");
  Value out = Value::object();
  for (std::size_t i = 0; i < call.list(0).size(); ++i) out.set(text_of(call.list(0)[i]).value_or(""), call.list(1)[i]);
  return out;
}

Value extreme(const Call& call, bool largest) {
  double out = call.number(0);
  for (std::size_t i = 1; i < call.arguments.size(); ++i)
    out = largest ? std::max(out, call.number(i)) : std::min(out, call.number(i));
  return Value::of(out);
}

Value length(const Call& call) {
  const Value& of = call.at(0);
  if (of.is(Value::Kind::list)) return Value::of(static_cast<double>(of.items.size()));
  if (of.is(Value::Kind::object)) return Value::of(static_cast<double>(of.members.size()));
  const std::string text = call.text(0);
  return Value::of(static_cast<double>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; })));
}

Value set_operation(const Call& call, const std::string& what) {
  std::vector<Value> out = call.list(0);
  for (std::size_t i = 1; i < call.arguments.size(); ++i) {
    const auto& other = call.list(i);
    if (what == "union") {
      out.insert(out.end(), other.begin(), other.end());
    } else {
      const bool wanted = what == "intersection";
      std::erase_if(out, [&](const Value& one) { return (std::ranges::find(other, one) != other.end()) != wanted; });
    }
  }
  return set_of(out, call.place);
}

// Of every list one element, in all ways, the last list's fastest.
Value set_product(const Call& call) {
  std::vector<Value> rows = {Value::list()};
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    std::vector<Value> longer;
    for (const Value& row : rows) {
      for (const Value& item : call.list(i)) {
        longer.push_back(row);
        longer.back().items.push_back(item);
        if (longer.size() > 4096) throw call.place.error("'setproduct' makes at most 4096 elements");
      }
    }
    rows = std::move(longer);
  }
  return Value::list(std::move(rows));
}

Value sum(const Call& call) {
  if (call.list(0).empty()) throw call.place.error("'sum' needs a list that is not empty");
  double out = 0;
  for (const Value& item : call.list(0)) {
    const auto number = number_of(item);
    if (!number) throw call.place.error(fmt::format("'sum' adds numbers, the list has {}", to_string(item.kind)));
    out += *number;
  }
  return Value::of(out);
}

Value all_or_any(const Call& call, bool all) {
  const auto is = [](const Value& one) { return boolean_of(one).value_or(false); };
  return Value::of(all ? std::ranges::all_of(call.list(0), is) : std::ranges::any_of(call.list(0), is));
}

Value parse_number(const Call& call) {
  const std::string text = call.text(0);
  const auto base = static_cast<int>(call.whole(1));
  try {
    std::size_t used = 0;
    if (base < 2 || base > 36) throw std::invalid_argument("base");
    const long long number = std::stoll(text, &used, base);
    if (used == text.size()) return Value::of(static_cast<double>(number));
  } catch (const std::exception&) {
  }
  throw call.place.error(fmt::format("'{}' is not a number of base {}", text, base));
}

Value coalesce(const Call& call) {
  for (const Value& one : call.arguments) {
    if (!empty(one)) return one;
  }
  throw call.place.error("no argument of 'coalesce' has a value");
}

Value coalesce_list(const Call& call) {
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    if (!call.list(i).empty()) return call.at(i);
  }
  throw call.place.error("all lists of 'coalescelist' are empty");
}

Value converted(const Call& call, const std::string& to) {
  const Value& of = call.at(0);
  if (of.is(Value::Kind::null)) return of;
  if (to == "string") return Value::of(call.text(0));
  if (to == "number") return Value::of(call.number(0));
  if (to == "bool") {
    if (const auto is = boolean_of(of)) return Value::of(*is);
    throw call.place.error("this is neither true nor false");
  }
  if (to == "map") return call.object(0), of;
  return to == "set" ? set_of(call.list(0), call.place) : (call.list(0), of);
}

void add_conversions(Map& map) {
  for (const std::string to : {"string", "number", "bool", "list", "set", "map"})
    map["to" + to] = {1, 1, [to](const Call& call) { return converted(call, to); }};
}

void add_numbers(Map& map) {
  map["abs"] = {1, 1, [](const Call& call) { return Value::of(std::fabs(call.number(0))); }};
  map["ceil"] = {1, 1, [](const Call& call) { return Value::of(std::ceil(call.number(0))); }};
  map["floor"] = {1, 1, [](const Call& call) { return Value::of(std::floor(call.number(0))); }};
  map["max"] = {1, kMany, [](const Call& call) { return extreme(call, true); }};
  map["min"] = {1, kMany, [](const Call& call) { return extreme(call, false); }};
  map["pow"] = {2, 2, [](const Call& call) { return Value::of(std::pow(call.number(0), call.number(1))); }};
  map["log"] = {2, 2, [](const Call& call) { return Value::of(std::log(call.number(0)) / std::log(call.number(1))); }};
  map["signum"] = {1, 1, [](const Call& call) {
                     return Value::of(call.number(0) > 0 ? 1.0 : call.number(0) < 0 ? -1.0 : 0.0);
                   }};
  map["parseint"] = {2, 2, parse_number};
  map["sum"] = {1, 1, sum};
}

void add_lists(Map& map) {
  map["length"] = {1, 1, length};
  map["concat"] = {1, kMany, [](const Call& call) {
                     Value out = Value::list();
                     for (std::size_t i = 0; i < call.arguments.size(); ++i)
                       out.items.insert(out.items.end(), call.list(i).begin(), call.list(i).end());
                     return out;
                   }};
  map["compact"] = {1, 1, [](const Call& call) {
                      std::vector<Value> out = call.list(0);
                      std::erase_if(out, empty);
                      return Value::list(out);
                    }};
  map["contains"] = {2, 2, [](const Call& call) {
                       return Value::of(std::ranges::find(call.list(0), call.at(1)) != call.list(0).end());
                     }};
  map["distinct"] = {1, 1, [](const Call& call) { return distinct(call.list(0), call.place); }};
  map["flatten"] = {1, 1, [](const Call& call) {
                      call.list(0);
                      Value out = Value::list();
                      flatten_into(call.at(0), out.items, call.place);
                      return out;
                    }};
  map["index"] = {2, 2, [](const Call& call) {
                    const auto found = std::ranges::find(call.list(0), call.at(1));
                    if (found == call.list(0).end()) throw call.place.error("the list has no such element");
                    return Value::of(static_cast<double>(found - call.list(0).begin()));
                  }};
  map["reverse"] = {1, 1, [](const Call& call) { return Value::list({call.list(0).rbegin(), call.list(0).rend()}); }};
  map["sort"] = {1, 1, sorted_texts};
  map["slice"] = {3, 3, slice};
  map["element"] = {2, 2, element};
  map["chunklist"] = {2, 2, chunklist};
  map["coalesce"] = {1, kMany, coalesce};
  map["coalescelist"] = {1, kMany, coalesce_list};
  map["range"] = {1, 3, range};
  map["alltrue"] = {1, 1, [](const Call& call) { return all_or_any(call, true); }};
  map["anytrue"] = {1, 1, [](const Call& call) { return all_or_any(call, false); }};
  map["setproduct"] = {2, kMany, set_product};
  for (const std::string what : {"union", "intersection"})
    map["set" + what] = {1, kMany, [what](const Call& call) { return set_operation(call, what); }};
  map["setsubtract"] = {2, 2, [](const Call& call) { return set_operation(call, "subtract"); }};
}

void add_objects(Map& map) {
  map["keys"] = {1, 1, [](const Call& call) { return keys(call, false); }};
  map["values"] = {1, 1, [](const Call& call) { return keys(call, true); }};
  map["lookup"] = {2, 3, lookup};
  map["merge"] = {1, kMany, merge};
  map["zipmap"] = {2, 2, zipmap};
}

const Map& functions() {
  static const Map map = [] {
    Map out;
    add_conversions(out);
    add_numbers(out);
    add_lists(out);
    add_objects(out);
    add_text_functions(out);
    add_format_functions(out);
    add_network_functions(out);
    add_outside_functions(out);
    return out;
  }();
  return map;
}

// Packer has them, and a bake is better off without: what to do instead.
const std::map<std::string, std::string>& refused_functions() {
  static const std::string kOutside = "Kiln asks no service for values; read it before, into a 'sensitive' variable: ";
  static const std::map<std::string, std::string> map = {
      {"aws_secretsmanager", kOutside + "PKR_VAR_name=$(aws secretsmanager get-secret-value ..)"},
      {"aws_secretsmanager_raw", kOutside + "PKR_VAR_name=$(aws secretsmanager get-secret-value ..)"},
      {"consul_key", kOutside + "PKR_VAR_name=$(consul kv get ..)"},
      {"vault", kOutside + "PKR_VAR_name=$(vault kv get -field=.. ..)"},
      {"rsadecrypt", kOutside + "PKR_VAR_name=$(openssl pkeyutl -decrypt ..)"},
      {"bcrypt",
       "its answer is another one each time, and so would be the image; give the hash as a variable: "
       "PKR_VAR_name=$(htpasswd -nbB ..)"},
      {"base64gzip", "use base64encode; a value of a template is rarely worth packing"},
      {"convert", "use tostring, tonumber, tobool, tolist, toset or tomap"},
      {"textdecodebase64", "use base64decode, which is for UTF-8"},
      {"textencodebase64", "use base64encode, which is for UTF-8"}};
  return map;
}

Error unknown_function(const std::string& name, const Place& place) {
  const auto refused = refused_functions().find(name);
  if (refused != refused_functions().end())
    return place.error(fmt::format("the function '{}' is not supported", name), refused->second);
  std::vector<std::string> names = {"try", "can"};
  for (const auto& [known, function] : functions()) names.push_back(known);
  const auto near = nearest(name, names);
  return place.error(
      fmt::format("the function '{}' is not supported{}", name, near ? fmt::format("; did you mean '{}'?", *near) : ""),
      "docs/packer.md lists the functions; a value from outside can be given with -var NAME=VALUE");
}

}  // namespace

Value call_function(const std::string& name, std::vector<Value> arguments, Evaluator& evaluator, const Place& place) {
  const auto found = functions().find(name);
  if (found == functions().end()) throw unknown_function(name, place);
  const Function& function = found->second;
  if (arguments.size() < function.min || arguments.size() > function.max) {
    const std::string count = function.min == function.max ? fmt::format("{}", function.min)
                              : function.max == kMany      ? fmt::format("at least {}", function.min)
                                                           : fmt::format("{} to {}", function.min, function.max);
    throw place.error(
        fmt::format("'{}' takes {} argument{}, here are {}", name, count, count == "1" ? "" : "s", arguments.size()));
  }
  return function.run(Call{name, std::move(arguments), evaluator, place});
}

}  // namespace kiln::packer
