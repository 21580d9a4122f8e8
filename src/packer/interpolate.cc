// Interpolate: a small reader of Go's template actions, and Packer's functions.
#include "packer/interpolate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>

#include "base/text.h"

namespace kiln::packer {
namespace {

using Words = std::vector<std::string>;  // a word's first character says what it is: '.' a field, '"' a string

constexpr std::string_view kSpaces = " \t\r\n";

class Action {
 public:
  Action(std::string_view text, const Interpolation& with, const Place& place)
      : text_(text), with_(with), place_(place) {}

  std::string run() {
    std::optional<std::string> piped;
    do {
      piped = call(read_words(), piped);
    } while (eat('|'));
    return *piped;
  }

 private:
  void space() {
    while (at_ < text_.size() && kSpaces.find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool eat(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Words read_words() {
    Words words;
    for (space(); at_ < text_.size() && text_[at_] != '|'; space()) words.push_back(read_word());
    return words;
  }

  std::string read_word() {
    const char c = text_[at_];
    if (c == '"' || c == '`') return '"' + read_quoted(c);
    if (c == '$' || c == '(') throw place_.error(fmt::format("'{}' in '{{{{{}}}}}' is not supported", c, text_));
    const std::size_t end = std::min(text_.find_first_of(" \t\r\n|\"`", at_), text_.size());
    std::string word(text_.substr(at_, end - at_));
    at_ = end;
    return word;
  }

  std::string read_quoted(char quote) {
    std::string out;
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size()) {
        ++at_;
        out += text_[at_] == 'n' ? '\n' : text_[at_] == 't' ? '\t' : text_[at_];
      } else {
        out += text_[at_];
      }
    }
    if (at_ >= text_.size()) throw place_.error(fmt::format("a string in '{{{{{}}}}}' has no end", text_));
    ++at_;
    return out;
  }

  std::string call(Words words, const std::optional<std::string>& piped) {
    if (words.empty()) throw place_.error(fmt::format("'{{{{{}}}}}' says nothing", text_));
    const std::string name = words.front();
    words.erase(words.begin());
    for (std::string& word : words) word = argument(word);
    if (piped) words.push_back(*piped);
    if (name.front() == '"' || name.front() == '.') {
      if (!words.empty()) throw place_.error(fmt::format("'{}' is not a function", name));
      return argument(name);
    }
    return function(name, words);
  }

  std::string argument(const std::string& word) const {
    if (word.front() == '"') return word.substr(1);
    if (word.front() != '.') return word;
    const auto field = with_.fields.find(word.substr(1));
    if (field != with_.fields.end()) return field->second;
    std::vector<std::string> names;
    for (const auto& [key, value] : with_.fields) names.push_back("." + key);
    throw place_.error(names.empty() ? fmt::format("'{}' has no value here", word)
                                     : fmt::format("'{}' has no value here; there is {}", word, join(names, ", ")),
                       "text that holds '{{' for another program is written {{`{{`}}");
  }

  void count(const std::string& name, const Words& words, std::size_t min, std::size_t max) const {
    if (words.size() < min || words.size() > max)
      throw place_.error(
          fmt::format("'{}' takes {} argument{}, here are {}", name, max, max == 1 ? "" : "s", words.size()));
  }

  std::string function(const std::string& name, const Words& words) const {
    if (name == "timestamp")
      return fmt::format("{}", std::chrono::floor<std::chrono::seconds>(with_.now).time_since_epoch().count());
    if (name == "isotime") {
      count(name, words, 0, 1);
      return format_go_time(with_.now, words.empty() ? "2006-01-02T15:04:05Z07:00" : words[0]);
    }
    if (name == "build_name") return with_.build_name;
    if (name == "build_type") return with_.build_type;
    if (name == "template_dir") return with_.folder;
    if (name == "pwd") return with_.working;
    if (name == "uuid") return with_.uuid;
    if (name == "packer_version") return "1.6.6";  // the last one that both kinds of templates were written for
    if (name == "user" || name == "build" || name == "env") return looked_up(name, words);
    return text_function(name, words);
  }

  std::string looked_up(const std::string& name, const Words& words) const {
    count(name, words, 1, 1);
    const std::string& key = words[0];
    if (name == "env") {
      if (!with_.environment)
        throw place_.error("'env' is only allowed in 'variables'",
                           "give a variable the default {{env `NAME`}} and use that");
      return with_.environment(key);
    }
    if (name == "user" && !with_.has_variables) throw place_.error("HCL2 has no 'user'", "write ${var." + key + "}");
    const auto& from = name == "user" ? with_.variables : with_.build;
    if (const auto found = from.find(key); found != from.end()) return found->second;
    std::vector<std::string> names;
    for (const auto& [known, value] : from) names.push_back(known);
    const auto near = nearest(key, names);
    const std::string hint = near ? fmt::format("; did you mean '{}'?", *near) : "";
    if (name == "user")
      throw place_.error(fmt::format("there is no variable '{}'{}", key, hint), "add it to 'variables'");
    throw place_.error(fmt::format("'{}' of a build is not known when it is baked here{}", key, hint),
                       "there is " + join(names, ", "));
  }

  std::string text_function(const std::string& name, Words words) const {
    static const std::vector<std::string> kNames = {"build",        "build_name", "build_type",  "clean_resource_name",
                                                    "env",          "isotime",    "lower",       "packer_version",
                                                    "pwd",          "replace",    "replace_all", "split",
                                                    "template_dir", "timestamp",  "title",       "trim",
                                                    "upper",        "user",       "uuid"};
    if (name == "if" || name == "range" || name == "with" || name == "end" || name == "else" || name == "define" ||
        name == "block" || name == "template")
      throw place_.error(fmt::format("'{}' in '{{{{ }}}}' is not supported", name),
                         "write the template in HCL2, which has conditions");
    if (name == "consul_key" || name == "vault" || name == "aws_secretsmanager")
      throw place_.error(fmt::format("'{}' is not supported", name), "give the value as a variable: -var NAME=VALUE");
    if (std::ranges::find(kNames, name) == kNames.end()) {
      const auto near = nearest(name, kNames);
      throw place_.error(
          fmt::format("there is no function '{}'{}", name, near ? fmt::format("; did you mean '{}'?", *near) : ""),
          "text that holds '{{' for another program is written {{`{{`}}");
    }
    if (name == "split") {
      count(name, words, 3, 3);
      const auto parts = split_by(words[0], words[1]);
      const auto index = parse_int(words[2]);
      if (!index || *index < 0 || static_cast<std::size_t>(*index) >= parts.size())
        throw place_.error(fmt::format("'{}' has no part {} when it is split", words[0], words[2]));
      return parts[static_cast<std::size_t>(*index)];
    }
    if (name == "replace_all" || name == "replace") {
      const bool all = name == "replace_all";
      count(name, words, all ? 3 : 4, all ? 3 : 4);
      return replaced(words[0], words[1], words.back(), all ? -1 : parse_int(words[2]).value_or(-1));
    }
    count(name, words, 1, 1);
    std::string text = words[0];
    if (name == "clean_resource_name") return clean_resource_name(text);
    if (name == "trim") return std::string(kiln::trim(text));
    if (name == "lower") return to_lower(text);
    bool begins = true;
    for (char& c : text) {
      if (name == "upper" || begins) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      begins = c == ' ';
    }
    return text;
  }

  static std::vector<std::string> split_by(const std::string& text, const std::string& separator) {
    if (separator.empty()) return {text};
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (std::size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + separator.size())
      parts.push_back(text.substr(begin, end - begin));
    parts.push_back(text.substr(begin));
    return parts;
  }

  static std::string replaced(const std::string& old, const std::string& with, const std::string& text,
                              std::int64_t most) {
    if (old.empty()) return text;
    std::string out;
    std::size_t begin = 0;
    for (std::size_t end; most != 0 && (end = text.find(old, begin)) != std::string::npos; begin = end + old.size()) {
      out.append(text, begin, end - begin).append(with);
      if (out.size() > kWeightMax) break;
      if (most > 0) --most;
    }
    return out + text.substr(begin);
  }

  std::string_view text_;
  const Interpolation& with_;
  const Place& place_;
  std::size_t at_ = 0;
};

}  // namespace

bool has_actions(const std::string& text) { return text.find("{{") != std::string::npos; }

std::string interpolate(const std::string& text, const Interpolation& with, const Place& place) {
  std::string out;
  std::size_t at = 0;
  while (true) {
    const std::size_t begin = text.find("{{", at);
    if (begin == std::string::npos) return out + text.substr(at);
    out.append(text, at, begin - at);
    // The end is the first "}}" that is not inside a string.
    std::size_t end = begin + 2;
    char quote = '\0';
    for (; end < text.size(); ++end) {
      const char c = text[end];
      if (quote != '\0') {
        if (c == '\\' && quote == '"')
          ++end;
        else if (c == quote)
          quote = '\0';
      } else if (c == '"' || c == '`') {
        quote = c;
      } else if (text.compare(end, 2, "}}") == 0) {
        break;
      }
    }
    if (end >= text.size())
      throw place.error("'{{' without '}}'", "text that holds '{{' for another program is written {{`{{`}}");
    std::string_view action = std::string_view(text).substr(begin + 2, end - begin - 2);
    at = end + 2;
    if (action.starts_with("- ")) {
      action.remove_prefix(2);
      while (!out.empty() && kSpaces.find(out.back()) != std::string_view::npos) out.pop_back();
    }
    const bool trims_right = action.ends_with(" -");
    if (trims_right) action.remove_suffix(2);
    if (!action.starts_with("/*")) out += Action(action, with, place).run();
    if (trims_right) at = std::min(text.find_first_not_of(kSpaces, at), text.size());
    if (out.size() > kWeightMax) throw place.error("this string becomes too long");
  }
}

std::string format_go_time(Time time, const std::string& layout) {
  static constexpr std::array<const char*, 12> kMonths = {"January",   "February", "March",    "April",
                                                          "May",       "June",     "July",     "August",
                                                          "September", "October",  "November", "December"};
  static constexpr std::array<const char*, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(time - day));
  const auto hour = clock.hours().count();
  const auto month = static_cast<unsigned>(date.month());
  const auto day_of_month = static_cast<unsigned>(date.day());
  const std::string month_name = kMonths.at(month - 1);
  const std::string day_name = kDays.at(std::chrono::weekday(day).c_encoding());
  const std::vector<std::pair<std::string, std::string>> parts = {
      {"2006", fmt::format("{:04}", static_cast<int>(date.year()))},
      {"January", month_name},
      {"Monday", day_name},
      {"MST", "UTC"},
      {"Z07:00", "Z"},
      {"Z0700", "Z"},
      {"-07:00", "+00:00"},
      {"-0700", "+0000"},
      {"Jan", month_name.substr(0, 3)},
      {"Mon", day_name.substr(0, 3)},
      {"01", fmt::format("{:02}", month)},
      {"02", fmt::format("{:02}", day_of_month)},
      {"03", fmt::format("{:02}", hour % 12 == 0 ? 12 : hour % 12)},
      {"04", fmt::format("{:02}", clock.minutes().count())},
      {"05", fmt::format("{:02}", clock.seconds().count())},
      {"06", fmt::format("{:02}", static_cast<int>(date.year()) % 100)},
      {"15", fmt::format("{:02}", hour)},
      {"PM", hour < 12 ? "AM" : "PM"},
      {"pm", hour < 12 ? "am" : "pm"},
      {"1", fmt::format("{}", month)},
      {"2", fmt::format("{}", day_of_month)},
      {"3", fmt::format("{}", hour % 12 == 0 ? 12 : hour % 12)},
      {"4", fmt::format("{}", clock.minutes().count())},
      {"5", fmt::format("{}", clock.seconds().count())}};
  std::string out;
  for (std::size_t at = 0; at < layout.size();) {
    const auto part = std::ranges::find_if(
        parts, [&](const auto& one) { return layout.compare(at, one.first.size(), one.first) == 0; });
    out += part == parts.end() ? layout.substr(at, 1) : part->second;
    at += part == parts.end() ? 1 : part->first.size();
  }
  return out;
}

std::string clean_resource_name(const std::string& name) {
  std::string out = name;
  for (char& c : out) {
    const bool allowed = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                         std::string_view("()[] ./-'@_").find(c) != std::string_view::npos;
    if (!allowed) c = '-';
  }
  return out;
}

}  // namespace kiln::packer
