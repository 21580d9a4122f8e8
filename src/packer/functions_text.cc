// add_text_functions: what makes strings of strings. Regular expressions are RE2's, as in Go.
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/text.h"
#include "packer/internal/functions.h"

namespace kiln::packer {
namespace {

using Map = std::map<std::string, Function>;

Value limited(std::string text, const Place& place) {
  if (text.size() > kWeightMax) throw place.error("this string becomes too long");
  return Value::of(std::move(text));
}

std::string replace_all(const std::string& text, const std::string& old, const std::string& with, const Place& place) {
  if (old.empty()) return text;
  std::string out;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find(old, begin)) != std::string::npos; begin = end + old.size()) {
    out.append(text, begin, end - begin).append(with);
    if (out.size() > kWeightMax) throw place.error("this string becomes too long");
  }
  return out + text.substr(begin);
}

class Pattern {
 public:
  Pattern(const std::string& pattern, const Place& place) : re_(pattern, quiet()) {
    if (!re_.ok()) throw place.error(fmt::format("'{}' is not a regular expression: {}", pattern, re_.error()));
  }
  const RE2& re() const { return re_; }

 private:
  static RE2::Options quiet() {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(1 << 20);
    return options;
  }
  RE2 re_;
};

// "${name}" and "$1" in Go are "\1" in RE2.
std::string re2_rewrite(const std::string& with, const RE2& re) {
  std::string out;
  for (std::size_t i = 0; i < with.size(); ++i) {
    if (with[i] == '\\') {
      out += "\\\\";
    } else if (with[i] == '$' && i + 1 < with.size() && with[i + 1] == '$') {
      out += '$';
      ++i;
    } else if (with[i] == '$') {
      const bool braces = i + 1 < with.size() && with[i + 1] == '{';
      std::size_t end = i + 1 + (braces ? 1 : 0);
      const std::size_t begin = end;
      while (end < with.size() && (std::isalnum(static_cast<unsigned char>(with[end])) != 0 || with[end] == '_')) ++end;
      const std::string name = with.substr(begin, end - begin);
      const auto& names = re.NamedCapturingGroups();
      const auto number = names.contains(name) ? std::optional<std::int64_t>(names.at(name)) : parse_int(name);
      if (number && *number >= 0 && *number <= std::min(9, re.NumberOfCapturingGroups()))
        out += fmt::format("\\{}", *number);
      i = braces ? end : end - 1;
    } else {
      out += with[i];
    }
  }
  return out;
}

Value regex_replace(const Call& call) {
  const Pattern pattern(call.text(1), call.place);
  std::string text = call.text(0);
  RE2::GlobalReplace(&text, pattern.re(), re2_rewrite(call.text(2), pattern.re()));
  return limited(text, call.place);
}

// replace("a-b", "-", "_"), and with "/../" a regular expression.
Value replace(const Call& call) {
  const std::string what = call.text(1);
  if (what.size() > 1 && what.front() == '/' && what.back() == '/') {
    const Pattern pattern(what.substr(1, what.size() - 2), call.place);
    std::string text = call.text(0);
    RE2::GlobalReplace(&text, pattern.re(), re2_rewrite(call.text(2), pattern.re()));
    return limited(text, call.place);
  }
  return Value::of(replace_all(call.text(0), what, call.text(2), call.place));
}

// The groups of one match: by name, by number, or the whole when there are none.
Value groups_of(const RE2& re, const std::vector<re2::StringPiece>& found) {
  const auto text = [](const re2::StringPiece& piece) { return Value::of(std::string(piece.data(), piece.size())); };
  if (found.size() == 1) return text(found[0]);
  if (!re.NamedCapturingGroups().empty()) {
    Value out = Value::object();
    for (const auto& [name, number] : re.NamedCapturingGroups())
      out.set(name, text(found.at(static_cast<std::size_t>(number))));
    return out;
  }
  Value out = Value::list();
  for (std::size_t i = 1; i < found.size(); ++i) out.items.push_back(text(found[i]));
  return out;
}

Value regex(const Call& call, bool all) {
  const Pattern pattern(call.text(0), call.place);
  const std::string text = call.text(1);
  std::vector<re2::StringPiece> found(static_cast<std::size_t>(pattern.re().NumberOfCapturingGroups()) + 1);
  Value out = Value::list();
  std::size_t at = 0;
  while (at <= text.size() &&
         pattern.re().Match(text, at, text.size(), RE2::UNANCHORED, found.data(), static_cast<int>(found.size()))) {
    if (!all) return groups_of(pattern.re(), found);
    out.items.push_back(groups_of(pattern.re(), found));
    const auto end = static_cast<std::size_t>(found[0].data() - text.data()) + found[0].size();
    at = found[0].empty() ? end + 1 : end;
    if (out.items.size() > 4096) throw call.place.error("this finds too much");
  }
  if (!all)
    throw call.place.error(fmt::format("'{}' does not match '{}'", call.text(0), text),
                           "can(regex(..)) asks whether it does");
  return out;
}

// Go's verbs: %s %d %q %v %x %X %o %b %f %e %g %t %%, with flags, width and precision.
std::string format_one(const Call& call, char verb, const std::string& flags, std::size_t argument) {
  if (argument >= call.arguments.size())
    throw call.place.error(fmt::format("'{}' has fewer arguments than its format wants", call.name));
  const auto padded = [&](const std::string& text) {
    std::string spec = flags.substr(0, flags.find('.'));
    const bool left = spec.find('-') != std::string::npos;
    std::erase_if(spec, [](char c) { return std::isdigit(static_cast<unsigned char>(c)) == 0; });
    const auto width = static_cast<std::size_t>(parse_int(spec).value_or(0));
    const std::string fill(width > text.size() ? width - text.size() : 0, ' ');
    return left ? text + fill : fill + text;
  };
  const auto printf_like = [&](const std::string& format, auto value) {
    char out[1400];
    const int size = std::snprintf(out, sizeof out, format.c_str(), value);
    return std::string(out, static_cast<std::size_t>(std::clamp(size, 0, static_cast<int>(sizeof out) - 1)));
  };
  const Value& value = call.at(argument);
  switch (verb) {
    case 's':
      return padded(call.text(argument));
    case 'v':
      return padded(text_of(value).value_or(to_json(value)));
    case 'q':
      return padded(to_json(Value::of(call.text(argument))));
    case 't':
      if (const auto is = boolean_of(value)) return padded(*is ? "true" : "false");
      throw call.place.error("'%t' needs true or false");
    case 'd':
      return printf_like("%" + flags + "lld", static_cast<long long>(call.whole(argument)));
    case 'x':
    case 'X':
    case 'o':
      if (call.whole(argument) < 0) throw call.place.error(fmt::format("'%{}' needs a number of 0 or more", verb));
      return printf_like("%" + flags + "ll" + verb, static_cast<unsigned long long>(call.whole(argument)));
    case 'f':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
      return printf_like("%" + flags + verb, call.number(argument));
    default:
      throw call.place.error(fmt::format("'{}' does not know '%{}'", call.name, verb));
  }
}

std::string format(const Call& call) {
  const std::string format = call.text(0);
  std::string out;
  std::size_t argument = 1;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    const std::size_t end = format.find_first_not_of("+-# 0123456789.", i + 1);
    if (end == std::string::npos) throw call.place.error("the format ends behind '%'", "'%%' writes a '%'");
    const std::string flags = format.substr(i + 1, end - i - 1);
    std::size_t digits = 0;
    for (const char c : flags) {
      digits = std::isdigit(static_cast<unsigned char>(c)) != 0 ? digits + 1 : 0;
      if (digits > 3) throw call.place.error("a width has at most three digits");
    }
    out += format[end] == '%' ? "%" : format_one(call, format[end], flags, argument++);
    if (out.size() > kWeightMax) throw call.place.error("this string becomes too long");
    i = end;
  }
  if (argument < call.arguments.size())
    throw call.place.error(fmt::format("'{}' has more arguments than its format wants", call.name));
  return out;
}

Value format_list(const Call& call) {
  std::size_t count = 1;
  for (const Value& one : call.arguments) {
    if (one.is(Value::Kind::list)) count = one.items.size();
  }
  Value out = Value::list();
  for (std::size_t i = 0; i < count; ++i) {
    Call one{call.name, call.arguments, call.evaluator, call.place};
    for (Value& argument : one.arguments) {
      if (!argument.is(Value::Kind::list)) continue;
      if (argument.items.size() != count) throw call.place.error("the lists of 'formatlist' must be of one length");
      argument = Value(argument.items[i]);
    }
    out.items.push_back(Value::of(format(one)));
  }
  return out;
}

Value join_lists(const Call& call) {
  std::vector<std::string> parts;
  for (std::size_t i = 1; i < call.arguments.size(); ++i) {
    for (const Value& item : call.list(i)) {
      const auto text = text_of(item);
      if (!text) throw call.place.error(fmt::format("'join' joins strings, the list has {}", to_string(item.kind)));
      parts.push_back(*text);
    }
  }
  return limited(kiln::join(parts, call.text(0)), call.place);
}

Value split_text(const Call& call) {
  const std::string separator = call.text(0), text = call.text(1);
  Value out = Value::list();
  if (text.empty()) return out;
  std::size_t begin = 0;
  if (separator.empty()) {
    for (const char c : text) out.items.push_back(Value::of(std::string(1, c)));
    return out;
  }
  for (std::size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + separator.size())
    out.items.push_back(Value::of(text.substr(begin, end - begin)));
  out.items.push_back(Value::of(text.substr(begin)));
  return out;
}

Value substr(const Call& call) {
  const std::string text = call.text(0);
  std::int64_t offset = call.whole(1), length = call.whole(2);
  const auto size = static_cast<std::int64_t>(text.size());
  if (offset < 0) offset += size;
  if (offset < 0 || offset > size) return Value::of("");
  return Value::of(
      text.substr(static_cast<std::size_t>(offset), length < 0 ? std::string::npos : static_cast<std::size_t>(length)));
}

Value indent(const Call& call) {
  const std::int64_t count = call.whole(0);
  if (count < 0 || count > 1000) throw call.place.error("'indent' takes 0 to 1000 spaces");
  return Value::of(
      replace_all(call.text(1), "\n", "\n" + std::string(static_cast<std::size_t>(count), ' '), call.place));
}

std::string title(std::string text) {
  bool begins = true;
  for (char& c : text) {
    if (begins) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    begins = std::isspace(static_cast<unsigned char>(c)) != 0;
  }
  return text;
}

std::string trimmed(std::string text, const std::string& set) {
  text.erase(0, std::min(text.find_first_not_of(set), text.size()));
  text.erase(text.find_last_not_of(set) + 1);
  return text;
}

std::string chomp(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

void add_text_functions(Map& map) {
  const auto one = [&](const char* name, std::string (*make)(std::string)) {
    map[name] = {1, 1, [make](const Call& call) { return Value::of(make(call.text(0))); }};
  };
  one("upper", upper);
  one("lower", [](std::string text) { return to_lower(text); });
  one("title", title);
  one("chomp", chomp);
  one("trimspace", [](std::string text) { return std::string(trim(text)); });
  one("strrev", [](std::string text) { return std::string(text.rbegin(), text.rend()); });
  map["format"] = {1, kMany, [](const Call& call) { return Value::of(format(call)); }};
  map["formatlist"] = {1, kMany, format_list};
  map["join"] = {2, kMany, join_lists};
  map["split"] = {2, 2, split_text};
  map["replace"] = {3, 3, replace};
  map["regex_replace"] = {3, 3, regex_replace};
  map["regex"] = {2, 2, [](const Call& call) { return regex(call, false); }};
  map["regexall"] = {2, 2, [](const Call& call) { return regex(call, true); }};
  map["substr"] = {3, 3, substr};
  map["indent"] = {2, 2, indent};
  map["trim"] = {2, 2, [](const Call& call) { return Value::of(trimmed(call.text(0), call.text(1))); }};
  map["startswith"] = {2, 2, [](const Call& call) { return Value::of(call.text(0).starts_with(call.text(1))); }};
  map["endswith"] = {2, 2, [](const Call& call) { return Value::of(call.text(0).ends_with(call.text(1))); }};
  map["strcontains"] = {
      2, 2, [](const Call& call) { return Value::of(call.text(0).find(call.text(1)) != std::string::npos); }};
  map["trimprefix"] = {2, 2, [](const Call& call) {
                         const std::string text = call.text(0), prefix = call.text(1);
                         return Value::of(text.starts_with(prefix) ? text.substr(prefix.size()) : text);
                       }};
  map["trimsuffix"] = {2, 2, [](const Call& call) {
                         const std::string text = call.text(0), suffix = call.text(1);
                         return Value::of(text.ends_with(suffix) ? text.substr(0, text.size() - suffix.size()) : text);
                       }};
}

}  // namespace kiln::packer
