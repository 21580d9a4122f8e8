// add_outside_functions: the time, files, the environment, and other formats.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/encoding.h"
#include "base/text.h"
#include "base/time.h"
#include "packer/internal/functions.h"
#include "packer/interpolate.h"

namespace kiln::packer {
namespace {

using Map = std::map<std::string, Function>;

std::string rfc3339(Time time) { return format_go_time(time, "2006-01-02T15:04:05Z07:00"); }

Time time_of(const Call& call, std::size_t argument) {
  try {
    return parse_iso8601(call.text(argument));
  } catch (const Error&) {
    throw call.place.error(fmt::format("'{}' is not a time", call.text(argument)),
                           "it is written as timestamp() writes it: 2026-11-24T03:01:56Z");
  }
}

// HCL2's own letters, which are neither Go's nor strftime's.
std::string format_date_by(const Call& call) {
  static const std::map<std::string, std::string> kGo = {
      {"YYYY", "2006"}, {"YY", "06"},        {"MMMM", "January"}, {"MMM", "Jan"}, {"MM", "01"},   {"M", "1"},
      {"DD", "02"},     {"D", "2"},          {"EEEE", "Monday"},  {"EEE", "Mon"}, {"hh", "15"},   {"HH", "03"},
      {"H", "3"},       {"AA", "PM"},        {"aa", "pm"},        {"mm", "04"},   {"m", "4"},     {"ss", "05"},
      {"s", "5"},       {"ZZZZZ", "-07:00"}, {"ZZZZ", "-0700"},   {"ZZZ", "MST"}, {"Z", "Z07:00"}};
  const std::string format = call.text(0);
  const Time time = time_of(call, 1);
  std::string out;
  for (std::size_t i = 0; i < format.size();) {
    const char c = format[i];
    if (c == '\'') {
      const std::size_t end = format.find('\'', i + 1);
      if (end == std::string::npos) throw call.place.error("a quote in the format of 'formatdate' has no end");
      out += end == i + 1 ? "'" : format.substr(i + 1, end - i - 1);
      i = end + 1;
    } else if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      const std::size_t end = std::min(format.find_first_not_of(c, i), format.size());
      const std::string verb = format.substr(i, end - i);
      i = end;
      if (verb == "h") {
        const std::string hour = format_go_time(time, "15");
        out += hour.starts_with('0') ? hour.substr(1) : hour;
        continue;
      }
      const auto go = kGo.find(verb);
      if (go == kGo.end())
        throw call.place.error(fmt::format("'formatdate' does not know '{}'", verb),
                               "letters that are meant as they stand are in single quotes");
      out += format_go_time(time, go->second);
    } else {
      out += c;
      ++i;
    }
  }
  return out;
}

// Go's durations: "24h", "-10m", "1h30m".
Value timeadd(const Call& call) {
  std::string text = call.text(1);
  const bool back = text.starts_with('-');
  try {
    const Duration duration = parse_duration(back ? text.substr(1) : text);
    const Time time = time_of(call, 0);
    return Value::of(rfc3339(back ? time - duration : time + duration));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::usage) throw;
    throw call.place.error(fmt::format("'{}' is not a duration", text), "it is written as 24h, 30m or -10s");
  }
}

std::string strftime_like(const Call& call) {
  static const std::map<char, std::string> kGo = {
      {'Y', "2006"}, {'y', "06"},      {'m', "01"},    {'d', "02"},         {'H', "15"},      {'M', "04"},
      {'S', "05"},   {'B', "January"}, {'b', "Jan"},   {'A', "Monday"},     {'a', "Mon"},     {'I', "03"},
      {'p', "PM"},   {'Z', "MST"},     {'z', "-0700"}, {'F', "2006-01-02"}, {'T', "15:04:05"}};
  const std::string format = call.text(0);
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    const char verb = format[++i];
    const auto go = kGo.find(verb);
    if (verb != '%' && go == kGo.end())
      throw call.place.error(fmt::format("'legacy_strftime' does not know '%{}'", verb));
    out += verb == '%' ? "%" : format_go_time(call.evaluator.outside().now, go->second);
  }
  return out;
}

std::string read(const Call& call) {
  const auto file = call.evaluator.outside().read(call.text(0));
  if (!file)
    throw call.place.error(fmt::format("there is no file '{}'", call.text(0)),
                           "names are relative to where kiln was started; ${path.root} is the template's folder");
  return file->content;
}

void forget_places(Value& value) {
  value.place = {};
  for (Value& item : value.items) forget_places(item);
  for (auto& [name, member] : value.members) forget_places(member);
}

Value decode_json(const Call& call) {
  try {
    Value out = read_json({"the text", call.text(0)});
    forget_places(out);
    return out;
  } catch (const Error& error) {
    throw call.place.error("this is not JSON: " + error.message());
  }
}

Value template_file(const Call& call) {
  const spec::Source source{call.text(0), read(call)};
  const ExpressionPtr expression = read_hcl_template(source);
  std::map<std::string, Value> names;
  if (call.arguments.size() > 1) {
    for (const auto& [key, value] : call.object(1)) names[key] = value;
  }
  Value out = call.evaluator.with_names(*expression, names);
  forget_places(out);
  return Value::of(text_of(out).value_or(""));
}

Value environment(const Call& call) {
  if (!call.evaluator.environment_allowed())
    throw call.place.error("'env' is only allowed in a variable's default",
                           "declare a variable with default = env(\"NAME\"), and use that");
  return Value::of(call.evaluator.outside().environment(call.text(0)));
}

std::string absolute(const Call& call) {
  const std::filesystem::path path(call.text(0));
  return (path.is_absolute() ? path : std::filesystem::path(call.evaluator.outside().working) / path)
      .lexically_normal()
      .string();
}

std::string dirname(const std::string& path) {
  const std::string folder = std::filesystem::path(path).lexically_normal().parent_path().string();
  return folder.empty() ? "." : folder;
}

Value fileset(const Call& call) {
  const auto names = call.evaluator.outside().files_below(call.text(0));
  if (!names) throw call.place.error(fmt::format("there is no folder '{}'", call.text(0)));
  const std::string pattern = call.text(1);
  if (pattern.find_first_of("?[{") != std::string::npos)
    throw call.place.error("only '*' and '**' are supported in the pattern of 'fileset'");
  const bool deep = pattern.find("**") != std::string::npos;
  std::string plain = pattern;
  for (std::size_t at; (at = plain.find("**/")) != std::string::npos;) plain.replace(at, 3, "*");
  Value out = Value::list();
  for (const std::string& name : *names) {
    const bool same_depth =
        std::count(name.begin(), name.end(), '/') == std::count(pattern.begin(), pattern.end(), '/');
    if ((deep || same_depth) && wildcard_match(plain, name)) out.items.push_back(Value::of(name));
  }
  return out;
}

}  // namespace

void add_outside_functions(Map& map) {
  map["timestamp"] = {0, 0, [](const Call& call) { return Value::of(rfc3339(call.evaluator.outside().now)); }};
  map["formatdate"] = {2, 2, [](const Call& call) { return Value::of(format_date_by(call)); }};
  map["timeadd"] = {2, 2, timeadd};
  map["legacy_isotime"] = {
      0, 1, [](const Call& call) {
        return Value::of(format_go_time(call.evaluator.outside().now,
                                        call.arguments.empty() ? "2006-01-02T15:04:05Z07:00" : call.text(0)));
      }};
  map["legacy_strftime"] = {1, 1, [](const Call& call) { return Value::of(strftime_like(call)); }};
  map["uuidv4"] = {0, 0, [](const Call& call) { return Value::of(call.evaluator.outside().uuid); }};
  map["env"] = {1, 1, environment};
  map["file"] = {1, 1, [](const Call& call) { return Value::of(read(call)); }};
  map["filebase64"] = {1, 1, [](const Call& call) { return Value::of(base64_encode(read(call))); }};
  map["fileexists"] = {
      1, 1, [](const Call& call) { return Value::of(call.evaluator.outside().read(call.text(0)).has_value()); }};
  map["fileset"] = {2, 2, fileset};
  map["templatefile"] = {1, 2, template_file};
  map["abspath"] = {1, 1, [](const Call& call) { return Value::of(absolute(call)); }};
  map["pathexpand"] = {1, 1, [](const Call& call) {
                         const std::string path = call.text(0);
                         if (path != "~" && !path.starts_with("~/")) return Value::of(path);
                         return Value::of(call.evaluator.outside().environment("HOME") + path.substr(1));
                       }};
  map["basename"] = {
      1, 1, [](const Call& call) { return Value::of(std::filesystem::path(call.text(0)).filename().string()); }};
  map["dirname"] = {1, 1, [](const Call& call) { return Value::of(dirname(call.text(0))); }};
  map["jsonencode"] = {1, 1, [](const Call& call) { return Value::of(to_json(call.at(0))); }};
  map["jsondecode"] = {1, 1, decode_json};
  map["base64encode"] = {1, 1, [](const Call& call) { return Value::of(base64_encode(call.text(0))); }};
  map["base64decode"] = {1, 1, [](const Call& call) {
                           try {
                             return Value::of(base64_decode(call.text(0)));
                           } catch (const Error&) {
                             throw call.place.error("this is not Base64");
                           }
                         }};
  map["urlencode"] = {1, 1, [](const Call& call) { return Value::of(percent_encode(call.text(0))); }};
  map["clean_resource_name"] = {1, 1, [](const Call& call) { return Value::of(clean_resource_name(call.text(0))); }};
}

}  // namespace kiln::packer
