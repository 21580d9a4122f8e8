// Parser: CLI11 behind the few words that commands need. Its header is dear, so it is read here alone.
#include "cli/parser.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"

namespace kiln::cli {

struct Parser::Parts {
  CLI::App app;
};

Parser::Parser() : parts_(std::make_unique<Parts>()) { parts_->app.set_help_flag(); }
Parser::~Parser() = default;

Parser::Rule& Parser::Rule::required() {
  option_->required();
  return *this;
}

Parser::Rule& Parser::Rule::separated_by(char mark) {
  option_->delimiter(mark);
  return *this;
}

Parser::Rule& Parser::Rule::within(std::int64_t least, std::int64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Parser::Rule& Parser::Rule::one_of(const std::vector<std::string>& words) {
  option_->check(CLI::IsMember(words));
  return *this;
}

Parser::Rule& Parser::Rule::check(const std::function<std::string(const std::string&)>& wrong) {
  option_->check(wrong);
  return *this;
}

void Parser::flag(const std::string& names, bool& given) { parts_->app.add_flag(names, given); }
void Parser::flag(const std::string& names, std::optional<bool>& given) { parts_->app.add_flag(names, given); }

Parser::Rule Parser::option(const std::string& names, std::string& value) {
  return Rule(parts_->app.add_option(names, value));
}
Parser::Rule Parser::option(const std::string& names, std::vector<std::string>& value) {
  return Rule(parts_->app.add_option(names, value));
}
Parser::Rule Parser::option(const std::string& names, std::optional<std::string>& value) {
  return Rule(parts_->app.add_option(names, value));
}
Parser::Rule Parser::option(const std::string& names, int& value) { return Rule(parts_->app.add_option(names, value)); }
Parser::Rule Parser::option(const std::string& names, std::optional<int>& value) {
  return Rule(parts_->app.add_option(names, value));
}
Parser::Rule Parser::option(const std::string& names, double& value) {
  return Rule(parts_->app.add_option(names, value));
}
Parser::Rule Parser::option(const std::string& names, std::size_t& value) {
  return Rule(parts_->app.add_option(names, value));
}

bool Parser::parse(std::string_view command, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--help" || word == "-h") {
      say(trim(help_page(command)));
      return false;
    }
    if (word == "--") break;
  }
  CLI::App& app = parts_->app;
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
    return true;
  } catch (const CLI::ParseError& error) {
    std::string next = fmt::format("See: kiln help {}", command);
    std::vector<std::string> known;
    for (const CLI::Option* option : app.get_options()) known.push_back("--" + option->get_single_name());
    for (const std::string& word : words) {
      if (!word.starts_with("--")) continue;
      const std::string name = word.substr(0, word.find('='));
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      if (auto near = nearest(name, known)) next = fmt::format("Did you mean {}? See: kiln help {}", *near, command);
    }
    throw Error(ErrorCode::usage, fmt::format("kiln {}: {}", command, error.what()), next);
  }
}

}  // namespace kiln::cli
