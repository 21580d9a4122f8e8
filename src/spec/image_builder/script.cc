// Script: each step is a function of one round, and a call that runs it by the step's rules.
#include "spec/image_builder/script.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "spec/image_builder/expression.h"

namespace kiln::spec::image_builder {
namespace {

constexpr std::size_t kNestedMax = 3;  // documents that run documents, as AWSTOE allows
constexpr int kConditionDepthMax = 4;  // likewise

// An action whose inputs are texts: in this order they are the function's arguments.
struct Input {
  std::string_view name;
  bool required = false;
  std::string_view fallback{};
};
struct Action {
  std::string_view name;
  std::vector<Input> inputs;
};

const std::vector<Action>& actions() {
  static const Input path{"path", true};
  static const Input owner{"owner"};
  static const Input group{"group"};
  static const Input permissions{"permissions"};
  static const Input encoding{"encoding"};
  static const Input overwrite{"overwrite", false, "true"};
  static const std::vector<Input> transfer = {{"source", true}, {"destination", true}, overwrite};
  static const std::vector<Action> known = {
      {"CreateFile", {path, {"content"}, encoding, owner, group, permissions, overwrite}},
      {"AppendFile", {path, {"content"}, encoding}},
      {"CreateFolder", {path, owner, group, permissions, overwrite}},
      {"CreateSymlink", {path, {"target", true}, {"force", false, "false"}}},
      {"CopyFile", transfer},
      {"CopyFolder", transfer},
      {"MoveFile", transfer},
      {"MoveFolder", transfer},
      {"DeleteFile", {path}},
      {"DeleteFolder", {path, {"force", false, "false"}}},
      {"ListFiles", {path, {"fileNamePattern"}, {"recursive", false, "false"}}},
      {"ReadFile", {path, encoding}},
      {"SetFileEncoding", {path, {"encoding", true}}},
      {"SetFileOwner", {path, {"owner", true}, group}},
      {"SetFolderOwner", {path, {"owner", true}, group, {"recursive", false, "false"}}},
      {"SetFilePermissions", {path, {"permissions", true}}},
      {"SetFolderPermissions", {path, {"permissions", true}, {"recursive", false, "false"}}},
      {"WebDownload",
       {{"source", true},
        {"destination", true},
        overwrite,
        {"checksum"},
        {"algorithm"},
        {"ignoreCertificateErrors", false, "false"}}}};
  return known;
}

struct Refused {
  std::string_view name;
  std::string_view why;
  std::string_view next;
};
constexpr Refused kRefused[] = {
    {"Reboot", "nothing is booted while an image is baked offline",
     "leave the step out: a machine boots when it is launched, and sees what was installed"},
    {"S3Download", "a bake has no credentials, and reads nothing that can change under it",
     "download the file into the app's folder and copy it in, or use WebDownload with a pre-signed URL and a checksum"},
    {"S3Upload", "a bake has no credentials and gives nothing away", "upload from a script around kiln bake"},
    {"ExecutePowerShell", "Kiln's images are Linux", "use ExecuteBash"},
    {"SetRegistry", "Kiln's images are Linux", "write a file under /etc by CreateFile"},
    {"InstallMSI", "Kiln's images are Linux", "install a Debian package by ExecuteBash"},
    {"UninstallMSI", "Kiln's images are Linux", "remove a Debian package by ExecuteBash"},
    {"InstallRPM", "Debian has no RPM packages", "install the Debian package by ExecuteBash"},
};

class Writer {
 public:
  Writer(const Document& document, const Phase& phase, const ScriptOptions& options, std::vector<StepFile>& files)
      : document_(document), phase_(phase), options_(options), files_(files) {}

  std::string write() {
    body_ = fmt::format("# {}, phase {}; made by Kiln from EC2 Image Builder's document.\n", one_line(document_.name),
                        one_line(phase_.name));
    body_ += script_library();
    body_ += fmt::format("cd {} || exit 1\n", quoted(options_.working_folder));
    const std::size_t begin = body_.size();
    for (const DocumentStep& step : phase_.steps) write_step(step);
    if (!of_build_.empty()) {
      body_.insert(begin, fmt::format(". {} || exit 1\n", quoted(options_.outputs_file)));
      options_.of_build->insert(of_build_.begin(), of_build_.end());
    }
    if (!options_.kept.empty()) {
      body_ += fmt::format("\nkeep_outputs {}", quoted(options_.outputs_file));
      for (const std::string& key : options_.kept) body_ += " " + quoted(key);
    }
    body_ += "\nexit \"$failed\"\n";
    return body_;
  }

 private:
  static std::string one_line(std::string text) {
    std::ranges::replace(text, '\n', ' ');
    return text;
  }

  Error error(Location where, const std::string& message, std::string next = {}) const {
    return document_.source.error(where, message, std::move(next));
  }

  Scope scope_of(const DocumentStep* step, const std::string* loop_value = nullptr, std::string loop_index = {}) {
    return {&document_,
            &phase_,
            step,
            loop_value,
            std::move(loop_index),
            options_.of_build != nullptr && !options_.outputs_file.empty() ? &of_build_ : nullptr};
  }

  void write_step(const DocumentStep& step) {
    const Scope scope = scope_of(&step);
    const std::string function = fmt::format("round_{}", ++count_);
    // A nested document must be known now, so its loop is unrolled.
    if (step.action == "ExecuteDocument" && step.loop) return write_unrolled(step, function);
    body_ +=
        fmt::format("\n# {}\n{}() {{\n{}}}\n", one_line(document_.source.at(step.where)), function, calls(scope, step));
    const std::string call = run_of(step, function);
    std::string run = step.loop ? looped(scope, *step.loop, step, call) : call;
    if (step.condition != nullptr) run = conditional(scope, step, run);
    body_ += run;
  }

  std::string run_of(const DocumentStep& step, const std::string& function) const {
    const char* on_failure = step.on_failure == OnFailure::abort    ? "Abort"
                             : step.on_failure == OnFailure::ignore ? "Ignore"
                                                                    : "Continue";
    return fmt::format("step {} {} {} {} {}\n", quoted(phase_.name + "." + step.name), function, step.attempts,
                       step.timeout_seconds, on_failure);
  }

  std::string looped(const Scope& scope, const Loop& loop, const DocumentStep& step, const std::string& call) const {
    std::string run = "loop_index=-1\n";
    std::string values;
    // A list's own texts may name outputs, but no loop.
    Scope outside = scope;
    outside.step = nullptr;
    for (const std::string& value : loop.values) values += " " + word(outside, step.where, value);
    if (loop.delimiter.empty()) {
      run += fmt::format("for loop_value in{}; do\n", values);
    } else {
      run += fmt::format("list={}\nIFS={} read -r -d '' -a list_values < <(printf '%s\\0' \"$list\")\n",
                         word(outside, step.where, loop.delimited), quoted(loop.delimiter));
      run += "for loop_value in \"${list_values[@]}\"; do\n";
    }
    return run + "((++loop_index))\n" + call + "done\nloop_index= loop_value=\n";
  }

  void write_unrolled(const DocumentStep& step, const std::string& function) {
    const Loop& loop = *step.loop;
    std::vector<std::string> values = loop.values;
    if (!loop.delimiter.empty()) {
      const auto list = value_now(scope_of(nullptr), step.where, loop.delimited);
      if (!list) throw must_be_known(step);
      values = split(*list, loop.delimiter.front());
    }
    std::string run;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Scope scope = scope_of(&step, &values[i], fmt::format("{}", i));
      const std::string round = fmt::format("{}_{}", function, i);
      body_ += fmt::format("\n{}() {{\n{}}}\n", round, calls(scope, step));
      run += fmt::format("loop_index={} loop_value={}\n{}", i, quoted(values[i]), run_of(step, round));
    }
    run += "loop_index= loop_value=\n";
    const Scope scope = scope_of(&step);
    body_ += step.condition != nullptr ? conditional(scope, step, run) : run;
  }

  Error must_be_known(const DocumentStep& step) const {
    return error(step.where, "which document is run must be known before the bake; this depends on what a step prints",
                 "name the document, or use parameters, constants and lists");
  }

  // The body of a round.
  std::string calls(const Scope& scope, const DocumentStep& step) {
    if (step.action == "ExecuteBash") return execute_bash(scope, step);
    if (step.action == "ExecuteBinary") return execute_binary(scope, step);
    if (step.action == "ExecuteDocument") return execute_document(scope, step);
    if (step.action == "UpdateOS") return update_os(scope, step);
    if (step.action == "Assert") return assertion(scope, step);
    for (const Action& action : actions()) {
      if (action.name == step.action) return with_inputs(scope, step, action);
    }
    for (const Refused& refused : kRefused) {
      if (refused.name == step.action)
        throw error(step.where, fmt::format("{} is not served: {}", refused.name, refused.why),
                    std::string(refused.next));
    }
    std::vector<std::string> names = {"ExecuteBash", "ExecuteBinary", "ExecuteDocument", "UpdateOS", "Assert"};
    for (const Action& action : actions()) names.emplace_back(action.name);
    const auto near = nearest(step.action, names);
    throw error(step.where, fmt::format("there is no action '{}'{}", step.action,
                                        near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }

  const Node& inputs_of(const DocumentStep& step) const {
    if (step.inputs == nullptr || step.inputs->kind == Node::Kind::null)
      throw error(step.where, fmt::format("{} needs 'inputs'", step.action));
    return *step.inputs;
  }

  const Node& mapping_of(const DocumentStep& step) const {
    const Node& inputs = inputs_of(step);
    if (!inputs.is_mapping()) throw error(inputs.where, fmt::format("the inputs of {} are a mapping", step.action));
    return inputs;
  }

  // A list of texts under `key`, as words.
  std::vector<std::string> words_at(const Scope& scope, const Node& mapping, std::string_view key) const {
    std::vector<std::string> words;
    const Node* list = mapping.find(key);
    if (list == nullptr) return words;
    if (list->is_scalar()) return {word(scope, list->where, list->text)};
    for (const NodeEntry& entry : list->entries) {
      if (!list->is_list() || !entry.value.is_scalar())
        throw error(list->where, fmt::format("'{}' must be a list of texts", key));
      words.push_back(word(scope, entry.value.where, entry.value.text));
    }
    return words;
  }

  std::string execute_bash(const Scope& scope, const DocumentStep& step) const {
    const Node& inputs = mapping_of(step);
    only_keys(document_.source, inputs, {"commands"}, "ExecuteBash");
    const std::vector<std::string> commands = words_at(scope, inputs, "commands");
    if (commands.empty()) throw error(inputs.where, "ExecuteBash needs 'commands'");
    return fmt::format("ExecuteBash {}\n", join(commands, "$'\\n'"));
  }

  std::string execute_binary(const Scope& scope, const DocumentStep& step) const {
    const Node& inputs = mapping_of(step);
    only_keys(document_.source, inputs, {"path", "arguments"}, "ExecuteBinary");
    const std::string path = text_at(document_.source, inputs, "path");
    if (path.empty()) throw error(inputs.where, "ExecuteBinary needs 'path'");
    std::string line = "ExecuteBinary " + word(scope, inputs.where, path);
    for (const std::string& argument : words_at(scope, inputs, "arguments")) line += " " + argument;
    return line + "\n";
  }

  std::string update_os(const Scope& scope, const DocumentStep& step) const {
    if (step.inputs == nullptr) return "UpdateOS '' ''\n";
    const Node& inputs = mapping_of(step);
    only_keys(document_.source, inputs, {"include", "exclude"}, "UpdateOS");
    std::string line = "UpdateOS";
    for (const char* key : {"include", "exclude"}) {
      const std::vector<std::string> words = words_at(scope, inputs, key);
      line += " " + (words.empty() ? "''" : join(words, "$'\\n'"));
    }
    return line + "\n";
  }

  std::string with_inputs(const Scope& scope, const DocumentStep& step, const Action& action) const {
    const Node& inputs = inputs_of(step);
    std::string body;
    if (inputs.is_mapping()) return one_input(scope, inputs, action) + "\n";
    if (!inputs.is_list() || inputs.entries.empty())
      throw error(inputs.where, fmt::format("the inputs of {} are a list of mappings", action.name));
    for (const NodeEntry& entry : inputs.entries) {
      if (!entry.value.is_mapping())
        throw error(entry.value.where, fmt::format("the inputs of {} are a list of mappings", action.name));
      body += one_input(scope, entry.value, action) + " || return\n";
    }
    return body;
  }

  std::string one_input(const Scope& scope, const Node& mapping, const Action& action) const {
    std::vector<std::string> known;
    for (const Input& input : action.inputs) known.emplace_back(input.name);
    only_keys(document_.source, mapping, known, std::string(action.name));
    std::string line(action.name);
    for (const Input& input : action.inputs) {
      const Node* found = mapping.find(input.name);
      if (found == nullptr && input.required)
        throw error(mapping.where, fmt::format("{} needs '{}'", action.name, input.name));
      const std::string text = text_at(document_.source, mapping, input.name, std::string(input.fallback));
      if (input.fallback == "true" || input.fallback == "false") {
        line += flag_at(document_.source, mapping, input.name, input.fallback == "true") ? " true" : " false";
      } else {
        line += " " + word(scope, found != nullptr ? found->where : mapping.where, text);
      }
    }
    return line;
  }

  std::string execute_document(const Scope& scope, const DocumentStep& step) {
    const Node& inputs = mapping_of(step);
    only_keys(document_.source, inputs, {"document", "document-s3-bucket-owner", "phases", "parameters"},
              "ExecuteDocument");
    if (step.attempts != 1) throw error(step.where, "ExecuteDocument runs once: it has no 'maxAttempts'");
    const auto name = value_now(scope, step.where, text_at(document_.source, inputs, "document"));
    if (!name) throw must_be_known(step);
    if (name->empty()) throw error(inputs.where, "ExecuteDocument needs 'document'");
    if (name->starts_with("s3://") || name->starts_with("arn:"))
      throw error(step.where, fmt::format("'{}' is not on this machine", *name),
                  "download the document into the app's folder and name the file");
    const std::string& here = document_.source.file_name;
    const auto slash = here.rfind('/');
    const std::string path =
        slash == std::string::npos || name->starts_with('/') ? *name : here.substr(0, slash + 1) + *name;
    std::vector<std::string> callers = options_.callers;
    callers.push_back(here);
    if (std::ranges::find(callers, path) != callers.end())
      throw error(step.where, fmt::format("'{}' runs itself", *name));
    if (callers.size() > kNestedMax)
      throw error(step.where, fmt::format("documents run documents more than {} deep", kNestedMax));
    Document nested;
    read_document(nested, path, (*options_.read_file)(path), parameters_of(scope, step, inputs));
    return nested_calls(nested, step, text_at(document_.source, inputs, "phases"), callers);
  }

  Variables parameters_of(const Scope& scope, const DocumentStep& step, const Node& inputs) const {
    Variables given;
    const Node* list = inputs.find("parameters");
    if (list == nullptr) return given;
    for (const NodeEntry& entry : list->entries) {
      if (!list->is_list() || !entry.value.is_mapping())
        throw error(list->where, "'parameters' is a list of 'name' and 'value'");
      only_keys(document_.source, entry.value, {"name", "value"}, "a parameter");
      const auto value = value_now(scope, entry.value.where, text_at(document_.source, entry.value, "value"));
      if (!value) throw must_be_known(step);
      given.emplace_back(text_at(document_.source, entry.value, "name"), *value);
    }
    return given;
  }

  std::string nested_calls(const Document& nested, const DocumentStep& step, const std::string& wanted,
                           const std::vector<std::string>& callers) {
    std::vector<std::string> names;
    for (const std::string& one : split(wanted, ',')) {
      const std::string name(trim(one));
      if (name.empty()) continue;
      if (nested.phase(name) == nullptr)
        throw error(step.where, fmt::format("'{}' has no phase '{}'", nested.source.file_name, name));
      names.push_back(name);
    }
    std::string body;
    for (const Phase& phase : nested.phases) {
      if (!names.empty() && std::ranges::find(names, phase.name) == names.end()) continue;
      ScriptOptions options = options_;
      options.callers = callers;
      // Its phases are other scripts than ours, and nothing is left between them.
      options.outputs_file.clear();
      options.kept.clear();
      std::string script = write_script(nested, phase, options, files_);
      const std::string file = fmt::format("document-{}.sh", files_.size() + 1);
      files_.push_back({file, std::move(script), 0755});
      body += fmt::format("ExecuteDocument {} || return\n", quoted(file));
    }
    return body;
  }

  std::string assertion(const Scope& scope, const DocumentStep& step) {
    const Node& inputs = inputs_of(step);
    const std::string text = inputs.is_list() ? all_of(scope, inputs, "&&", 1) : condition(scope, inputs, 1);
    return fmt::format("{} || {{ complain 'the assertion does not hold'; return 1; }}\n", text);
  }

  std::string all_of(const Scope& scope, const Node& list, const char* between, int depth) const {
    if (!list.is_list() || list.entries.empty()) throw error(list.where, "a list of conditions is needed here");
    std::vector<std::string> parts;
    for (const NodeEntry& entry : list.entries) parts.push_back(condition(scope, entry.value, depth));
    return "{ " + join(parts, fmt::format(" {} ", between)) + "; }";
  }

  std::string condition(const Scope& scope, const Node& node, int depth) const {
    static const std::vector<std::string> one_value = {"stringIsEmpty", "stringIsWhitespace", "fileExists",
                                                       "folderExists", "binaryExists"};
    static const std::vector<std::string> by_value = {
        "stringEquals",      "stringLessThan",          "stringLessThanEquals",
        "stringGreaterThan", "stringGreaterThanEquals", "patternMatches",
        "numberEquals",      "numberLessThan",          "numberLessThanEquals",
        "numberGreaterThan", "numberGreaterThanEquals"};
    static const std::vector<std::string> by_path = {"fileMD5Equals", "fileSHA1Equals", "fileSHA256Equals",
                                                     "fileSHA512Equals"};
    if (depth > kConditionDepthMax)
      throw error(node.where, fmt::format("conditions are nested deeper than {}", kConditionDepthMax));
    if (!node.is_mapping()) throw error(node.where, "a condition is a mapping: an operator and its values");
    for (const NodeEntry& entry : node.entries) {
      const std::string& name = entry.key.text;
      if (name == "and") return all_of(scope, entry.value, "&&", depth + 1);
      if (name == "or") return all_of(scope, entry.value, "||", depth + 1);
      if (name == "not") {
        const Node& inner = entry.value;
        return "! { " + (inner.is_list() ? all_of(scope, inner, "&&", depth + 1) : condition(scope, inner, depth + 1)) +
               "; }";
      }
      const auto holds = [&](const std::vector<std::string>& list) {
        return std::ranges::find(list, name) != list.end();
      };
      if (!holds(one_value) && !holds(by_value) && !holds(by_path)) continue;
      std::string line = name + " " + word(scope, entry.value.where, text_at(document_.source, node, name));
      if (holds(one_value)) return line;
      const char* second = holds(by_value) ? "value" : "path";
      if (node.find(second) == nullptr) throw error(node.where, fmt::format("{} needs '{}'", name, second));
      return line + " " + word(scope, node.where, text_at(document_.source, node, second));
    }
    throw error(node.where, "no operator that is known is in this condition");
  }

  std::string conditional(const Scope& scope, const DocumentStep& step, const std::string& run) const {
    const Node& node = *step.condition;
    const std::string then = outcome(node, "then", "Execute", step, run);
    const std::string otherwise = outcome(node, "else", "Skip", step, run);
    Scope outside = scope;
    if (step.loop) outside.step = nullptr;
    return fmt::format("if {}; then\n{}else\n{}fi\n", condition(outside, node, 1), then, otherwise);
  }

  std::string outcome(const Node& node, const char* key, const char* fallback, const DocumentStep& step,
                      const std::string& run) const {
    const std::string wanted = text_at(document_.source, node, key, fallback);
    const std::string name = quoted(phase_.name + "." + step.name);
    if (wanted == "Execute") return run;
    if (wanted == "Skip") return fmt::format("skip {}\n", name);
    if (wanted == "Abort") return fmt::format("complain {}\": its condition says Abort\"\nexit 1\n", name);
    throw error(node.find(key)->where, fmt::format("'{}' is Execute, Skip or Abort", key));
  }

  const Document& document_;
  const Phase& phase_;
  const ScriptOptions& options_;
  std::vector<StepFile>& files_;
  std::string body_;
  std::set<std::string> of_build_;
  int count_ = 0;
};

}  // namespace

std::string write_script(const Document& document, const Phase& phase, const ScriptOptions& options,
                         std::vector<StepFile>& files) {
  return Writer(document, phase, options, files).write();
}

}  // namespace kiln::spec::image_builder
