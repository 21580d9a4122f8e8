// read_json: JSON with the place of every value, which the usual readers do not keep.
#include <fmt/format.h>

#include <cctype>
#include <charconv>

#include "packer/value.h"

namespace kiln::packer {
namespace {

class JsonReader {
 public:
  explicit JsonReader(const spec::Source& source) : source_(source), text_(source.text) {}

  Value read() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    space();
    Value value = read_value(0);
    space();
    if (at_ < text_.size()) throw here().error("there is more after the end of the JSON text");
    return value;
  }

 private:
  Place here() const { return {&source_, {line_, static_cast<int>(at_ - line_start_) + 1}}; }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n')) {
      if (text_[at_] == '\n') {
        ++line_;
        line_start_ = at_ + 1;
      }
      ++at_;
    }
    if (text_.substr(at_).starts_with("//") || text_.substr(at_).starts_with("/*"))
      throw here().error("JSON has no comments", "a key that begins with '_' at the top of the template is one");
  }

  void expect(char wanted) {
    space();
    if (peek() != wanted)
      throw here().error(at_ >= text_.size() ? fmt::format("the file ends where '{}' must be", wanted)
                                             : fmt::format("'{}' must be here", wanted));
    ++at_;
  }

  bool word(std::string_view wanted) {
    if (!text_.substr(at_).starts_with(wanted)) return false;
    at_ += wanted.size();
    return true;
  }

  Value read_value(int depth) {
    if (depth > kDepthMax) throw here().error("this is nested too deeply");
    space();
    const Place place = here();
    Value value = read_bare(depth);
    value.place = place;
    return value;
  }

  Value read_bare(int depth) {
    const char c = peek();
    if (c == '{') return read_object(depth);
    if (c == '[') return read_list(depth);
    if (c == '"') return Value::of(read_string());
    if (c == '-' || std::isdigit(static_cast<unsigned char>(c)) != 0) return read_number();
    if (word("true")) return Value::of(true);
    if (word("false")) return Value::of(false);
    if (word("null")) return {};
    throw here().error(at_ >= text_.size() ? "the file ends where a value must be" : "a JSON value must be here");
  }

  Value read_number() {
    double number = 0;
    const auto read = std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
    if (read.ec != std::errc()) throw here().error("this is not a number");
    at_ = static_cast<std::size_t>(read.ptr - text_.data());
    return Value::of(number);
  }

  Value read_list(int depth) {
    Value list = Value::list();
    expect('[');
    space();
    while (peek() != ']') {
      if (!list.items.empty()) expect(',');
      list.items.push_back(read_value(depth + 1));
      space();
      if (peek() != ',' && peek() != ']') expect(']');
    }
    ++at_;
    return list;
  }

  Value read_object(int depth) {
    Value object = Value::object();
    expect('{');
    space();
    while (peek() != '}') {
      if (!object.members.empty()) expect(',');
      space();
      const Place place = here();
      if (peek() != '"') throw place.error("a key in double quotes must be here");
      const std::string key = read_string();
      if (object.find(key) != nullptr) throw place.error(fmt::format("'{}' is here twice", key));
      if (object.members.size() >= kMembersMax) throw place.error("this object is too large");
      expect(':');
      object.set(key, read_value(depth + 1));
      space();
      if (peek() != ',' && peek() != '}') expect('}');
    }
    ++at_;
    return object;
  }

  unsigned hex4() {
    unsigned code = 0;
    if (at_ + 4 > text_.size()) throw here().error("'\\u' needs four hex digits");
    const char* begin = text_.data() + at_;
    const auto read = std::from_chars(begin, begin + 4, code, 16);
    if (read.ec != std::errc() || read.ptr != begin + 4) throw here().error("'\\u' needs four hex digits");
    at_ += 4;
    return code;
  }

  static void put(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
    } else if (code < 0x10000) {
      out += {static_cast<char>(0xe0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3f)),
              static_cast<char>(0x80 | (code & 0x3f))};
    } else {
      out += {static_cast<char>(0xf0 | (code >> 18)), static_cast<char>(0x80 | ((code >> 12) & 0x3f)),
              static_cast<char>(0x80 | ((code >> 6) & 0x3f)), static_cast<char>(0x80 | (code & 0x3f))};
    }
  }

  void escape(std::string& out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    const char c = peek();
    if (const auto i = kNames.find(c); c != '\0' && i != std::string_view::npos) {
      ++at_;
      out += kMeant[i];
      return;
    }
    if (c != 'u') throw here().error("JSON has no such escape");
    ++at_;
    unsigned code = hex4();
    if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_).starts_with("\\u")) {
      at_ += 2;
      const unsigned low = hex4();
      code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
    }
    put(out, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
  }

  std::string read_string() {
    std::string out;
    const Place begin = here();
    ++at_;
    while (true) {
      if (at_ >= text_.size()) throw begin.error("this string has no end");
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) throw here().error("a string ends in the line where it begins");
      ++at_;
      if (c == '"') return out;
      if (c == '\\') {
        escape(out);
      } else {
        out += c;
      }
    }
  }

  const spec::Source& source_;
  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::size_t line_start_ = 0;
};

}  // namespace

Value read_json(const spec::Source& source) { return JsonReader(source).read(); }

}  // namespace kiln::packer
