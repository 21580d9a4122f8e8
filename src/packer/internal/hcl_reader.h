// HclReader: a recursive descent over the characters, because what a character means depends on where it stands: HCL
// has strings in expressions in strings. Private to this room.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "packer/hcl.h"

namespace kiln::packer {

inline bool begins_name(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0;
}
inline bool in_name(char c) { return begins_name(c) || std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-'; }

class HclReader {
 public:
  using Kind = Expression::Kind;

  // Of `text`, whose first line is line `first_line` of the source.
  HclReader(const spec::Source& source, std::string_view text, int first_line, int depth)
      : source_(source), text_(text), first_line_(first_line), depth_(depth) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\n') lines_.push_back(i + 1);
    }
  }

  Body read_file();

  ExpressionPtr read_all_as_template();

  ExpressionPtr read_only_expression();

 private:
  enum class End { quote, file };

  struct Deeper {
    explicit Deeper(HclReader& reader) : reader_(reader) {
      if (++reader.depth_ > 4 * kDepthMax) throw reader.here().error("this is nested too deeply");
    }
    ~Deeper() { --reader_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    HclReader& reader_;
  };
  // Whether a newline is a space now.
  struct Newlines {
    Newlines(HclReader& reader, bool are_spaces) : reader_(reader), before_(reader.newlines_) {
      reader.newlines_ = are_spaces;
    }
    ~Newlines() { reader_.newlines_ = before_; }
    Newlines(const Newlines&) = delete;
    Newlines& operator=(const Newlines&) = delete;
    HclReader& reader_;
    bool before_;
  };

  Place here() const { return place_of(at_); }
  Place place_of(std::size_t at) const;
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool starts(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  void space();

  bool eat(std::string_view what);
  void expect(std::string_view what, std::string_view why = "");

  std::string read_name();

  bool eat_word(std::string_view word);

  ExpressionPtr make(Kind kind, const Place& place) const;
  ExpressionPtr literal(Value value, const Place& place) const;

  void end_of_line();

  Body read_body();

  Block read_block(const std::string& type, const Place& place);

  ExpressionPtr read_expression();

  std::string_view operator_of(int level) const;

  ExpressionPtr read_binary(int level);

  ExpressionPtr read_unary();

  ExpressionPtr read_traversal() { return read_steps(read_primary(), true); }

  // `brackets`: false behind ".*", which takes attributes only.
  ExpressionPtr read_steps(ExpressionPtr of, bool brackets);

  // A '[' in the next line begins the next element of a list, it does not index this one.
  void space_in_line();

  ExpressionPtr index(ExpressionPtr of, ExpressionPtr key, const Place& place) const;

  ExpressionPtr splat(ExpressionPtr of, bool full, const Place& place);

  ExpressionPtr read_primary();

  ExpressionPtr read_word(const Place& place);

  ExpressionPtr read_number(const Place& place);

  ExpressionPtr read_list(const Place& place);

  ExpressionPtr read_object(const Place& place);

  ExpressionPtr read_key();

  ExpressionPtr read_for(const Place& place, bool object);

  void read_for_names(Expression& out);

  ExpressionPtr read_heredoc(const Place& place);

  static void remove_indent(std::vector<std::string>& lines);

  void read_escape(std::string& out);

  // Up to its end, or to a directive "%{else}", "%{endif}" or "%{endfor}", which is left for the caller.
  ExpressionPtr read_text(End end);

  // "~}" takes the spaces behind it, up to the end of the line and with it.
  void skip_trimmed();

  // "${~" and "%{~" take the spaces before them, or else the end of the line before.
  static void trim_end(std::string& text);

  void close_brace(const Place& place, const char* unclosed);

  ExpressionPtr read_inserted();

  // At "%{": whether it is one that ends or divides; its word.
  bool closes_directive();

  bool eat_directive(std::string_view word);

  ExpressionPtr read_directive(End end);

  // A branch that is "${x}" alone is a string all the same.
  ExpressionPtr as_text(ExpressionPtr part) const;

  const spec::Source& source_;
  std::string_view text_;
  int first_line_;
  int depth_;
  std::size_t at_ = 0;
  std::vector<std::size_t> lines_ = {0};
  bool newlines_ = false;
  int open_directives_ = 0;
};

}  // namespace kiln::packer
