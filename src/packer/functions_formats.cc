// add_format_functions: YAML, CSV, and digests.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/encoding.h"
#include "base/text.h"
#include "packer/internal/functions.h"

namespace kiln::packer {
namespace {

using Map = std::map<std::string, Function>;

std::string digest(const EVP_MD* kind, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  KILN_ASSERT(EVP_Digest(bytes.data(), bytes.size(), out.data(), &size, kind, nullptr) == 1, "a digest of bytes fails");
  return {reinterpret_cast<const char*>(out.data()), size};
}

// RFC 4122, section 4.3: SHA-1 over the namespace and the name.
Value uuidv5(const Call& call) {
  static const std::map<std::string, char> kNamespaces = {
      {"dns", '\x10'}, {"url", '\x11'}, {"oid", '\x12'}, {"x500", '\x14'}};
  const std::string space = call.text(0);
  std::string bytes;
  if (const auto known = kNamespaces.find(space); known != kNamespaces.end()) {
    bytes = hex_decode("6ba7b8109dad11d180b400c04fd430c8");
    bytes[3] = known->second;
  } else {
    std::string hex = space;
    std::erase(hex, '-');
    const bool is_hex = hex.size() == 32 && hex.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    if (!is_hex)
      throw call.place.error(fmt::format("'{}' is not a namespace of UUIDs", space),
                             "there are dns, url, oid, x500, and any UUID");
    bytes = hex_decode(to_lower(hex));
  }
  bytes = digest(EVP_sha1(), bytes + call.text(1)).substr(0, 16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x50);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  std::string out = hex_encode(bytes);
  for (const std::size_t at : {8U, 13U, 18U, 23U}) out.insert(at, "-");
  return Value::of(out);
}

// The core schema of YAML 1.2: what a plain word means.
Value plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return {};
  for (const bool is : {true, false}) {
    const auto words = is ? std::array{"true", "True", "TRUE"} : std::array{"false", "False", "FALSE"};
    if (std::ranges::find(words, text) != words.end()) return Value::of(is);
  }
  const std::string_view digits = std::string_view(text).substr(text.front() == '+' ? 1 : 0);
  const bool hex = digits.starts_with("0x"), octal = digits.starts_with("0o");
  if (hex || octal) {
    std::uint64_t number = 0;
    const char* end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data() + 2, end, number, hex ? 16 : 8);
    return read.ec == std::errc() && read.ptr == end ? Value::of(static_cast<double>(number)) : Value::of(text);
  }
  if (digits.find_first_not_of("0123456789.eE+-") == std::string_view::npos) {
    if (const auto number = number_of(Value::of(std::string(digits)))) return Value::of(*number);
  }
  return Value::of(text);
}

class YamlReader {
 public:
  explicit YamlReader(const Place& place) : place_(place) {}

  Value read(const YAML::Node& node, int depth = 0) {
    // An alias is read each time that it is named: a few lines can name billions.
    if (++steps_ > kWeightMax / 8 || depth > kDepthMax) throw place_.error("this YAML becomes too large");
    if (node.IsScalar()) return node.Tag() == "?" || node.Tag().empty() ? plain_scalar(node.Scalar()) : tagged(node);
    if (node.IsSequence()) {
      Value out = Value::list();
      for (const YAML::Node& item : node) out.items.push_back(read(item, depth + 1));
      return out;
    }
    Value out;
    if (!node.IsMap()) return out;
    out = Value::object();
    for (const auto& member : node) {
      const auto key = text_of(read(member.first, depth + 1));
      if (!key) throw place_.error("a key of YAML must be a string here");
      if (*key == "<<") throw place_.error("'<<' in YAML is not supported", "write the members out");
      if (out.members.size() >= kMembersMax) throw place_.error("this object becomes too large");
      out.set(*key, read(member.second, depth + 1));
    }
    return out;
  }

 private:
  Value tagged(const YAML::Node& node) const {
    if (node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str") return Value::of(node.Scalar());
    throw place_.error(fmt::format("the tag '{}' in YAML is not supported", node.Tag()));
  }

  const Place& place_;
  std::size_t steps_ = 0;
};

Value decode_yaml(const Call& call) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(call.text(0));
    if (documents.size() > 1) throw call.place.error("this YAML has several documents, and one is wanted");
    return documents.empty() ? Value() : YamlReader(call.place).read(documents.front());
  } catch (const YAML::Exception& error) {
    throw call.place.error("this is not YAML: " + error.msg);
  }
}

// Text of several lines is a block, as Packer writes it; where a block would not give the same text it is quoted.
std::string yaml_text(const std::string& text, const std::string& indent) {
  const bool plain =
      std::ranges::all_of(text, [](unsigned char c) { return c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f); });
  if (text.find('\n') == std::string::npos || !plain || text.front() == ' ' || text.front() == '\n' ||
      text.front() == '\t')
    return to_json(Value::of(text));
  std::string out = !text.ends_with('\n') ? "|-" : text.ends_with("\n\n") ? "|+" : "|";
  const std::string_view lines = std::string_view(text).substr(0, text.size() - (text.ends_with('\n') ? 1 : 0));
  for (const std::string& line : split(lines, '\n')) out += "\n" + (line.empty() ? "" : indent + "  " + line);
  return out;
}

// `at` is where the first line of it stands: behind "- " or alone.
std::string to_yaml(const Value& value, const std::string& indent) {
  if (value.is(Value::Kind::null)) return "null";
  if (value.is(Value::Kind::text)) return yaml_text(value.text, indent);
  if (value.is(Value::Kind::list) && value.items.empty()) return "[]";
  if (value.is(Value::Kind::object) && value.members.empty()) return "{}";
  std::string out;
  const auto line = [&](const std::string& begin, const std::string& rest) {
    out += (out.empty() ? "" : "\n" + indent) + begin + rest;
  };
  if (value.is(Value::Kind::list)) {
    for (const Value& item : value.items) line("- ", to_yaml(item, indent + "  "));
    return out;
  }
  if (!value.is(Value::Kind::object)) return *text_of(value);
  auto members = value.members;
  std::ranges::sort(members, {}, &Value::Members::value_type::first);
  for (const auto& [key, member] : members) {
    const bool list = member.is(Value::Kind::list) && !member.items.empty();
    const bool object = member.is(Value::Kind::object) && !member.members.empty();
    const std::string inner = indent + (object ? "  " : "");
    const std::string text = to_yaml(member, inner);
    line(to_json(Value::of(key)) + ":", list || object ? "\n" + inner + text : " " + text);
  }
  return out;
}

// RFC 4180; the first line names the columns.
std::vector<std::vector<std::string>> csv_rows(const std::string& text, const Place& place) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row(1);
  bool quoted = false, any = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
        row.back() += text[++i];
      } else if (c == '"') {
        quoted = false;
      } else {
        row.back() += c;
      }
      continue;
    }
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    if (c == '\n') {
      if (any) rows.push_back(std::move(row));
      row.assign(1, "");
      any = false;
      continue;
    }
    any = true;
    if (c == ',') {
      row.emplace_back();
    } else if (c == '"' && row.back().empty()) {
      quoted = true;
    } else if (c == '"') {
      throw place.error("this is not CSV: a '\"' stands in a field that does not begin with one");
    } else {
      row.back() += c;
    }
  }
  if (quoted) throw place.error("this is not CSV: a '\"' has no end");
  if (any) rows.push_back(std::move(row));
  return rows;
}

Value decode_csv(const Call& call) {
  const auto rows = csv_rows(call.text(0), call.place);
  if (rows.empty()) throw call.place.error("this CSV has no line that names its columns");
  Value out = Value::list();
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].size() != rows[0].size())
      throw call.place.error(
          fmt::format("this CSV has {} columns, and {} in its line {}", rows[0].size(), rows[i].size(), i + 1));
    Value row = Value::object();
    for (std::size_t column = 0; column < rows[0].size(); ++column)
      row.set(rows[0][column], Value::of(rows[i][column]));
    out.items.push_back(std::move(row));
  }
  return out;
}

}  // namespace

void add_format_functions(Map& map) {
  const auto hash = [&](const char* name, const EVP_MD* kind) {
    map[name] = {1, 1, [kind](const Call& call) { return Value::of(hex_encode(digest(kind, call.text(0)))); }};
  };
  hash("md5", EVP_md5());
  hash("sha1", EVP_sha1());
  hash("sha256", EVP_sha256());
  hash("sha512", EVP_sha512());
  map["uuidv5"] = {2, 2, uuidv5};
  map["yamldecode"] = {1, 1, decode_yaml};
  map["yamlencode"] = {1, 1, [](const Call& call) { return Value::of(to_yaml(call.at(0), "") + "\n"); }};
  map["csvdecode"] = {1, 1, decode_csv};
}

}  // namespace kiln::packer
