// Parser: how a command declares its options and reads its words.
//
// A variable that an option is bound to must outlive `parse`, which sets it when the option is given; else it keeps its
// value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class Option;
}

namespace kiln::cli {

class Parser {
 public:
  // What is asked of an option besides its type.
  class Rule {
   public:
    explicit Rule(CLI::Option* option) : option_(option) {}
    Rule& required();
    Rule& separated_by(char mark);  // several values in one word: "a,b"
    Rule& within(std::int64_t least, std::int64_t most);
    Rule& one_of(const std::vector<std::string>& words);
    // `wrong` says what is wrong with a word; empty: nothing.
    Rule& check(const std::function<std::string(const std::string&)>& wrong);

   private:
    CLI::Option* option_;
  };

  Parser();
  ~Parser();
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  // "--json"; "-y,--yes" has two names, "--throttle,!--no-throttle" one for no.
  void flag(const std::string& names, bool& given);
  void flag(const std::string& names, std::optional<bool>& given);
  // "--image", or "image" for a word that stands alone. A number that is none is refused; a list takes all that come.
  Rule option(const std::string& names, std::string& value);
  Rule option(const std::string& names, std::vector<std::string>& value);
  Rule option(const std::string& names, std::optional<std::string>& value);
  Rule option(const std::string& names, int& value);
  Rule option(const std::string& names, std::optional<int>& value);
  Rule option(const std::string& names, double& value);
  Rule option(const std::string& names, std::size_t& value);

  // `--help` prints the command's page and returns false; what is wrong is an Error(usage) that names the word and the
  // nearest option.
  bool parse(std::string_view command, const std::vector<std::string>& words);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace kiln::cli
