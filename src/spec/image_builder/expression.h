// Expression: a text with {{ }} in it, as a word of bash. Private to this room.
#pragma once

#include <set>
#include <string>

#include "spec/image_builder/document.h"

namespace kiln::spec::image_builder {

// Where a text stands: what its expressions may name.
struct Scope {
  const Document* document = nullptr;
  const Phase* phase = nullptr;
  const DocumentStep* step = nullptr;
  // Of a loop that is unrolled while the script is written; else the script's own variables hold them.
  const std::string* loop_value = nullptr;
  std::string loop_index{};
  // Gets the names of outputs of the phase build that a text of another phase names. Where it is not there, they are
  // refused.
  std::set<std::string>* of_build = nullptr;
};

// A bash word that is `text`, whatever bytes it holds.
std::string quoted(std::string_view text);
// A bash word that becomes `text` with its expressions' values: parameters and constants at once, loops and outputs
// when the script runs. Throws Error(usage) quoting `where` for a step or input that is not there.
std::string word(const Scope& scope, Location where, const std::string& text);
// The same where the value must be known now: nullopt when it depends on what runs.
std::optional<std::string> value_now(const Scope& scope, Location where, const std::string& text);

}  // namespace kiln::spec::image_builder
