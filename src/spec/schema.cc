// Schema: the table of keys as JSON Schema, for editors.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "spec/shape.h"

namespace kiln::spec {
namespace {

using Json = nlohmann::ordered_json;

// What parse_duration reads, in whole seconds.
constexpr const char* kDurationPattern = "^([0-9]+(s|m|h|d))+$";

Json schema_of(const Shape& shape);

Json mapping_schema(const Shape& shape) {
  Json schema = {{"type", "object"}, {"additionalProperties", false}};
  Json required = Json::array();
  for (const Key& key : shape.keys) {
    if (key.shape == nullptr) continue;
    Json property = schema_of(*key.shape);
    property["description"] = key.about;
    schema["properties"][std::string(key.name)] = std::move(property);
    if (key.required && !shape.partial) required.push_back(key.name);
  }
  if (!required.empty()) schema["required"] = std::move(required);
  if (!shape.exactly_one_key) return schema;
  Json one_of = Json::array();
  for (const Key& key : shape.keys) {
    if (key.shape != nullptr && !key.beside) one_of.push_back({{"required", Json::array({key.name})}});
  }
  schema["oneOf"] = std::move(one_of);
  if (shape.short_form != nullptr) return {{"anyOf", Json::array({schema_of(*shape.short_form), schema})}};
  return schema;
}

Json list_schema(const Shape& shape) {
  return {{"type", "array"}, {"items", schema_of(*shape.item)}, {"minItems", shape.min}, {"maxItems", shape.max}};
}

Json schema_of(const Shape& shape) {
  switch (shape.kind) {
    case Shape::Kind::mapping:
      return mapping_schema(shape);
    case Shape::Kind::named:
      return {{"type", "object"},
              {"propertyNames", {{"pattern", fmt::format("^({})$", shape.pattern)}}},
              {"additionalProperties", schema_of(*shape.item)},
              {"minProperties", shape.min},
              {"maxProperties", shape.max}};
    case Shape::Kind::list:
      return list_schema(shape);
    case Shape::Kind::item_or_list:
      return {{"anyOf", Json::array({schema_of(*shape.item), list_schema(shape)})}};
    case Shape::Kind::text: {
      if (!shape.choices.empty()) return {{"enum", shape.choices}};
      // An editor's YAML reads 0644 or 200 as a number; the checker sees the digits, which are what counts.
      Json schema = {{"type", Json::array({"string", "integer"})}};
      if (!shape.pattern.empty()) schema["pattern"] = fmt::format("^({})$", shape.pattern);
      return schema;
    }
    case Shape::Kind::integer:
      return {{"type", "integer"}, {"minimum", shape.min}, {"maximum", shape.max}};
    case Shape::Kind::duration:
      return {{"type", "string"}, {"pattern", kDurationPattern}};
  }
  return {};
}

}  // namespace

std::string json_schema() {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "kiln.yaml"}};
  schema.update(schema_of(app_shape()));
  return schema.dump(2) + "\n";
}

}  // namespace kiln::spec
