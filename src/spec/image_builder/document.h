// Document: a component document, read and checked. Private to this room.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spec/image_builder/image_builder.h"
#include "spec/tree.h"

namespace kiln::spec::image_builder {

enum class OnFailure { abort, go_on, ignore };

struct Loop {
  std::string name;                 // empty: only "loop"
  std::vector<std::string> values;  // texts that may hold expressions
  std::string delimited;            // one text, split at `delimiter` when the script runs; then `values` is empty
  std::string delimiter;
};

struct DocumentStep {
  Location where;
  std::string name;
  std::string action;
  OnFailure on_failure = OnFailure::abort;
  int attempts = 1;
  std::int64_t timeout_seconds = 7200;  // -1: none
  const Node* inputs = nullptr;
  const Node* condition = nullptr;  // of `if`
  std::optional<Loop> loop;
};

struct Phase {
  Location where;
  std::string name;
  std::vector<DocumentStep> steps;
};

struct Document {
  Source source;
  Node root;  // owns what the steps point to
  std::string name;
  Variables constants;  // with the parameters' values
  std::vector<Phase> phases;

  Document() = default;
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  const Phase* phase(std::string_view phase_name) const;
  const DocumentStep* step(std::string_view phase_name, std::string_view step_name) const;
};

// Fills `document`. `given`: parameters by name; one that the document does not have is an Error(usage), as is one
// without value and default.
void read_document(Document& document, const std::string& file_name, const std::string& text, const Variables& given);

// The scalar under `key`, or `fallback`. Throws Error(usage) for a list or mapping.
std::string text_at(const Source& source, const Node& mapping, std::string_view key, std::string fallback = {});
bool flag_at(const Source& source, const Node& mapping, std::string_view key, bool fallback);
// Throws Error(usage) that names the first key that is not among `known`.
void only_keys(const Source& source, const Node& mapping, const std::vector<std::string>& known,
               const std::string& what);

}  // namespace kiln::spec::image_builder
