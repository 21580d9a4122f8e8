// HclReader: bodies, blocks, and expressions but for strings.
#include "packer/internal/hcl_reader.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/text.h"

namespace kiln::packer {

Body HclReader::read_file() {
  if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
  Body body = read_body();
  if (at_ < text_.size()) throw here().error("'}' closes nothing");
  return body;
}

ExpressionPtr HclReader::read_only_expression() {
  newlines_ = true;
  ExpressionPtr expression = read_expression();
  space();
  if (at_ < text_.size()) throw here().error("there is more after the end of the value");
  return expression;
}

Place HclReader::place_of(std::size_t at) const {
  const auto line = std::ranges::upper_bound(lines_, at) - lines_.begin() - 1;
  return {&source_,
          {first_line_ + static_cast<int>(line), static_cast<int>(at - lines_.at(static_cast<std::size_t>(line))) + 1}};
}

void HclReader::space() {
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

bool HclReader::eat(std::string_view what) {
  space();
  if (!starts(what)) return false;
  at_ += what.size();
  return true;
}

void HclReader::expect(std::string_view what, std::string_view why) {
  if (eat(what)) return;
  const std::string found = at_ >= text_.size() ? "the file ends"
                            : peek() == '\n'    ? "the line ends"
                                                : fmt::format("'{}' is", peek());
  throw here().error(fmt::format("{} where '{}' must be{}", found, what, why));
}

std::string HclReader::read_name() {
  space();
  if (!begins_name(peek())) throw here().error("a name must be here");
  const std::size_t begin = at_;
  while (at_ < text_.size() && in_name(text_[at_])) ++at_;
  return std::string(text_.substr(begin, at_ - begin));
}

bool HclReader::eat_word(std::string_view word) {
  space();
  if (!starts(word) || in_name(peek(word.size()))) return false;
  at_ += word.size();
  return true;
}

ExpressionPtr HclReader::make(Kind kind, const Place& place) const {
  auto out = std::make_unique<Expression>();
  out->kind = kind;
  out->place = place;
  return out;
}

ExpressionPtr HclReader::literal(Value value, const Place& place) const {
  ExpressionPtr out = make(Kind::literal, place);
  out->value = std::move(value);
  out->value.place = place;
  return out;
}

void HclReader::end_of_line() {
  space();
  if (at_ >= text_.size() || peek() == '}') return;
  if (peek() != '\n') throw here().error(fmt::format("'{}' must be in a line of its own", peek()));
  ++at_;
}

Body HclReader::read_body() {
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

Block HclReader::read_block(const std::string& type, const Place& place) {
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
      throw here().error(
          fmt::format("'{}' is neither an attribute ('{} = ..') nor a block ('{} {{')", type, type, type));
    }
  }
  ++at_;
  block.body = read_body();
  expect("}", fmt::format(", to close the block '{}' of line {}", type, place.where.line));
  return block;
}

ExpressionPtr HclReader::read_expression() {
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

std::string_view HclReader::operator_of(int level) const {
  static const std::array<std::vector<std::string_view>, 6> kLevels = {
      {{"||"}, {"&&"}, {"==", "!="}, {"<=", ">=", "<", ">"}, {"+", "-"}, {"*", "/", "%"}}};
  for (const std::string_view one : kLevels.at(static_cast<std::size_t>(level))) {
    if (starts(one) && !(one == "%" && peek(1) == '{')) return one;
  }
  return {};
}

ExpressionPtr HclReader::read_binary(int level) {
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

ExpressionPtr HclReader::read_unary() {
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

ExpressionPtr HclReader::read_steps(ExpressionPtr of, bool brackets) {
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

void HclReader::space_in_line() {
  const Newlines line(*this, false);
  const std::size_t before = at_;
  space();
  if (peek() != '.' && peek() != '[') at_ = before;
}

ExpressionPtr HclReader::index(ExpressionPtr of, ExpressionPtr key, const Place& place) const {
  ExpressionPtr out = make(Kind::index, place);
  out->parts.push_back(std::move(of));
  out->parts.push_back(std::move(key));
  return out;
}

ExpressionPtr HclReader::splat(ExpressionPtr of, bool full, const Place& place) {
  const Deeper deeper(*this);
  ExpressionPtr out = make(Kind::splat, place);
  out->parts.push_back(std::move(of));
  out->parts.push_back(read_steps(make(Kind::item, place), full));
  return out;
}

ExpressionPtr HclReader::read_primary() {
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
    throw place.error(at_ >= text_.size() || c == '\n' ? "a value must be here"
                                                       : fmt::format("'{}' is not the beginning of a value", c));
  return read_word(place);
}

ExpressionPtr HclReader::read_word(const Place& place) {
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

ExpressionPtr HclReader::read_number(const Place& place) {
  double number = 0;
  const auto read = std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
  if (read.ec != std::errc()) throw place.error("this is not a number");
  at_ = static_cast<std::size_t>(read.ptr - text_.data());
  return literal(Value::of(number), place);
}

ExpressionPtr HclReader::read_list(const Place& place) {
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

ExpressionPtr HclReader::read_object(const Place& place) {
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

ExpressionPtr HclReader::read_key() {
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

ExpressionPtr HclReader::read_for(const Place& place, bool object) {
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

void HclReader::read_for_names(Expression& out) {
  out.name = read_name();
  if (eat(",")) {
    out.second = out.name;
    out.name = read_name();
  }
  if (!eat_word("in")) throw here().error("'in' must be here");
  out.parts.push_back(read_expression());
}

const Attribute* Body::find(const std::string& name) const {
  const auto found = std::ranges::find(attributes, name, &Attribute::name);
  return found == attributes.end() ? nullptr : &*found;
}

Body read_hcl(const spec::Source& source) { return HclReader(source, source.text, 1, 0).read_file(); }

ExpressionPtr read_hcl_template(const spec::Source& source) {
  return HclReader(source, source.text, 1, 0).read_all_as_template();
}

ExpressionPtr read_hcl_expression(const spec::Source& source) {
  return HclReader(source, source.text, 1, 0).read_only_expression();
}

}  // namespace kiln::packer
