// Shapes: short ways to write the table of keys. Private to this room.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "spec/shape.h"

namespace kiln::spec {

inline Shape text(std::string_view what, std::string_view pattern) {
  return {.kind = Shape::Kind::text, .what = what, .pattern = pattern};
}

inline Shape choice(std::vector<std::string_view> choices, std::vector<std::string_view> later = {}) {
  return {.kind = Shape::Kind::text, .choices = std::move(choices), .later_choices = std::move(later)};
}

inline Shape mapping(std::vector<Key> keys) { return {.kind = Shape::Kind::mapping, .keys = std::move(keys)}; }

// A mapping that may also be written as the value of its first key alone.
inline Shape mapping_or(const Shape& short_form, std::vector<Key> keys) {
  Shape shape = mapping(std::move(keys));
  shape.short_form = &short_form;
  return shape;
}

inline Shape list(const Shape& item, std::int64_t min = 1) {
  return {.kind = Shape::Kind::list, .item = &item, .min = min, .max = 1000};
}

inline Shape one_or_more(const Shape& item) {
  return {.kind = Shape::Kind::item_or_list, .item = &item, .min = 1, .max = 1000};
}

}  // namespace kiln::spec
