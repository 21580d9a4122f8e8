// Expression: parameters, loops, inputs and outputs.
#include "spec/image_builder/expression.h"

#include <fmt/format.h>

#include <regex>

#include "base/text.h"

namespace kiln::spec::image_builder {
namespace {

constexpr int kNestingMax = 16;  // an input that names an input that names an input

// One part of a text: as it is, or the name of a variable of the script.
struct Part {
  bool literal = true;
  std::string text;
};
using Parts = std::vector<Part>;

void add(Parts& parts, std::string_view text) {
  if (text.empty()) return;
  if (parts.empty() || !parts.back().literal) parts.push_back({true, ""});
  parts.back().text += text;
}

class Reader {
 public:
  Reader(const Scope& scope, Location where, int depth) : scope_(scope), where_(where), depth_(depth) {}

  Parts read(const std::string& text) {
    if (depth_ > kNestingMax) throw error("expressions name each other in a circle");
    static const std::regex expression(R"(\{\{\s*([A-Za-z_][A-Za-z0-9_.\-\[\]]*)\s*\}\})");
    Parts parts;
    std::size_t at = 0;
    for (auto match = std::sregex_iterator(text.begin(), text.end(), expression); match != std::sregex_iterator();
         ++match) {
      const auto begin = static_cast<std::size_t>(match->position());
      add(parts, std::string_view(text).substr(at, begin - at));
      at = begin + static_cast<std::size_t>(match->length());
      if (!resolve((*match)[1].str(), parts)) add(parts, match->str());
    }
    add(parts, std::string_view(text).substr(at));
    return parts;
  }

 private:
  Error error(const std::string& message) const { return scope_.document->source.error(where_, message); }

  // False: the text stays as it is, as AWSTOE leaves what it does not know (Go's and Jinja's templates look the same).
  bool resolve(const std::string& name, Parts& parts) {
    std::vector<std::string> names;
    for (const auto& [constant, value] : scope_.document->constants) {
      if (constant == name) {
        add(parts, value);
        return true;
      }
      names.push_back(constant);
    }
    if (name.find('.') == std::string::npos) {
      if (const auto near = nearest(name, names))
        throw error(fmt::format("there is no parameter or constant '{}'; did you mean '{}'?", name, *near));
      return false;
    }
    return resolve_loop(name, parts) || resolve_step(name, parts);
  }

  bool resolve_loop(const std::string& name, Parts& parts) {
    if (scope_.step == nullptr || !scope_.step->loop) return false;
    const auto dot = name.find('.');
    const std::string object = name.substr(0, dot);
    const std::string member = name.substr(dot + 1);
    if (object != "loop" && (object != scope_.step->loop->name || object.empty())) return false;
    if (member != "index" && member != "value")
      throw error(fmt::format("a loop has 'index' and 'value', no '{}'", member));
    if (scope_.loop_value == nullptr) {
      parts.push_back({false, member == "index" ? "loop_index" : "loop_value"});
    } else {
      add(parts, member == "index" ? scope_.loop_index : *scope_.loop_value);
    }
    return true;
  }

  // phase.step.outputs.name, phase.step.inputs.name, phase.step.inputs[0].name, phase.step[0].outputs.name
  bool resolve_step(const std::string& name, Parts& parts) {
    const std::vector<std::string> words = split(name, '.');
    if (words.size() != 4) return false;
    std::string step_name = words[1];
    std::string index;
    if (const auto bracket = step_name.find('['); bracket != std::string::npos && step_name.ends_with(']')) {
      index = step_name.substr(bracket);
      step_name.resize(bracket);
    }
    const Phase* phase = scope_.document->phase(words[0]);
    if (phase == nullptr) return false;
    const DocumentStep* step = scope_.document->step(words[0], step_name);
    if (step == nullptr) throw error(fmt::format("the phase '{}' has no step '{}'", words[0], step_name));
    if (words[2] == "outputs") return output(*phase, *step, index, words[3], parts);
    if (words[2].starts_with("inputs")) return input(*phase, *step, words[2].substr(6), words[3], parts);
    throw error(fmt::format("a step has 'inputs' and 'outputs', no '{}'", words[2]));
  }

  bool output(const Phase& phase, const DocumentStep& step, const std::string& index, const std::string& name,
              Parts& parts) {
    const std::string round = index.empty() ? "" : ":" + index.substr(1, index.size() - 2);
    const std::string key = fmt::format("{}.{}{}.outputs.{}", phase.name, step.name, round, name);
    if (&phase != scope_.phase) {
      note_output_of_build(phase, name, key);
    } else if (scope_.step != nullptr && &step >= scope_.step) {
      throw error(fmt::format("the step '{}' has not run yet here", step.name));
    }
    parts.push_back({false, "out[" + key + "]-"});
    return true;
  }

  // Only what the phase build makes is there in the others: validation changes nothing, and tests come last.
  void note_output_of_build(const Phase& phase, const std::string& name, const std::string& key) {
    if (phase.name != "build" || scope_.of_build == nullptr) {
      throw scope_.document->source.error(
          where_, fmt::format("'{}' is an output of the phase '{}', which runs apart from this one", name, phase.name),
          "find it out again in this phase; of another one only outputs of 'build' can be had");
    }
    scope_.of_build->insert(key);
  }

  bool input(const Phase& phase, const DocumentStep& step, const std::string& index, const std::string& name,
             Parts& parts) {
    const Node* inputs = step.inputs;
    if (!index.empty()) {
      const auto number = parse_int(index.substr(1, index.size() < 2 ? 0 : index.size() - 2));
      if (inputs == nullptr || !inputs->is_list() || !index.starts_with('[') || !number || *number < 0 ||
          static_cast<std::size_t>(*number) >= inputs->entries.size())
        throw error(fmt::format("the step '{}' has no inputs{}", step.name, index));
      inputs = &inputs->entries[static_cast<std::size_t>(*number)].value;
    }
    const Node* value = inputs != nullptr && inputs->is_mapping() ? inputs->find(name) : nullptr;
    if (value == nullptr || !value->is_scalar())
      throw error(fmt::format("the step '{}' has no text '{}' in its inputs{}", step.name, name, index));
    Scope there = scope_;
    // Its loop has ended when this text is used; only its own inputs may name it.
    if (&step != scope_.step) there.step = step.loop ? nullptr : &step;
    there.phase = scope_.phase == &phase ? &phase : scope_.phase;
    for (const Part& part : Reader(there, where_, depth_ + 1).read(value->text)) {
      if (part.literal) {
        add(parts, part.text);
      } else {
        parts.push_back(part);
      }
    }
    return true;
  }

  const Scope& scope_;
  Location where_;
  int depth_;
};

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string word(const Scope& scope, Location where, const std::string& text) {
  std::string out;
  for (const Part& part : Reader(scope, where, 0).read(text))
    out += part.literal ? quoted(part.text) : "\"${" + part.text + "}\"";
  return out.empty() ? "''" : out;
}

std::optional<std::string> value_now(const Scope& scope, Location where, const std::string& text) {
  std::string out;
  for (const Part& part : Reader(scope, where, 0).read(text)) {
    if (!part.literal) return std::nullopt;
    out += part.text;
  }
  return out;
}

}  // namespace kiln::spec::image_builder
