// Check: walks a file's nodes along the table of keys, and says where they part.
#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "base/text.h"
#include "spec/shape.h"

namespace kiln::spec {
namespace {

// std::regex recurses once a character; longer texts than these have no business in a field that has a pattern.
constexpr std::size_t kPatternTextMax = 1024;

std::string_view name_of(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::scalar:
      return node.plain ? "a value" : "a text in quotes";
    case Node::Kind::list:
      return "a list";
    case Node::Kind::mapping:
      return "a mapping";
  }
  return "";
}

std::string join_names(const std::vector<std::string_view>& names) { return join({names.begin(), names.end()}, ", "); }

std::vector<std::string> served_keys(const Shape& shape) {
  std::vector<std::string> names;
  for (const Key& key : shape.keys) {
    if (key.shape != nullptr) names.emplace_back(key.name);
  }
  return names;
}

std::string wanted(const Shape& shape) {
  switch (shape.kind) {
    case Shape::Kind::mapping:
      return (shape.short_form == nullptr ? "" : wanted(*shape.short_form) + ", or ") + "a mapping with the keys " +
             join(served_keys(shape), ", ");
    case Shape::Kind::named:
      return "a mapping of names";
    case Shape::Kind::list:
      return "a list";
    case Shape::Kind::item_or_list:
      return wanted(*shape.item) + ", or a list of them";
    case Shape::Kind::text:
      return shape.choices.empty() ? std::string(shape.what) : "one of " + join_names(shape.choices);
    case Shape::Kind::integer:
      return fmt::format("a whole number from {} to {}", shape.min, shape.max);
    case Shape::Kind::duration:
      return fmt::format("a time from {} to {}, such as 30s or 2m", format_duration(std::chrono::seconds(shape.min)),
                         format_duration(std::chrono::seconds(shape.max)));
  }
  return "";
}

class Checker {
 public:
  explicit Checker(const Source& source) : source_(source) {}

  void check(const Node& node, const Shape& shape, std::string_view label) const {
    switch (shape.kind) {
      case Shape::Kind::mapping:
        return check_mapping(node, shape, label);
      case Shape::Kind::named:
        return check_named(node, shape, label);
      case Shape::Kind::list:
        return check_list(node, shape, label);
      case Shape::Kind::item_or_list:
        if (node.is_list()) return check_list(node, shape, label);
        return check(node, *shape.item, label);
      case Shape::Kind::text:
        return check_text(node, shape, label);
      case Shape::Kind::integer:
        return check_integer(node, shape, label);
      case Shape::Kind::duration:
        return check_duration(node, shape, label);
    }
  }

 private:
  [[noreturn]] void refuse(const Node& node, const Shape& shape, std::string_view label) const {
    const std::string is = node.is_scalar() ? fmt::format("'{}'", node.text.substr(0, 60)) : std::string(name_of(node));
    throw source_.error(node.where, fmt::format("'{}' must be {}, not {}", label, wanted(shape), is));
  }

  void check_mapping(const Node& node, const Shape& shape, std::string_view label) const {
    if (shape.short_form != nullptr && (node.is_scalar() || node.is_list()))
      return check(node, *shape.short_form, label);
    if (!node.is_mapping()) refuse(node, shape, label);
    for (const auto& [key, value] : node.entries) {
      const Key& known = find_key(key, shape);
      check(value, *known.shape, known.name);
    }
    if (shape.exactly_one_key) check_one_key(node, shape, label);
    if (shape.partial) return;
    for (const Key& key : shape.keys) {
      if (key.required && node.find(key.name) == nullptr) {
        throw source_.error(node.where, fmt::format("'{}' lacks the key '{}'", label, key.name));
      }
    }
  }

  void check_one_key(const Node& node, const Shape& shape, std::string_view label) const {
    std::vector<const Node*> found;
    for (const auto& [key, value] : node.entries) {
      if (!find_key(key, shape).beside) found.push_back(&key);
    }
    if (found.size() == 1) return;
    std::vector<std::string> names;
    for (const Key& key : shape.keys) {
      if (key.shape != nullptr && !key.beside) names.emplace_back(key.name);
    }
    const Node& where = found.size() > 1 ? *found[1] : node;
    throw source_.error(where.where, fmt::format("'{}' must have exactly one of the keys {}", label, join(names, ", ")),
                        "begin another list item with '- '");
  }

  const Key& find_key(const Node& name, const Shape& shape) const {
    const auto found = std::ranges::find(shape.keys, name.text, &Key::name);
    if (found == shape.keys.end()) {
      const auto known = served_keys(shape);
      const auto near = nearest(name.text, known);
      throw source_.error(name.where,
                          fmt::format("unknown key '{}'{}", name.text.substr(0, 60),
                                      near ? fmt::format("; did you mean '{}'?", *near) : ""),
                          "known here: " + join(known, ", "));
    }
    if (found->shape == nullptr) {
      throw source_.error(name.where, fmt::format("the key '{}' is not served by this version", name.text),
                          std::string(found->about));
    }
    return *found;
  }

  void check_named(const Node& node, const Shape& shape, std::string_view label) const {
    if (!node.is_mapping()) refuse(node, shape, label);
    check_count(node, shape, label);
    for (const auto& [key, value] : node.entries) {
      if (!matches(key.text, shape.pattern)) {
        throw source_.error(
            key.where, fmt::format("a name in '{}' must be {}, not '{}'", label, shape.what, key.text.substr(0, 60)));
      }
      check(value, *shape.item, key.text);
    }
  }

  void check_list(const Node& node, const Shape& shape, std::string_view label) const {
    if (!node.is_list()) refuse(node, shape, label);
    check_count(node, shape, label);
    for (const auto& [none, value] : node.entries) check(value, *shape.item, label);
  }

  void check_count(const Node& node, const Shape& shape, std::string_view label) const {
    const auto count = static_cast<std::int64_t>(node.entries.size());
    if (count >= shape.min && count <= shape.max) return;
    throw source_.error(node.where, count < shape.min ? fmt::format("'{}' is empty", label)
                                                      : fmt::format("'{}' has {} entries; at most {} are read", label,
                                                                    count, shape.max));
  }

  void check_text(const Node& node, const Shape& shape, std::string_view label) const {
    if (!node.is_scalar() || node.text.empty() || node.text.find('\0') != std::string::npos) refuse(node, shape, label);
    if (shape.choices.empty()) {
      if (!shape.pattern.empty() && !matches(node.text, shape.pattern)) refuse(node, shape, label);
      return;
    }
    if (std::ranges::find(shape.choices, node.text) != shape.choices.end()) return;
    if (std::ranges::find(shape.later_choices, node.text) != shape.later_choices.end()) {
      throw source_.error(node.where, fmt::format("the {} '{}' is not served by this version", label, node.text),
                          "what there is: " + join_names(shape.choices));
    }
    refuse(node, shape, label);
  }

  void check_integer(const Node& node, const Shape& shape, std::string_view label) const {
    const auto number = node.is_scalar() && node.plain ? parse_int(node.text) : std::nullopt;
    if (!number || *number < shape.min || *number > shape.max) refuse(node, shape, label);
  }

  void check_duration(const Node& node, const Shape& shape, std::string_view label) const {
    if (!node.is_scalar()) refuse(node, shape, label);
    Duration duration{};
    try {
      duration = parse_duration(node.text);
    } catch (const Error&) {
      if (parse_int(node.text)) {
        throw source_.error(node.where, fmt::format("'{}' needs a unit: '{}s' or '{}m'?", label, node.text, node.text));
      }
      refuse(node, shape, label);
    }
    if (duration % std::chrono::seconds(1) != Duration(0)) {
      throw source_.error(node.where,
                          fmt::format("'{}' must be whole seconds, not {}", label, format_duration(duration)));
    }
    if (duration < std::chrono::seconds(shape.min) || duration > std::chrono::seconds(shape.max))
      refuse(node, shape, label);
  }

  static bool matches(const std::string& text, std::string_view pattern) {
    return text.size() <= kPatternTextMax && std::regex_match(text, std::regex(pattern.begin(), pattern.end()));
  }

  const Source& source_;
};

}  // namespace

void check(const Source& source, const Node& node, const Shape& shape, std::string_view label) {
  Checker(source).check(node, shape, label);
}

}  // namespace kiln::spec
