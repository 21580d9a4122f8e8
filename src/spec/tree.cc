// Tree: from yaml-cpp's events to nodes.
#include "spec/tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sstream>

namespace kiln::spec {
namespace {

Location location_of(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(const Source& source) : source_(source) {}

  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add(leaf(Node::Kind::null, mark)); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw source_.error(location_of(mark), "aliases ('*name') are not read", "write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, const std::string& value) override {
    check_tag(mark, tag);
    Node node = leaf(Node::Kind::scalar, mark);
    node.text = value;
    node.plain = tag == "?";
    if (node.plain && (value == "null" || value == "Null" || value == "NULL" || value == "~"))
      node.kind = Node::Kind::null;
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    check_tag(mark, tag);
    open(leaf(Node::Kind::list, mark));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t, YAML::EmitterStyle::value) override {
    check_tag(mark, tag);
    open(leaf(Node::Kind::mapping, mark));
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Node node;
    Node key;
    bool has_key = false;
  };

  Node leaf(Node::Kind kind, const YAML::Mark& mark) {
    Node node;
    node.kind = kind;
    node.where = location_of(mark);
    if (++nodes_ > kTreeNodesMax) throw source_.error(node.where, fmt::format("more than {} values", kTreeNodesMax));
    return node;
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    throw source_.error(location_of(mark), fmt::format("the tag '{}' is not read", tag), "remove it");
  }

  void open(Node node) {
    if (stack_.size() >= kTreeDepthMax) {
      throw source_.error(node.where, fmt::format("nested deeper than {} levels", kTreeDepthMax));
    }
    stack_.push_back({std::move(node), {}, false});
  }

  void close() {
    Node node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }

  void add(Node node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& top = stack_.back();
    if (top.node.is_list()) {
      top.node.entries.push_back({Node{}, std::move(node)});
    } else if (top.has_key) {
      top.node.entries.push_back({std::move(top.key), std::move(node)});
      top.has_key = false;
    } else {
      add_key(top, std::move(node));
    }
  }

  void add_key(Open& top, Node key) {
    if (!key.is_scalar()) throw source_.error(key.where, "a key must be a word");
    if (const auto* first = first_place(top.node, key.text)) {
      throw source_.error(key.where, fmt::format("the key '{}' is there twice", key.text),
                          fmt::format("remove one of them; the first is in line {}", first->line));
    }
    top.key = std::move(key);
    top.has_key = true;
  }

  static const Location* first_place(const Node& mapping, const std::string& key) {
    for (const auto& [name, value] : mapping.entries) {
      if (name.text == key) return &name.where;
    }
    return nullptr;
  }

  const Source& source_;
  Node root_;
  std::vector<Open> stack_;
  std::size_t nodes_ = 0;
};

}  // namespace

const Node* Node::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (is_mapping() && name.text == key) return &value;
  }
  return nullptr;
}

Node parse_tree(const Source& source) {
  if (source.text.size() > kAppFileBytesMax) {
    throw Error(ErrorCode::usage, fmt::format("{}: {} bytes; at most {} are read", source.file_name, source.text.size(),
                                              kAppFileBytesMax));
  }
  Builder builder(source);
  std::istringstream stream(source.text);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    Builder rest(source);
    if (parser.HandleNextDocument(rest)) {
      throw source.error(rest.take().where, "a second document",
                         "one file describes one app; remove what is after '---'");
    }
  } catch (const YAML::Exception& error) {
    throw source.error(error.mark.is_null() ? Location{} : location_of(error.mark),
                       fmt::format("not YAML: {}", error.msg));
  }
  return builder.take();
}

}  // namespace kiln::spec
