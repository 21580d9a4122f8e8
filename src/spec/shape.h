// Shape: the table of keys that kiln.yaml may have. Private to this room.
//
// It is the only place that knows them: the checker walks it, and the published JSON Schema is made from it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "spec/tree.h"

namespace kiln::spec {

struct Shape;

struct Key {
  std::string_view name;
  const Shape* shape =
      nullptr;               // none: known by name, not served by this version; `about` then says what to do instead
  std::string_view about{};  // a sentence for the editor's help
  bool required = false;
  bool beside = false;  // may stand beside the one key of a mapping with `exactly_one_key`
};

struct Shape {
  enum class Kind {
    mapping,       // exactly `keys`
    named,         // any names that match `pattern`, each with an `item`
    list,          // of `item`
    item_or_list,  // one `item`, or a list of them
    text,          // matches `pattern`, or is one of `choices`
    integer,       // min to max
    duration,      // min to max, whole seconds
  };
  Kind kind = Kind::text;
  std::string_view what{};     // completes "must be ...": "an absolute path"
  std::string_view pattern{};  // ECMAScript, of the whole text; empty: any text that is not empty
  std::vector<std::string_view> choices{};
  std::vector<std::string_view> later_choices{};  // known by name, not served by this version
  std::vector<Key> keys{};
  bool exactly_one_key = false;
  const Shape* short_form = nullptr;  // of a mapping: it may be written as this alone
  bool partial = false;               // overrides: `required` does not hold
  const Shape* item = nullptr;
  std::int64_t min = 0;  // of an integer, a duration in seconds, a list's length
  std::int64_t max = 0;
};

// The whole file.
const Shape& app_shape();
// What `image:` holds beside the base's name, `version` and `test`: in recipe_shape.cc.
const Shape& base_shape();
const Shape& step_shape();
const Shape& absolute_folder();
// `packer`, `dockerfile`, `image_builder`, `variables`, `secrets`, `repositories`, `mirror`, ...
std::vector<Key> recipe_keys();

// Throws Error(usage) at the first place, in the file's order, where `node` is not of `shape`.
void check(const Source& source, const Node& node, const Shape& shape, std::string_view label);

}  // namespace kiln::spec
