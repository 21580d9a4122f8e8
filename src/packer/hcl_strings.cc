// HclReader: strings and heredocs, what is inserted into them, and their directives.
#include <fmt/format.h>

#include <charconv>

#include "base/text.h"
#include "packer/internal/hcl_reader.h"

namespace kiln::packer {
namespace {

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

}  // namespace

ExpressionPtr HclReader::read_all_as_template() {
  ExpressionPtr text = read_text(End::file);
  if (at_ < text_.size()) throw here().error("this '%{...}' has no beginning");
  return text;
}

ExpressionPtr HclReader::read_heredoc(const Place& place) {
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
  HclReader inner(source_, text, first_line, depth_);
  ExpressionPtr out = inner.read_all_as_template();
  return out;
}

void HclReader::remove_indent(std::vector<std::string>& lines) {
  std::size_t indent = std::string::npos;
  for (const std::string& line : lines) {
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first != std::string::npos) indent = std::min(indent, first);
  }
  if (indent == std::string::npos) return;
  for (std::string& line : lines) line.erase(0, std::min(indent, line.find_first_not_of(" \t")));
}

void HclReader::read_escape(std::string& out) {
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
    if (read.ec != std::errc() || read.ptr != begin + count || code > 0x10ffff)
      throw place.error("this escape needs hex digits");
    at_ += count;
    put_utf8(out, code);
  } else {
    throw place.error(fmt::format("there is no escape '\\{}'", c), "a backslash is written \\\\");
  }
}

ExpressionPtr HclReader::read_text(End end) {
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
    if (end == End::quote && c == '\n')
      throw out->place.error("this string has no end in its line", "a longer text is written as <<EOT .. EOT");
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
  if (out->parts.size() == 1 && (out->parts[0]->kind == Kind::literal || end == End::quote))
    return std::move(out->parts[0]);
  return out;
}

void HclReader::skip_trimmed() {
  while (peek() == ' ' || peek() == '\t' || peek() == '\r') ++at_;
  if (peek() == '\n') ++at_;
}

void HclReader::trim_end(std::string& text) {
  const std::size_t kept = text.find_last_not_of(" \t") + 1;
  if (kept < text.size()) {
    text.resize(kept);
  } else if (text.ends_with('\n')) {
    text.resize(text.find_last_not_of(" \t\r\n") + 1);
  }
}

void HclReader::close_brace(const Place& place, const char* unclosed) {
  const bool trims = eat("~");
  if (!eat("}")) throw place.error(unclosed);
  if (trims) skip_trimmed();
}

ExpressionPtr HclReader::read_inserted() {
  const Place place = here();
  at_ += 2;
  if (peek() == '~') ++at_;
  ExpressionPtr inner;
  const Newlines any(*this, true);
  inner = read_expression();
  close_brace(place, "'${' without '}'");
  return inner;
}

bool HclReader::closes_directive() {
  const std::size_t before = at_;
  at_ += 2;
  eat("~");
  const bool closes = eat_word("else") || eat_word("endif") || eat_word("endfor");
  at_ = before;
  if (closes && open_directives_ == 0) throw here().error("this '%{...}' has no beginning");
  return closes;
}

bool HclReader::eat_directive(std::string_view word) {
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

ExpressionPtr HclReader::read_directive(End end) {
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
  if (is_if)
    out->parts.push_back(at_ < text_.size() && eat_directive("else") ? as_text(read_text(end))
                                                                     : literal(Value::of(""), place));
  if (at_ >= text_.size() || !eat_directive(is_if ? "endif" : "endfor"))
    throw place.error(fmt::format("'%{{{}' without '%{{end{}}}'", is_if ? "if" : "for", is_if ? "if" : "for"));
  --open_directives_;
  return out;
}

ExpressionPtr HclReader::as_text(ExpressionPtr part) const {
  ExpressionPtr out = make(Kind::text, part->place);
  out->parts.push_back(std::move(part));
  return out;
}

}  // namespace kiln::packer
