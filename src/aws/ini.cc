// Ini: reads AWS's shared config and credentials files.
#include "aws/ini.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"

namespace kiln::aws {

namespace {

constexpr std::size_t bytes_max = std::size_t{1} << 20;
constexpr int lines_max = 10'000;

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// Cuts a comment off: '#' or ';' at the start, or after white space.
std::string_view without_comment(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((text[i] == '#' || text[i] == ';') && (i == 0 || is_blank(text[i - 1]))) {
      return text.substr(0, i);
    }
  }
  return text;
}

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {}

  IniFile read(std::string_view text) {
    if (text.size() > bytes_max) {
      fail_file("is longer than 1 MiB");
    }
    if (text.starts_with("\xEF\xBB\xBF")) {
      text.remove_prefix(3);  // a byte order mark, as some editors write it
    }
    for (const std::string& line : split(text, '\n')) {
      if (++line_ > lines_max) {
        fail_file(fmt::format("has more than {} lines", lines_max));
      }
      read_line(line);
    }
    return std::move(file_);
  }

 private:
  void read_line(std::string_view line) {
    if (line.find('\0') != std::string_view::npos) {
      fail("a zero byte: this is not a text file");
    }
    const bool indented = !line.empty() && is_blank(line[0]);
    std::string_view text = trim(without_comment(line));
    if (text.empty()) {
      return;
    }
    if (indented) {
      read_indented(text);
    } else if (text[0] == '[') {
      read_title(text);
    } else {
      read_setting(text);
    }
  }

  // "[profile  'my dev']" → "profile my dev"
  void read_title(std::string_view text) {
    if (text.back() != ']') {
      fail("a section's title has no closing ']'");
    }
    std::string title;
    for (char c : text.substr(1, text.size() - 2)) {
      if (c == '[' || c == ']') {
        fail("a section's title holds a bracket");
      }
      if (c == '"' || c == '\'') {
        continue;
      }
      if (!is_blank(c)) {
        title += c;
      } else if (!title.empty() && title.back() != ' ') {
        title += ' ';
      }
    }
    title = std::string(trim(title));
    if (title.empty()) {
      fail("a section has no title");
    }
    section_ = &file_.try_emplace(title).first->second;
    if (section_->line == 0) {
      section_->line = line_;
    }
    value_ = nullptr;
  }

  void read_setting(std::string_view text) {
    if (section_ == nullptr) {
      fail("a setting before the first [section]");
    }
    auto [key, value] = halves(text);
    value_ = &section_->values[key];
    *value_ = IniValue{value, line_, {}};
  }

  void read_indented(std::string_view text) {
    if (value_ == nullptr) {
      fail("an indented line that belongs to no setting");
    }
    if (value_->text.empty()) {
      auto [key, value] = halves(text);
      value_->nested[key] = value;
    } else {
      value_->text.append("\n").append(text);
    }
  }

  std::pair<std::string, std::string> halves(std::string_view text) const {
    std::size_t equals = text.find('=');
    std::string key = to_lower(trim(text.substr(0, equals)));
    if (equals == std::string_view::npos || key.empty()) {
      fail("neither a [section] nor 'key = value'");
    }
    return {key, std::string(trim(text.substr(equals + 1)))};
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(ErrorCode::usage, fmt::format("{}:{}: {}", path_, line_, why), "correct that line");
  }
  [[noreturn]] void fail_file(const std::string& why) const {
    throw Error(ErrorCode::usage, fmt::format("{} {}: not a file of AWS settings", path_, why));
  }

  const std::string& path_;
  int line_ = 0;
  IniFile file_;
  IniSection* section_ = nullptr;
  IniValue* value_ = nullptr;
};

}  // namespace

IniFile parse_ini(std::string_view text, const std::string& path) { return Reader(path).read(text); }

}  // namespace kiln::aws
