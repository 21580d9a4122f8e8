// read_hcl: a recursive descent over the characters, because what a character means depends on where it stands: HCL has
// strings in expressions in strings.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "packer/hcl.h"

namespace kiln::packer {
namespace {

using Kind = Expression::Kind;

bool begins_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0; }
bool in_name(char c) { return begins_name(c) || std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-'; }

void put_utf8(std::string& out, unsigned code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
  } else if (code < 0x10000) {
    out += {static_cast<char>(0xe0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3f)),
            static_cast<char>(0x80 | (code & 0x3f))};
  } else {
    out += {static_cast<char>(0xf0 | ((code >> 18) & 7)), static_cast<char>(0x80 | ((code >> 12) & 0x3f)),
            static_cast<char>(0x80 | ((code >> 6) & 0x3f)), static_cast<char>(0x80 | (code & 0x3f))};
  }
}

class Reader {
 public:
  // Of `text`, whose first line is line `first_line` of the source.
  Reader(const spec::Source& source, std::string_view text, int first_line, int depth)
      : source_(source), text_(text), first_line_(first_line), depth_(depth) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\n') lines_.push_back(i + 1);
    }
  }

  Body read_file() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    Body body = read_body();
    if (at_ < text_.size()) throw here().error("'}' closes nothing");
    return body;
  }

  ExpressionPtr read_all_as_template() {
    ExpressionPtr text = read_text(End::file);
    if (at_ < text_.size()) throw here().error("this '%{...}' has no beginning");
    return text;
  }

  ExpressionPtr read_only_expression() {
    newlines_ = true;
    ExpressionPtr expression = read_expression();
    space();
    if (at_ < text_.size()) throw here().error("there is more after the end of the value");
    return expression;
  }

 private:
  enum class End { quote, file };

  struct Deeper {
    explicit Deeper(Reader& reader) : reader_(reader) {
      if (++reader.depth_ > 4 * kDepthMax) throw reader.here().error("this is nested too deeply");
    }
    ~Deeper() { --reader_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    Reader& reader_;
  };
  // Whether a newline is a space now.
  struct Newlines {
    Newlines(Reader& reader, bool are_spaces) : reader_(reader), before_(reader.newlines_) { reader.newlines_ = are_spaces; }
    ~Newlines() { reader_.newlines_ = before_; }
    Newlines(const Newlines&) = delete;
    Newlines& operator=(const Newlines&) = delete;
    Reader& reader_;
    bool before_;
  };

  Place here() const { return place_of(at_); }
  Place place_of(std::size_t at) const {
    const auto line = std::ranges::upper_bound(lines_, at) - lines_.begin() - 1;
    return {&source_, {first_line_ + static_cast<int>(line), static_cast<int>(at - lines_.at(static_cast<std::size_t>(line))) + 1}};
  }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool starts(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  void space() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && newlines_)) {
        ++at_;
      } else if (c == '#' || starts("//")) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (starts("/*")) {
        const std::size_t end = text_.find("*/", at_ + 2);
        if (end == std::string_view::npos) throw here().error("this comment has no end");
        at_ = end + 2;
      } else {
        return;
      }
    }
  }

  bool eat(std::string_view what) {
    space();
    if (!starts(what)) return false;
    at_ += what.size();
    return true;
  }
  void expect(std::string_view what, std::string_view why = "") {
    if (eat(what)) return;
    const std::string found = at_ >= text_.size() ? "the file ends" : peek() == '\n' ? "the line ends" : fmt::format("'{}' is", peek());
    throw here().error(fmt::format("{} where '{}' must be{}", found, what, why));
  }

  std::string read_name() {
    space();
    if (!begins_name(peek())) throw here().error("a name must be here");
    const std::size_t begin = at_;
    while (at_ < text_.size() && in_name(text_[at_])) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  bool eat_word(std::string_view word) {
    space();
    if (!starts(word) || in_name(peek(word.size()))) return false;
    at_ += word.size();
    return true;
  }

  ExpressionPtr make(Kind kind, const Place& place) const {
    auto out = std::make_unique<Expression>();
    out->kind = kind;
    out->place = place;
    return out;
  }
  ExpressionPtr literal(Value value, const Place& place) const {
    ExpressionPtr out = make(Kind::literal, place);
    out->value = std::move(value);
    out->value.place = place;
    return out;
  }

  void end_of_line() {
    space();
    if (at_ >= text_.size() || peek() == '}') return;
    if (peek() != '\n') throw here().error(fmt::format("'{}' must be in a line of its own", peek()));
    ++at_;
  }

  Body read_body() {
    const Deeper deeper(*this);
    const Newlines lines(*this, false);
    Body body;
    while (true) {
      {
        const Newlines any(*this, true);
        space();
      }
      if (at_ >= text_.size() || peek() == '}') return body;
      const Place place = here();
      const std::string name = read_name();
      space();
      if (peek() == '=' && peek(1) != '=') {
        ++at_;
        if (body.find(name) != nullptr) throw place.error(fmt::format("'{}' is here twice", name));
        body.attributes.push_back({name, place, read_expression()});
      } else {
        body.blocks.push_back(read_block(name, place));
      }
      end_of_line();
    }
  }

  Block read_block(const std::string& type, const Place& place) {
    Block block{type, {}, place, {}};
    for (space(); peek() != '{'; space()) {
      if (peek() == '"') {
        ++at_;
        const ExpressionPtr label = read_text(End::quote);
        if (label->kind != Kind::literal) throw label->place.error("a block's label is a plain string");
        block.labels.push_back(label->value.text);
      } else if (begins_name(peek())) {
        block.labels.push_back(read_name());
      } else {
        throw here().error(fmt::format("'{}' is neither an attribute ('{} = ..') nor a block ('{} {{')", type, type, type));
      }
    }
    ++at_;
    block.body = read_body();
    expect("}", fmt::format(", to close the block '{}' of line {}", type, place.where.line));
    return block;
  }

  ExpressionPtr read_expression() {
    const Deeper deeper(*this);
    ExpressionPtr condition = read_binary(0);
    space();
    if (peek() != '?') return condition;
    ExpressionPtr out = make(Kind::condition, here());
    ++at_;
    out->parts.push_back(std::move(condition));
    out->parts.push_back(read_expression());
    expect(":", ", between the two values of '?'");
    out->parts.push_back(read_expression());
    return out;
  }

  std::string_view operator_of(int level) const {
    static const std::array<std::vector<std::string_view>, 6> kLevels = {
        {{"||"}, {"&&"}, {"==", "!="}, {"<=", ">=", "<", ">"}, {"+", "-"}, {"*", "/", "%"}}};
    for (const std::string_view one : kLevels.at(static_cast<std::size_t>(level))) {
      if (starts(one) && !(one == "%" && peek(1) == '{')) return one;
    }
    return {};
  }

  ExpressionPtr read_binary(int level) {
    if (level == 6) return read_unary();
    ExpressionPtr left = read_binary(level + 1);
    int count = 0;
    while (true) {
      space();
      const std::string_view one = operator_of(level);
      if (one.empty()) return left;
      // Each one nests the tree that is evaluated later.
      if (++count > kDepthMax) throw here().error("this expression is too long");
      ExpressionPtr out = make(Kind::binary, here());
      at_ += one.size();
      out->name = one;
      out->parts.push_back(std::move(left));
      out->parts.push_back(read_binary(level + 1));
      left = std::move(out);
    }
  }

  ExpressionPtr read_unary() {
    const Deeper deeper(*this);
    space();
    const char c = peek();
    if (c != '!' && c != '-') return read_traversal();
    ExpressionPtr out = make(Kind::unary, here());
    ++at_;
    out->name = std::string(1, c);
    out->parts.push_back(read_unary());
    return out;
  }

  ExpressionPtr read_traversal() { return read_steps(read_primary(), true); }

  // `brackets`: false behind ".*", which takes attributes only.
  ExpressionPtr read_steps(ExpressionPtr of, bool brackets) {
    int count = 0;
    while (true) {
      space_in_line();
      const Place place = here();
      if (++count > kDepthMax) throw place.error("this expression is too long");
      if (peek() == '.' && peek(1) != '.') {
        ++at_;
        if (eat("*")) return splat(std::move(of), false, place);
        if (std::isdigit(static_cast<unsigned char>(peek())) != 0) {
          const std::size_t begin = at_;
          while (std::isdigit(static_cast<unsigned char>(peek())) != 0) ++at_;
          of = index(std::move(of), literal(Value::of(std::string(text_.substr(begin, at_ - begin))), place), place);
          continue;
        }
        ExpressionPtr out = make(Kind::attribute, place);
        out->name = read_name();
        out->parts.push_back(std::move(of));
        of = std::move(out);
      } else if (peek() == '[' && brackets) {
        ++at_;
        const Newlines any(*this, true);
        if (eat("*")) {
          expect("]");
          return splat(std::move(of), true, place);
        }
        ExpressionPtr key = read_expression();
        expect("]");
        of = index(std::move(of), std::move(key), place);
      } else {
        return of;
      }
    }
  }

  // A '[' in the next line begins the next element of a list, it does not index this one.
  void space_in_line() {
    const Newlines line(*this, false);
    const std::size_t before = at_;
    space();
    if (peek() != '.' && peek() != '[') at_ = before;
  }

  ExpressionPtr index(ExpressionPtr of, ExpressionPtr key, const Place& place) const {
    ExpressionPtr out = make(Kind::index, place);
    out->parts.push_back(std::move(of));
    out->parts.push_back(std::move(key));
    return out;
  }

  ExpressionPtr splat(ExpressionPtr of, bool full, const Place& place) {
    const Deeper deeper(*this);
    ExpressionPtr out = make(Kind::splat, place);
    out->parts.push_back(std::move(of));
    out->parts.push_back(read_steps(make(Kind::item, place), full));
    return out;
  }

  ExpressionPtr read_primary() {
    const Place place = here();
    const char c = peek();
    if (c == '(') {
      ++at_;
      const Newlines any(*this, true);
      ExpressionPtr inner = read_expression();
      expect(")");
      return inner;
    }
    if (c == '[') return read_list(place);
    if (c == '{') return read_object(place);
    if (c == '"') {
      ++at_;
      const int open = std::exchange(open_directives_, 0);
      ExpressionPtr text = read_text(End::quote);
      open_directives_ = open;
      return text;
    }
    if (starts("<<")) return read_heredoc(place);
    if (std::isdigit(static_cast<unsigned char>(c)) != 0) return read_number(place);
    if (!begins_name(c))
      throw place.error(at_ >= text_.size() || c == '\n' ? "a value must be here" : fmt::format("'{}' is not the beginning of a value", c));
    return read_word(place);
  }

  ExpressionPtr read_word(const Place& place) {
    const std::string name = read_name();
    if (name == "true" || name == "false") return literal(Value::of(name == "true"), place);
    if (name == "null") return literal({}, place);
    if (peek() != '(') {
      ExpressionPtr out = make(Kind::name, place);
      out->name = name;
      return out;
    }
    ++at_;
    const Newlines any(*this, true);
    ExpressionPtr call = make(Kind::call, place);
    call->name = name;
    while (!eat(")")) {
      if (call->spread) throw here().error("nothing may follow '...'");
      if (!call->parts.empty()) {
        expect(",", ", between two arguments");
        if (eat(")")) break;
      }
      call->parts.push_back(read_expression());
      call->spread = eat("...");
    }
    return call;
  }

  ExpressionPtr read_number(const Place& place) {
    double number = 0;
    const auto read = std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
    if (read.ec != std::errc()) throw place.error("this is not a number");
    at_ = static_cast<std::size_t>(read.ptr - text_.data());
    return literal(Value::of(number), place);
  }

  ExpressionPtr read_list(const Place& place) {
    ++at_;
    const Newlines any(*this, true);
    if (eat_word("for")) return read_for(place, false);
    ExpressionPtr out = make(Kind::list, place);
    while (!eat("]")) {
      if (!out->parts.empty()) {
        expect(",", ", between two elements of a list");
        if (eat("]")) break;
      }
      out->parts.push_back(read_expression());
    }
    return out;
  }

  ExpressionPtr read_object(const Place& place) {
    ++at_;
    {
      const Newlines any(*this, true);
      if (eat_word("for")) return read_for(place, true);
    }
    ExpressionPtr out = make(Kind::object, place);
    const Newlines line(*this, false);
    while (true) {
      {
        const Newlines any(*this, true);
        if (eat("}")) return out;
      }
      out->parts.push_back(read_key());
      if (!eat("=")) expect(":", " or '=', between key and value");
      out->parts.push_back(read_expression());
      space();
      if (eat(",") || peek() == '\n') continue;
      if (peek() != '}') expect("}", ", or ',' or a new line");
    }
  }

  ExpressionPtr read_key() {
    const Place place = here();
    if (begins_name(peek())) {
      const std::size_t before = at_;
      const std::string name = read_name();
      space();
      if (peek() == '=' || peek() == ':') return literal(Value::of(name), place);
      at_ = before;
    }
    return read_expression();
  }

  ExpressionPtr read_for(const Place& place, bool object) {
    ExpressionPtr out = make(object ? Kind::for_object : Kind::for_list, place);
    read_for_names(*out);
    expect(":", ", behind what 'for' goes over");
    ExpressionPtr key;
    if (object) {
      key = read_expression();
      expect("=>", ", between key and value of 'for'");
    }
    ExpressionPtr value = read_expression();
    if (object) out->spread = eat("...");
    out->parts.push_back(std::move(value));
    out->parts.push_back(eat_word("if") ? read_expression() : nullptr);
    if (object) out->parts.push_back(std::move(key));
    expect(object ? "}" : "]", ", to close 'for'");
    return out;
  }

  void read_for_names(Expression& out) {
    out.name = read_name();
    if (eat(",")) {
      out.second = out.name;
      out.name = read_name();
    }
    if (!eat_word("in")) throw here().error("'in' must be here");
    out.parts.push_back(read_expression());
  }

  ExpressionPtr read_heredoc(const Place& place) {
    at_ += 2;
    const bool indented = peek() == '-';
    if (indented) ++at_;
    const std::string marker = read_name();
    while (peek() == '\r' || peek() == ' ') ++at_;
    if (peek() != '\n') throw here().error("a new line must follow the marker of a heredoc");
    ++at_;
    const int first_line = here().where.line;
    std::vector<std::string> lines;
    while (true) {
      if (at_ >= text_.size()) throw place.error(fmt::format("this text has no end: no line says '{}'", marker));
      const std::size_t end = std::min(text_.find('\n', at_), text_.size());
      const std::string_view line = text_.substr(at_, end - at_);
      at_ = end;
      if (kiln::trim(line) == marker) break;
      lines.emplace_back(line);
      if (at_ < text_.size()) ++at_;
    }
    if (indented) remove_indent(lines);
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    Reader inner(source_, text, first_line, depth_);
    ExpressionPtr out = inner.read_all_as_template();
    return out;
  }

  static void remove_indent(std::vector<std::string>& lines) {
    std::size_t indent = std::string::npos;
    for (const std::string& line : lines) {
      const std::size_t first = line.find_first_not_of(" \t\r");
      if (first != std::string::npos) indent = std::min(indent, first);
    }
    if (indent == std::string::npos) return;
    for (std::string& line : lines) line.erase(0, std::min(indent, line.find_first_not_of(" \t")));
  }

  void read_escape(std::string& out) {
    const Place place = here();
    const char c = peek(1);
    at_ += 2;
    if (c == 'n') {
      out += '\n';
    } else if (c == 't') {
      out += '\t';
    } else if (c == 'r') {
      out += '\r';
    } else if (c == '"' || c == '\\') {
      out += c;
    } else if (c == 'u' || c == 'U') {
      const std::size_t count = c == 'u' ? 4 : 8;
      unsigned code = 0;
      const char* begin = text_.data() + at_;
      const char* end = begin + std::min(count, text_.size() - at_);
      const auto read = std::from_chars(begin, end, code, 16);
      if (read.ec != std::errc() || read.ptr != begin + count || code > 0x10ffff) throw place.error("this escape needs hex digits");
      at_ += count;
      put_utf8(out, code);
    } else {
      throw place.error(fmt::format("there is no escape '\\{}'", c), "a backslash is written \\\\");
    }
  }

  // Up to its end, or to a directive "%{else}", "%{endif}" or "%{endfor}", which is left for the caller.
  ExpressionPtr read_text(End end) {
    const Deeper deeper(*this);
    ExpressionPtr out = make(Kind::text, here());
    std::string plain;
    Place plain_place = here();
    const auto flush = [&] {
      if (!plain.empty()) out->parts.push_back(literal(Value::of(plain), plain_place));
      plain.clear();
    };
    while (true) {
      if (at_ >= text_.size()) {
        if (end == End::quote) throw out->place.error("this string has no end");
        break;
      }
      const char c = peek();
      if (end == End::quote && c == '"') {
        if (open_directives_ == 0) ++at_;
        break;
      }
      if (end == End::quote && c == '\n') throw out->place.error("this string has no end in its line", "a longer text is written as <<EOT .. EOT");
      if (end == End::quote && c == '\\') {
        read_escape(plain);
      } else if (starts("$${") || starts("%%{")) {
        plain += text_.substr(at_ + 1, 2);
        at_ += 3;
      } else if (starts("${") || starts("%{")) {
        if (peek(2) == '~') trim_end(plain);
        flush();
        if (c == '%' && closes_directive()) break;
        out->parts.push_back(c == '$' ? read_inserted() : read_directive(end));
        plain_place = here();
      } else {
        plain += c;
        ++at_;
      }
    }
    flush();
    if (out->parts.empty()) return literal(Value::of(""), out->place);
    // "${x}" alone is x itself, not a string.
    if (out->parts.size() == 1 && (out->parts[0]->kind == Kind::literal || end == End::quote)) return std::move(out->parts[0]);
    return out;
  }

  // "~}" takes the spaces behind it, up to the end of the line and with it.
  void skip_trimmed() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\r') ++at_;
    if (peek() == '\n') ++at_;
  }

  // "${~" and "%{~" take the spaces before them, or else the end of the line before.
  static void trim_end(std::string& text) {
    const std::size_t kept = text.find_last_not_of(" \t") + 1;
    if (kept < text.size()) {
      text.resize(kept);
    } else if (text.ends_with('\n')) {
      text.resize(text.find_last_not_of(" \t\r\n") + 1);
    }
  }

  void close_brace(const Place& place, const char* unclosed) {
    const bool trims = eat("~");
    if (!eat("}")) throw place.error(unclosed);
    if (trims) skip_trimmed();
  }

  ExpressionPtr read_inserted() {
    const Place place = here();
    at_ += 2;
    if (peek() == '~') ++at_;
    ExpressionPtr inner;
    const Newlines any(*this, true);
    inner = read_expression();
    close_brace(place, "'${' without '}'");
    return inner;
  }

  // At "%{": whether it is one that ends or divides; its word.
  bool closes_directive() {
    const std::size_t before = at_;
    at_ += 2;
    eat("~");
    const bool closes = eat_word("else") || eat_word("endif") || eat_word("endfor");
    at_ = before;
    if (closes && open_directives_ == 0) throw here().error("this '%{...}' has no beginning");
    return closes;
  }

  bool eat_directive(std::string_view word) {
    if (!starts("%{")) return false;
    const std::size_t before = at_;
    at_ += 2;
    eat("~");
    if (!eat_word(word)) {
      at_ = before;
      return false;
    }
    close_brace(here(), "'%{' without '}'");
    return true;
  }

  ExpressionPtr read_directive(End end) {
    const Place place = here();
    at_ += 2;
    eat("~");
    const bool is_if = eat_word("if");
    if (!is_if && !eat_word("for")) throw place.error("'%{' begins 'if' or 'for'", "text that holds '%{' is written %%{");
    ExpressionPtr out = make(is_if ? Kind::condition : Kind::for_text, place);
    {
      const Newlines any(*this, true);
      if (is_if) {
        out->parts.push_back(read_expression());
      } else {
        read_for_names(*out);
      }
      close_brace(place, "'%{' without '}'");
    }
    ++open_directives_;
    out->parts.push_back(as_text(read_text(end)));
    if (is_if) out->parts.push_back(at_ < text_.size() && eat_directive("else") ? as_text(read_text(end)) : literal(Value::of(""), place));
    if (at_ >= text_.size() || !eat_directive(is_if ? "endif" : "endfor"))
      throw place.error(fmt::format("'%{{{}' without '%{{end{}}}'", is_if ? "if" : "for", is_if ? "if" : "for"));
    --open_directives_;
    return out;
  }

  // A branch that is "${x}" alone is a string all the same.
  ExpressionPtr as_text(ExpressionPtr part) const {
    ExpressionPtr out = make(Kind::text, part->place);
    out->parts.push_back(std::move(part));
    return out;
  }

  const spec::Source& source_;
  std::string_view text_;
  int first_line_;
  int depth_;
  std::size_t at_ = 0;
  std::vector<std::size_t> lines_ = {0};
  bool newlines_ = false;
  int open_directives_ = 0;
};

}  // namespace

const Attribute* Body::find(const std::string& name) const {
  const auto found = std::ranges::find(attributes, name, &Attribute::name);
  return found == attributes.end() ? nullptr : &*found;
}

Body read_hcl(const spec::Source& source) { return Reader(source, source.text, 1, 0).read_file(); }

ExpressionPtr read_hcl_template(const spec::Source& source) { return Reader(source, source.text, 1, 0).read_all_as_template(); }

ExpressionPtr read_hcl_expression(const spec::Source& source) {
  return Reader(source, source.text, 1, 0).read_only_expression();
}

}  // namespace kiln::packer
