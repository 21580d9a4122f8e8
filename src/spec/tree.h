// Tree: a YAML document as plain nodes, each with its place in the file. Private to this room.
//
// Read from yaml-cpp's events, not from its nodes: quoted and plain scalars stay apart, duplicate keys stay visible,
// aliases are refused (they can grow a small file to gigabytes), and depth and number of nodes are bounded while
// reading.
#pragma once

#include <string>
#include <vector>

#include "spec/app.h"

namespace kiln::spec {

struct NodeEntry;

struct Node {
  enum class Kind { null, scalar, list, mapping };
  Kind kind = Kind::null;
  Location where;
  std::string text;    // of a scalar
  bool plain = false;  // a scalar without quotes
  // Of a mapping: key and value in the file's order. Of a list: only the values, the keys are null.
  std::vector<NodeEntry> entries;

  bool is_mapping() const { return kind == Kind::mapping; }
  bool is_list() const { return kind == Kind::list; }
  bool is_scalar() const { return kind == Kind::scalar; }
  // The value under `key` in a mapping, or nullptr.
  const Node* find(std::string_view key) const;
};

struct NodeEntry {
  Node key;
  Node value;
};

inline constexpr std::size_t kTreeDepthMax = 32;
inline constexpr std::size_t kTreeNodesMax = 10'000;

// One document. An empty text is a null node. Throws Error(usage) that quotes the place.
Node parse_tree(const Source& source);

}  // namespace kiln::spec
