// Shapes: one description of AWS's messages that serves both directions and both sides.
//
// tools/generate_wire.py writes the structures and these tables from the pinned models under src/wire/models. A codec
// walks a table beside a structure, through the type-erased accessors here; it knows no structure by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace kiln::wire {

enum class Protocol { ec2, query, json };

// C++ types behind them: string and blob std::string (a blob's bytes, not their Base64), boolean bool, integer
// std::int64_t, real double, timestamp kiln::Time, list std::vector, map std::map<std::string, ...>.
enum class Kind { string, blob, boolean, integer, real, timestamp, list, map, structure };

struct Shape;

struct Member {
  std::string_view name;   // the model's; JSON's key
  std::string_view param;  // in a request of ec2 or query: "SecurityGroupId"
  std::string_view xml;    // in an answer of ec2 or query: "instancesSet"
  const Shape* shape;
  bool required;
  const void* (*get)(const void* owner);  // null when it is absent; a list or map that is empty is absent
  void* (*make)(void* owner);             // makes it present and gives its value
};

struct Shape {
  std::string_view name;
  Kind kind;
  std::span<const Member> members;           // of a structure
  std::span<const std::string_view> values;  // of an enumeration; a request must hold one of them

  // Of a list, and a map's values.
  const Shape* element = nullptr;
  std::string_view element_param;  // "member"; empty with the ec2 protocol, whose lists are flat
  std::string_view element_xml;    // "item", "member"
  std::size_t (*size)(const void* list) = nullptr;
  const void* (*at)(const void* list, std::size_t index) = nullptr;
  void* (*append)(void* list) = nullptr;
  // Of a map.
  void (*each)(const void* map, void* context,
               void (*visit)(void* context, const std::string& key, const void* value)) = nullptr;
  void* (*insert)(void* map, const std::string& key) = nullptr;
};

struct Service;

struct Operation {
  std::string_view name;
  const Service* service;
  const Shape* input;
  const Shape* output;
  std::shared_ptr<void> (*make_input)();
  std::shared_ptr<void> (*make_output)();
};

struct Service {
  std::string_view key;              // our namespace: "elb"
  std::string_view id;               // "Elastic Load Balancing v2"
  std::string_view endpoint_prefix;  // "elasticloadbalancing"
  std::string_view signing_name;     // of the signature's scope
  std::string_view version;          // "2015-12-01"
  Protocol protocol;
  std::string_view xml_namespace;
  std::string_view target_prefix;         // of X-Amz-Target; json only
  std::string_view json_version;          // "1.1"
  std::span<const Operation> operations;  // by name

  const Operation* find(std::string_view operation) const;
};

// Input or output of an operation that has none.
struct Empty {};

// All services, and one by the name in a signature's scope; null when it is not served.
std::span<const Service* const> services();
const Service* find_service(std::string_view signing_name);

// The accessors of one member, made from the pointer to it.
template <auto M>
struct Access;

template <typename Owner, typename T, std::optional<T> Owner::*M>
struct Access<M> {
  static const void* get(const void* owner) {
    const std::optional<T>& value = static_cast<const Owner*>(owner)->*M;
    return value ? &*value : nullptr;
  }
  static void* make(void* owner) { return &(static_cast<Owner*>(owner)->*M).emplace(); }
};

template <typename Owner, typename T, std::vector<T> Owner::*M>
struct Access<M> {
  static const void* get(const void* owner) {
    const std::vector<T>& value = static_cast<const Owner*>(owner)->*M;
    return value.empty() ? nullptr : &value;
  }
  static void* make(void* owner) { return &(static_cast<Owner*>(owner)->*M); }
};

template <typename Owner, typename T, std::map<std::string, T> Owner::*M>
struct Access<M> {
  static const void* get(const void* owner) {
    const std::map<std::string, T>& value = static_cast<const Owner*>(owner)->*M;
    return value.empty() ? nullptr : &value;
  }
  static void* make(void* owner) { return &(static_cast<Owner*>(owner)->*M); }
};

template <typename T>
struct ListAccess {
  static std::size_t size(const void* list) { return static_cast<const std::vector<T>*>(list)->size(); }
  static const void* at(const void* list, std::size_t index) {
    return &(*static_cast<const std::vector<T>*>(list))[index];
  }
  static void* append(void* list) { return &static_cast<std::vector<T>*>(list)->emplace_back(); }
};

template <typename T>
struct MapAccess {
  static void each(const void* map, void* context,
                   void (*visit)(void* context, const std::string& key, const void* value)) {
    for (const auto& [key, value] : *static_cast<const std::map<std::string, T>*>(map)) visit(context, key, &value);
  }
  static void* insert(void* map, const std::string& key) {
    return &(*static_cast<std::map<std::string, T>*>(map))[key];
  }
};

template <typename T>
std::shared_ptr<void> make_shape() {
  return std::make_shared<T>();
}

}  // namespace kiln::wire
