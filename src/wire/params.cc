// Params: requests of ec2 and query: "Action=RunInstances&Version=2016-11-15&InstanceId.1=i-..".
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/internal/protocols.h"

namespace kiln::wire {
namespace {

void encode_value(std::string& out, const std::string& path, const Shape& shape, const void* value);

void encode_members(std::string& out, const std::string& prefix, const Shape& shape, const void* value) {
  for (const Member& member : shape.members) {
    if (const void* present = member.get(value)) {
      encode_value(out, prefix + std::string(member.param), *member.shape, present);
    }
  }
}

struct MapWriter {
  std::string& out;
  const std::string& path;
  const Shape& shape;
  std::size_t index = 0;
  static void visit(void* context, const std::string& key, const void* value) {
    auto& self = *static_cast<MapWriter*>(context);
    std::string entry = fmt::format("{}.entry.{}", self.path, ++self.index);
    self.out += fmt::format("&{}.key={}", entry, percent_encode(key));
    encode_value(self.out, entry + ".value", *self.shape.element, value);
  }
};

void encode_value(std::string& out, const std::string& path, const Shape& shape, const void* value) {
  if (shape.kind == Kind::structure) {
    encode_members(out, path + ".", shape, value);
  } else if (shape.kind == Kind::list) {
    std::string prefix = shape.element_param.empty() ? path : fmt::format("{}.{}", path, shape.element_param);
    for (std::size_t i = 0; i < shape.size(value); ++i) {
      encode_value(out, fmt::format("{}.{}", prefix, i + 1), *shape.element, shape.at(value, i));
    }
  } else if (shape.kind == Kind::map) {
    MapWriter writer{out, path, shape};
    shape.each(value, &writer, MapWriter::visit);
  } else {
    std::string text;
    append_scalar(text, shape, value);
    out += fmt::format("&{}={}", path, percent_encode(text));
  }
}

}  // namespace

std::string encode_params(const Operation& operation, const void* input) {
  std::string out = fmt::format("Action={}&Version={}", operation.name, operation.service->version);
  encode_members(out, "", *operation.input, input);
  return out;
}

std::string param_of(std::string_view body, std::string_view name) {
  while (!body.empty()) {
    std::string_view pair = body.substr(0, body.find('&'));
    body.remove_prefix(std::min(body.size(), pair.size() + 1));
    std::size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) != name) continue;
    return percent_decode(pair.substr(std::min(equals + 1, pair.size())), true);
  }
  return {};
}

namespace {

// The parameters as a tree by the pieces of their names: "Tag.1.Key" is Tag → 1 → Key. Nodes of one parent are few, so
// they are searched one after another; numbered ones are sorted once.
struct Node {
  std::string name;
  std::string value;
  bool has_value = false;
  bool used = false;
  std::string path;  // the whole name, of a node that has a value
  std::vector<std::size_t> children;
};

class Tree {
 public:
  explicit Tree(std::string_view body) {
    nodes_.emplace_back();
    while (!body.empty()) {
      std::string_view pair = body.substr(0, body.find('&'));
      body.remove_prefix(std::min(body.size(), pair.size() + 1));
      if (!pair.empty()) add(pair);
    }
  }

  Node& at(std::size_t index) { return nodes_[index]; }
  // 0 when there is none; the root is nobody's child.
  std::size_t child(std::size_t parent, std::string_view name) const {
    for (std::size_t index : nodes_[parent].children) {
      if (nodes_[index].name == name) return index;
    }
    return 0;
  }
  // The first parameter that nothing has used.
  const Node* unused() const {
    for (const Node& node : nodes_) {
      if (node.has_value && !node.used) return &node;
    }
    return nullptr;
  }

 private:
  void add(std::string_view pair) {
    if (++params_ > kParamsMax) throw DecodeError("MalformedQueryString", "The query string has too many parameters");
    std::size_t equals = std::min(pair.find('='), pair.size());
    std::string name = percent_decode(pair.substr(0, equals), true);
    std::vector<std::string> pieces = split(name, '.');
    if (pieces.size() > static_cast<std::size_t>(2 * kDepthMax)) {
      throw DecodeError("MalformedQueryString", "The parameter " + name.substr(0, 100) + " is nested too deeply");
    }
    std::size_t node = 0;
    for (std::string& piece : pieces) {
      std::size_t next = 0;
      // Parameters come in order as a rule: the newest child is the likeliest.
      std::vector<std::size_t>& children = nodes_[node].children;
      if (!children.empty() && nodes_[children.back()].name == piece) {
        next = children.back();
      } else {
        next = child(node, piece);
      }
      if (next == 0) {
        next = nodes_.size();
        nodes_.emplace_back();
        nodes_[next].name = std::move(piece);
        nodes_[node].children.push_back(next);
      }
      node = next;
    }
    Node& leaf = nodes_[node];
    if (leaf.has_value) throw DecodeError("MalformedQueryString", "The parameter " + name + " is given twice");
    leaf.value = percent_decode(pair.substr(std::min(equals + 1, pair.size())), true);
    leaf.has_value = true;
    leaf.path = std::move(name);
  }

  std::vector<Node> nodes_;
  std::size_t params_ = 0;
};

class Reader {
 public:
  Reader(const Operation& operation, std::string_view body)
      : ec2_(operation.service->protocol == Protocol::ec2), tree_(body) {}

  void read(const Operation& operation, void* input) {
    for (const char* own : {"Action", "Version"}) use(tree_.child(0, own));
    // Those of a presigned URL belong to the signature.
    for (const char* own : {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
                            "X-Amz-Signature", "X-Amz-Security-Token", "AWSAccessKeyId"}) {
      use(tree_.child(0, own));
    }
    structure(*operation.input, 0, input, "");
    if (const Node* unknown = tree_.unused()) {
      throw DecodeError(ec2_ ? "UnknownParameter" : "ValidationError",
                        fmt::format("The parameter {} is not recognized", unknown->path));
    }
  }

 private:
  void use(std::size_t index) {
    if (index != 0) tree_.at(index).used = true;
  }

  // Whether anything with a value that is not empty is below.
  bool present(std::size_t index) {
    Node& node = tree_.at(index);
    if (node.has_value && !node.value.empty()) return true;
    for (std::size_t child : node.children) {
      if (present(child)) return true;
    }
    return false;
  }

  void use_all(std::size_t index) {
    tree_.at(index).used = true;
    for (std::size_t child : std::vector<std::size_t>(tree_.at(index).children)) use_all(child);
  }

  // Of a pair within a request, such as a tag, a half that must be there may be empty: IAM's tags have empty values.
  bool is_empty_half(const Member& member, std::size_t child, const std::string& path) {
    return !ec2_ && !path.empty() && member.required && member.shape->kind == Kind::string &&
           member.shape->values.empty() && tree_.at(child).has_value && tree_.at(child).value.empty();
  }

  // Marks as used what is empty below, as far as its names are known.
  void absorb(const Shape& shape, std::size_t index) {
    if (shape.kind != Kind::structure) return use_all(index);
    use(index);
    for (const Member& member : shape.members) {
      if (std::size_t child = tree_.child(index, member.param); child != 0) absorb(*member.shape, child);
    }
  }

  void structure(const Shape& shape, std::size_t index, void* value, const std::string& path) {
    for (const Member& member : shape.members) {
      std::size_t child = tree_.child(index, member.param);
      if (child != 0 && is_empty_half(member, child, path)) {
        scalar(*member.shape, child, member.make(value), path + std::string(member.param));
        continue;
      }
      if (child == 0 || !present(child)) {
        if (child != 0) absorb(*member.shape, child);
        if (member.required) missing(path + std::string(member.param));
        continue;
      }
      any(*member.shape, child, member.make(value), path + std::string(member.param));
    }
  }

  void any(const Shape& shape, std::size_t index, void* value, const std::string& path) {
    switch (shape.kind) {
      case Kind::structure:
        return structure(shape, index, value, path + ".");
      case Kind::list:
        return list(shape, index, value, path);
      case Kind::map:
        return map(shape, index, value, path);
      default:
        return scalar(shape, index, value, path);
    }
  }

  void scalar(const Shape& shape, std::size_t index, void* value, const std::string& path) {
    Node& node = tree_.at(index);
    if (!node.has_value) return;  // its children stay unused and are refused by name
    node.used = true;
    if (!parse_scalar(shape, node.value, value)) {
      throw DecodeError(ec2_ ? "InvalidParameterValue" : "ValidationError",
                        fmt::format("Invalid value '{}' for {}: it must be {}", node.value.substr(0, 100), path,
                                    expected(shape.kind)));
    }
    if (!shape.values.empty() &&
        std::find(shape.values.begin(), shape.values.end(), node.value) == shape.values.end()) {
      throw DecodeError(ec2_ ? "InvalidParameterValue" : "ValidationError",
                        fmt::format("Value ({}) for parameter {} is invalid.", node.value.substr(0, 100), path));
    }
  }

  static const char* expected(Kind kind) {
    switch (kind) {
      case Kind::boolean:
        return "true or false";
      case Kind::integer:
        return "an integer";
      case Kind::real:
        return "a number";
      case Kind::timestamp:
        return "a time such as 2026-11-24T03:01:56Z";
      default:
        return "Base64";
    }
  }

  // Children of a list or map by their numbers, ascending; gaps are allowed.
  std::vector<std::pair<std::int64_t, std::size_t>> numbered(std::size_t index, const std::string& path) {
    std::vector<std::pair<std::int64_t, std::size_t>> found;
    for (std::size_t child : tree_.at(index).children) {
      auto number = parse_int(tree_.at(child).name);
      if (!number || *number < 0 || *number > static_cast<std::int64_t>(kListIndexMax)) {
        throw DecodeError(ec2_ ? "InvalidParameterValue" : "MalformedQueryString",
                          fmt::format("{}.{} is not an element of a list", path, tree_.at(child).name.substr(0, 100)));
      }
      found.emplace_back(*number, child);
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  void list(const Shape& shape, std::size_t index, void* value, const std::string& path) {
    use(index);
    std::size_t from = index;
    std::string prefix = path;
    if (!shape.element_param.empty()) {
      from = tree_.child(index, shape.element_param);
      prefix += "." + std::string(shape.element_param);
      if (from == 0) return;
      use(from);
    }
    for (auto [number, child] : numbered(from, prefix)) {
      std::string element = fmt::format("{}.{}", prefix, number);
      // An empty element of scalars is absent too; of structures all that is in it is.
      if (!present(child) && shape.element->kind != Kind::structure) {
        use_all(child);
        continue;
      }
      any(*shape.element, child, shape.append(value), element);
    }
  }

  void map(const Shape& shape, std::size_t index, void* value, const std::string& path) {
    std::size_t entries = tree_.child(index, "entry");
    if (entries == 0) return;
    for (auto [number, child] : numbered(entries, path + ".entry")) {
      std::size_t key = tree_.child(child, "key");
      std::size_t held = tree_.child(child, "value");
      if (key == 0 || held == 0) throw DecodeError("MalformedQueryString", path + " has an entry without key or value");
      use(key);
      any(*shape.element, held, shape.insert(value, tree_.at(key).value), path);
    }
  }

  [[noreturn]] void missing(const std::string& path) const {
    if (ec2_) throw DecodeError("MissingParameter", fmt::format("The request must contain the parameter {}", path));
    throw DecodeError(
        "ValidationError",
        fmt::format("1 validation error detected: Value null at '{}' failed to satisfy constraint: Member "
                    "must not be null",
                    path));
  }

  bool ec2_;
  Tree tree_;
};

}  // namespace

void decode_params(const Operation& operation, std::string_view body, void* input) {
  Reader(operation, body).read(operation, input);
}

}  // namespace kiln::wire
