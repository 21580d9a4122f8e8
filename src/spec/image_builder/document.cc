// Document: from YAML nodes to steps.
#include "spec/image_builder/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"

namespace kiln::spec::image_builder {
namespace {

constexpr int kAttemptsMax = 100;
constexpr std::int64_t kLoopMax = 1000;
constexpr std::size_t kStepsMax = 1000;

const Node& needed(const Source& source, const Node& mapping, std::string_view key, const std::string& what) {
  const Node* found = mapping.find(key);
  if (found == nullptr || found->kind == Node::Kind::null)
    throw source.error(mapping.where, fmt::format("{} needs '{}'", what, key));
  return *found;
}

const Node& list_at(const Source& source, const Node& mapping, std::string_view key, const std::string& what) {
  const Node& found = needed(source, mapping, key, what);
  if (!found.is_list()) throw source.error(found.where, fmt::format("'{}' must be a list", key));
  return found;
}

void must_be_mapping(const Source& source, const Node& node, const std::string& what) {
  if (!node.is_mapping()) throw source.error(node.where, fmt::format("{} must be a mapping of keys", what));
}

std::int64_t number_at(const Source& source, const Node& mapping, std::string_view key, std::int64_t fallback) {
  const Node* found = mapping.find(key);
  if (found == nullptr) return fallback;
  const auto number = parse_int(found->text);
  if (!found->is_scalar() || !number) throw source.error(found->where, fmt::format("'{}' must be a whole number", key));
  return *number;
}

// `parameters:` and `constants:` are lists of mappings of one name each.
template <typename Take>
void each_named(const Source& source, const Node& root, std::string_view key, const Take& take) {
  const Node* list = root.find(key);
  if (list == nullptr) return;
  if (!list->is_list()) throw source.error(list->where, fmt::format("'{}' must be a list", key));
  for (const NodeEntry& entry : list->entries) {
    must_be_mapping(source, entry.value, fmt::format("each of '{}'", key));
    for (const NodeEntry& named : entry.value.entries) {
      must_be_mapping(source, named.value, fmt::format("'{}'", named.key.text));
      take(named.key, named.value);
    }
  }
}

void check_type(const Source& source, const Node& node) {
  const std::string type = text_at(source, node, "type", "string");
  if (type != "string")
    throw source.error(node.where, fmt::format("type '{}' is not known; AWSTOE has 'string'", type));
}

void add_constant(Document& document, const Node& name, std::string value) {
  for (const auto& [other, ignored] : document.constants) {
    if (other == name.text) throw document.source.error(name.where, fmt::format("'{}' is there already", name.text));
  }
  document.constants.emplace_back(name.text, std::move(value));
}

void read_parameters(Document& document, const Variables& given) {
  const Source& source = document.source;
  std::vector<std::string> names;
  each_named(source, document.root, "parameters", [&](const Node& name, const Node& node) {
    only_keys(source, node, {"type", "default", "description", "allowedValues"}, "a parameter");
    check_type(source, node);
    names.push_back(name.text);
    std::string value = text_at(source, node, "default");
    bool has_value = node.find("default") != nullptr;
    for (const auto& [given_name, given_value] : given) {
      if (given_name == name.text) std::tie(value, has_value) = std::pair(given_value, true);
    }
    if (!has_value) {
      throw source.error(name.where, fmt::format("the parameter '{}' has no default and no value was given", name.text),
                         fmt::format("give it under 'parameters' of kiln.yaml's image_builder: {}: ...", name.text));
    }
    add_constant(document, name, value);
  });
  for (const auto& [name, value] : given) {
    if (std::ranges::find(names, name) != names.end()) continue;
    const auto near = nearest(name, names);
    throw source.error({1, 1}, fmt::format("the document has no parameter '{}'{}", name,
                                           near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }
  each_named(source, document.root, "constants", [&](const Node& name, const Node& node) {
    only_keys(source, node, {"type", "value", "description"}, "a constant");
    check_type(source, node);
    needed(source, node, "value", fmt::format("the constant '{}'", name.text));
    add_constant(document, name, text_at(source, node, "value"));
  });
}

std::vector<std::string> numbers(const Source& source, const Node& node) {
  must_be_mapping(source, node, "'for'");
  only_keys(source, node, {"start", "end", "updateBy"}, "'for'");
  const std::int64_t start = number_at(source, node, "start", 1);
  const std::int64_t end = number_at(source, node, "end", 1);
  const std::int64_t by = number_at(source, node, "updateBy", 1);
  if (by == 0 || (by > 0) != (end >= start) || (end - start) / (by == 0 ? 1 : by) >= kLoopMax)
    throw source.error(node.where, fmt::format("this loop does not end, or only after more than {} rounds", kLoopMax));
  std::vector<std::string> values;
  for (std::int64_t at = start; by > 0 ? at <= end : at >= end; at += by) values.push_back(fmt::format("{}", at));
  return values;
}

Loop read_loop(const Source& source, const Node& node) {
  must_be_mapping(source, node, "'loop'");
  only_keys(source, node, {"name", "for", "forEach"}, "'loop'");
  Loop loop;
  loop.name = text_at(source, node, "name");
  const Node* each = node.find("forEach");
  const Node* range = node.find("for");
  if ((each == nullptr) == (range == nullptr)) throw source.error(node.where, "a loop has either 'for' or 'forEach'");
  if (range != nullptr) {
    loop.values = numbers(source, *range);
    return loop;
  }
  if (each->is_mapping()) {
    only_keys(source, *each, {"list", "delimiter"}, "'forEach'");
    loop.delimited = text_at(source, *each, "list");
    loop.delimiter = text_at(source, *each, "delimiter");
    if (loop.delimited.empty() || loop.delimiter.size() != 1)
      throw source.error(each->where, "'forEach' needs 'list' and a 'delimiter' of one character");
    return loop;
  }
  if (!each->is_list()) throw source.error(each->where, "'forEach' must be a list, or 'list' and 'delimiter'");
  for (const NodeEntry& entry : each->entries) {
    if (!entry.value.is_scalar()) throw source.error(entry.value.where, "loops go over texts");
    loop.values.push_back(entry.value.text);
  }
  return loop;
}

DocumentStep read_step(const Source& source, const Node& node) {
  must_be_mapping(source, node, "a step");
  only_keys(source, node,
            {"name", "action", "description", "inputs", "onFailure", "maxAttempts", "timeoutSeconds", "loop", "if"},
            "a step");
  DocumentStep step;
  step.where = node.where;
  step.name = needed(source, node, "name", "a step").text;
  step.action = needed(source, node, "action", "a step").text;
  const std::string on_failure = text_at(source, node, "onFailure", "Abort");
  if (on_failure == "Continue") step.on_failure = OnFailure::go_on;
  if (on_failure == "Ignore") step.on_failure = OnFailure::ignore;
  if (on_failure != "Abort" && on_failure != "Continue" && on_failure != "Ignore")
    throw source.error(node.find("onFailure")->where, "'onFailure' is Abort, Continue or Ignore");
  const std::int64_t attempts = number_at(source, node, "maxAttempts", 1);
  if (attempts < 1 || attempts > kAttemptsMax)
    throw source.error(node.find("maxAttempts")->where, fmt::format("'maxAttempts' is 1 to {}", kAttemptsMax));
  step.attempts = static_cast<int>(attempts);
  step.timeout_seconds = number_at(source, node, "timeoutSeconds", 7200);
  if (step.timeout_seconds == 0 || step.timeout_seconds < -1)
    throw source.error(node.find("timeoutSeconds")->where, "'timeoutSeconds' is 1 or more, or -1 for no limit");
  step.inputs = node.find("inputs");
  step.condition = node.find("if");
  if (const Node* loop = node.find("loop")) step.loop = read_loop(source, *loop);
  return step;
}

Phase read_phase(const Source& source, const Node& node) {
  must_be_mapping(source, node, "a phase");
  only_keys(source, node, {"name", "steps", "description"}, "a phase");
  Phase phase;
  phase.where = node.where;
  phase.name = needed(source, node, "name", "a phase").text;
  const Node& steps = list_at(source, node, "steps", "a phase");
  if (steps.entries.empty() || steps.entries.size() > kStepsMax)
    throw source.error(steps.where, fmt::format("a phase has 1 to {} steps", kStepsMax));
  std::set<std::string> names;
  for (const NodeEntry& entry : steps.entries) {
    phase.steps.push_back(read_step(source, entry.value));
    if (!names.insert(phase.steps.back().name).second)
      throw source.error(entry.value.where, fmt::format("two steps are named '{}'", phase.steps.back().name));
  }
  return phase;
}

}  // namespace

std::string text_at(const Source& source, const Node& mapping, std::string_view key, std::string fallback) {
  const Node* found = mapping.find(key);
  if (found == nullptr || found->kind == Node::Kind::null) return fallback;
  if (!found->is_scalar()) throw source.error(found->where, fmt::format("'{}' must be a text", key));
  return found->text;
}

bool flag_at(const Source& source, const Node& mapping, std::string_view key, bool fallback) {
  const std::string text = to_lower(text_at(source, mapping, key, fallback ? "true" : "false"));
  if (text != "true" && text != "false")
    throw source.error(mapping.find(key)->where, fmt::format("'{}' is true or false", key));
  return text == "true";
}

void only_keys(const Source& source, const Node& mapping, const std::vector<std::string>& known,
               const std::string& what) {
  for (const NodeEntry& entry : mapping.entries) {
    if (std::ranges::find(known, entry.key.text) != known.end()) continue;
    const auto near = nearest(entry.key.text, known);
    throw source.error(entry.key.where, fmt::format("{} has no '{}'{}", what, entry.key.text,
                                                    near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }
}

const Phase* Document::phase(std::string_view phase_name) const {
  for (const Phase& one : phases) {
    if (one.name == phase_name) return &one;
  }
  return nullptr;
}

const DocumentStep* Document::step(std::string_view phase_name, std::string_view step_name) const {
  const Phase* found = phase(phase_name);
  if (found == nullptr) return nullptr;
  for (const DocumentStep& one : found->steps) {
    if (one.name == step_name) return &one;
  }
  return nullptr;
}

void read_document(Document& document, const std::string& file_name, const std::string& text, const Variables& given) {
  document.source = {file_name, text};
  const Source& source = document.source;
  document.root = parse_tree(source);
  const Node& root = document.root;
  must_be_mapping(source, root, "a component document");
  only_keys(source, root, {"name", "description", "schemaVersion", "parameters", "constants", "phases"},
            "a component document");
  document.name = text_at(source, root, "name", file_name);
  const Node& version = needed(source, root, "schemaVersion", "a component document");
  if (version.text != "1.0" && version.text != "1")
    throw source.error(version.where, fmt::format("schemaVersion {} is not known; 1.0 is", version.text));
  read_parameters(document, given);
  for (const NodeEntry& entry : list_at(source, root, "phases", "a component document").entries) {
    document.phases.push_back(read_phase(source, entry.value));
    const Phase& phase = document.phases.back();
    for (std::size_t i = 0; i + 1 < document.phases.size(); ++i) {
      if (document.phases[i].name == phase.name)
        throw source.error(phase.where, fmt::format("two phases are named '{}'", phase.name));
    }
  }
  if (document.phases.empty()) throw source.error(root.where, "a component document has at least one phase");
}

}  // namespace kiln::spec::image_builder
