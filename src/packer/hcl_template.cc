// read_hcl2: templates in HCL2: variables, locals, data, sources and builds become values.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/mask.h"
#include "base/text.h"
#include "packer/internal/hcl_types.h"
#include "packer/internal/raw.h"

namespace kiln::packer {
namespace {

struct Variable {
  Place place;
  const Expression* type = nullptr;
  const Expression* fallback = nullptr;
  std::vector<std::pair<const Block*, const Expression*>> validations{};  // block, condition
  bool sensitive = false;
  std::optional<Value> given{};
};

struct Local {
  const Expression* expression = nullptr;
  Place place;
  bool sensitive = false;
  enum class State { open, busy, done } state = State::open;
  Value value{};
};

struct Source {
  std::string type;
  const Block* block = nullptr;
};

const Expression& required(const Block& block, const std::string& name) {
  if (const Attribute* attribute = block.body.find(name)) return *attribute->expression;
  throw block.place.error(fmt::format("'{}' has no '{}'", block.type, name));
}

void labels(const Block& block, std::size_t count, const std::string& shape) {
  if (block.labels.size() != count) throw block.place.error(fmt::format("'{}' is written as: {}", block.type, shape));
}

void known_attributes(const Block& block, const std::vector<std::string>& names) {
  for (const Attribute& attribute : block.body.attributes) {
    if (std::ranges::find(names, attribute.name) != names.end()) continue;
    const auto near = nearest(attribute.name, names);
    throw attribute.place.error(fmt::format("'{}' has no '{}'{}", block.type, attribute.name,
                                            near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }
}

class HclTemplate {
 public:
  HclTemplate(const Request& request, const Outside& outside)
      : request_(request),
        outside_(outside),
        evaluator_(outside, [this](const std::string& root, const std::string& member, const Place& place) {
          return look(root, member, place);
        }) {}

  RawTemplate read() {
    try {
      return read_all();
    } catch (const Error& error) {
      throw masked(error, out_.secrets);
    }
  }

 private:
  RawTemplate read_all() {
    std::vector<std::string> automatic;
    for (const std::string& name : template_files(automatic)) {
      auto source = load(name);
      out_.files.push_back(source);
      bodies_.push_back(read_hcl(*source));
      sources_.push_back(source);
    }
    for (const Body& body : bodies_) declare(body);
    give_variables(automatic);
    check_variables();
    for (auto& [name, local] : locals_) local_value(name, local.place);
    for (const auto& [name, block] : data_) out_.amis[name] = settings_of(block->body, 0);
    for (std::size_t i = 0; i < bodies_.size(); ++i) {
      for (const Block& block : bodies_[i].blocks) {
        if (block.type != "build") continue;
        if (!out_.main) out_.main = sources_[i];
        read_build(block);
      }
    }
    if (!out_.main) throw Error(ErrorCode::usage, fmt::format("{} has no 'build' block", request_.path));
    return std::move(out_);
  }

  std::shared_ptr<const spec::Source> load(const std::string& name) const {
    const auto file = outside_.read(name);
    if (!file) throw Error(ErrorCode::usage, fmt::format("there is no file '{}'", name));
    if (file->content.size() > kTemplateBytesMax)
      throw Error(ErrorCode::usage, fmt::format("'{}' is larger than {}", name, format_bytes(kTemplateBytesMax)));
    return std::make_shared<spec::Source>(spec::Source{name, file->content});
  }

  std::vector<std::string> template_files(std::vector<std::string>& automatic) {
    const auto names = outside_.files_below(request_.path);
    if (!names) {
      folder_ = std::filesystem::path(request_.path).parent_path().string();
      if (folder_.empty()) folder_ = ".";
      return {request_.path};
    }
    folder_ = request_.path;
    while (folder_.size() > 1 && folder_.ends_with('/')) folder_.pop_back();
    std::vector<std::string> out;
    for (const std::string& name : *names) {
      if (name.find('/') != std::string::npos) continue;
      const std::string path = folder_ + "/" + name;
      if (name.ends_with(".pkr.json"))
        throw Error(ErrorCode::usage, fmt::format("'{}': HCL2 written as JSON is not supported", path),
                    "write it as .pkr.hcl");
      if (name.ends_with(".pkr.hcl")) out.push_back(path);
      if (name.ends_with(".auto.pkrvars.hcl") || name.ends_with(".auto.pkrvars.json")) automatic.push_back(path);
    }
    if (out.empty()) throw Error(ErrorCode::usage, fmt::format("there is no *.pkr.hcl in {}", request_.path));
    return out;
  }

  void declare(const Body& body) {
    if (!body.attributes.empty())
      throw body.attributes.front().place.error(fmt::format("'{}' must be in a block", body.attributes.front().name),
                                                "variables' values are in *.pkrvars.hcl, given with -var-file");
    for (const Block& block : body.blocks) {
      if (block.type == "variable") {
        declare_variable(block);
      } else if (block.type == "variables") {
        labels(block, 0, "variables { .. }");
        for (const Attribute& one : block.body.attributes)
          add_variable(one.name, {.place = one.place, .fallback = one.expression.get()});
      } else if (block.type == "locals") {
        labels(block, 0, "locals { .. }");
        for (const Attribute& one : block.body.attributes)
          add_local(one.name, {.expression = one.expression.get(), .place = one.place});
      } else if (block.type == "local") {
        declare_local(block);
      } else if (block.type == "source") {
        declare_source(block);
      } else if (block.type == "data") {
        declare_data(block);
      } else if (block.type != "build" && block.type != "packer") {
        const auto near =
            nearest(block.type, {"variable", "variables", "local", "locals", "source", "data", "build", "packer"});
        throw block.place.error(
            fmt::format("a template has no '{}'{}", block.type, near ? fmt::format("; did you mean '{}'?", *near) : ""),
            "docs/packer.md lists what Kiln knows");
      }
    }
  }

  void declare_variable(const Block& block) {
    labels(block, 1, "variable \"name\" { .. }");
    known_attributes(block, {"type", "default", "description", "sensitive"});
    Variable variable{.place = block.place};
    if (const Attribute* type = block.body.find("type")) variable.type = type->expression.get();
    if (const Attribute* fallback = block.body.find("default")) variable.fallback = fallback->expression.get();
    if (const Attribute* sensitive = block.body.find("sensitive"))
      variable.sensitive = boolean_of(evaluator_.evaluate(*sensitive->expression)).value_or(false);
    for (const Block& inner : block.body.blocks) {
      if (inner.type != "validation") throw inner.place.error(fmt::format("'variable' has no block '{}'", inner.type));
      known_attributes(inner, {"condition", "error_message"});
      required(inner, "error_message");
      variable.validations.emplace_back(&inner, &required(inner, "condition"));
    }
    add_variable(block.labels[0], std::move(variable));
  }

  void add_variable(const std::string& name, Variable variable) {
    if (variables_.contains(name)) throw variable.place.error(fmt::format("the variable '{}' is here twice", name));
    variables_.emplace(name, std::move(variable));
  }

  void add_local(const std::string& name, Local local) {
    if (locals_.contains(name)) throw local.place.error(fmt::format("the local '{}' is here twice", name));
    locals_.emplace(name, std::move(local));
  }

  void declare_local(const Block& block) {
    labels(block, 1, "local \"name\" { expression = .. }");
    known_attributes(block, {"expression", "sensitive"});
    const Attribute* sensitive = block.body.find("sensitive");
    add_local(block.labels[0], {.expression = &required(block, "expression"),
                                .place = block.place,
                                .sensitive = sensitive != nullptr &&
                                             boolean_of(evaluator_.evaluate(*sensitive->expression)).value_or(false)});
  }

  void declare_source(const Block& block) {
    labels(block, 2, "source \"amazon-ebs\" \"name\" { .. }");
    const std::string key = block.labels[0] + "." + block.labels[1];
    if (!declared_.emplace(key, Source{block.labels[0], &block}).second)
      throw block.place.error(fmt::format("the source '{}' is here twice", key));
  }

  void declare_data(const Block& block) {
    labels(block, 2, "data \"amazon-ami\" \"name\" { .. }");
    if (block.labels[0] != "amazon-ami")
      throw block.place.error(fmt::format("the data source '{}' is not supported", block.labels[0]),
                              "there is amazon-ami; give other values as variables: -var NAME=VALUE");
    if (!data_.emplace(block.labels[1], &block).second) throw block.place.error("this data source is here twice");
  }

  // As Packer takes them, each over those before it: PKR_VAR_*, automatic files, -var-file, -var.
  void give_variables(const std::vector<std::string>& automatic) {
    for (auto& [name, variable] : variables_) {
      const std::string value = outside_.environment("PKR_VAR_" + name);
      if (!value.empty()) variable.given = from_text(name, variable, value);
    }
    for (const std::string& name : automatic) from_file(name);
    for (const std::string& name : request_.variable_files) from_file(name);
    for (const auto& [name, value] : request_.variables) {
      const auto found = variables_.find(name);
      if (found == variables_.end()) {
        std::vector<std::string> names;
        for (const auto& [known, variable] : variables_) names.push_back(known);
        const auto near = nearest(name, names);
        throw Error(ErrorCode::usage,
                    fmt::format("-var {}: the template has no such variable{}", name,
                                near ? fmt::format("; did you mean '{}'?", *near) : ""),
                    "it has: " + join(names, ", "));
      }
      found->second.given = from_text(name, found->second, value);
    }
  }

  // A string's value is taken as it is; other types are written as in a template.
  Value from_text(const std::string& name, const Variable& variable, const std::string& text) {
    if (variable.sensitive) keep_secret(Value::of(text), out_);
    const bool typed = variable.type != nullptr && !(variable.type->kind == Expression::Kind::name &&
                                                     (variable.type->name == "string" || variable.type->name == "any"));
    const bool text_default = variable.fallback == nullptr || variable.fallback->kind == Expression::Kind::literal ||
                              variable.fallback->kind == Expression::Kind::text;
    if (!typed && (variable.type != nullptr || text_default)) return Value::of(text);
    if (typed && variable.type->kind == Expression::Kind::literal && variable.type->value.text == "string")
      return Value::of(text);
    auto source = std::make_shared<spec::Source>(spec::Source{"-var " + name, text});
    out_.files.push_back(source);
    const ExpressionPtr expression = read_hcl_expression(*source);
    return evaluator_.evaluate(*expression);
  }

  // What the template does not declare may belong to another one: such files are shared, and Packer only warns.
  void from_file(const std::string& name) {
    const auto source = load(name);
    out_.files.push_back(source);
    if (name.ends_with(".json")) {
      const Value root = read_json(*source);
      if (!root.is(Value::Kind::object)) throw root.place.error("a variable file is an object");
      for (const auto& [key, value] : root.members) {
        if (const auto found = variables_.find(key); found != variables_.end()) found->second.given = value;
      }
      return;
    }
    const Body body = read_hcl(*source);
    if (!body.blocks.empty()) throw body.blocks.front().place.error("a variable file has no blocks");
    for (const Attribute& one : body.attributes) {
      if (const auto found = variables_.find(one.name); found != variables_.end())
        found->second.given = evaluator_.evaluate(*one.expression);
    }
  }

  void check_variables() {
    for (auto& [name, variable] : variables_) {
      if (!variable.given && variable.fallback != nullptr) {
        evaluator_.allow_environment(true);
        variable.given = evaluator_.evaluate(*variable.fallback);
        evaluator_.allow_environment(false);
      }
      if (!variable.given)
        throw variable.place.error(fmt::format("the variable '{}' needs a value", name),
                                   fmt::format("give it: -var {}=VALUE", name));
      // Before anything is said of it.
      if (variable.sensitive) keep_secret(*variable.given, out_);
      if (variable.type != nullptr) {
        const Place place = variable.given->place.source == nullptr ? variable.place : variable.given->place;
        variable.given = converted(*variable.given, *variable.type, place);
        variable.given->place = place;
      }
    }
    for (auto& [name, variable] : variables_) {
      for (const auto& [block, condition] : variable.validations) {
        if (boolean_of(evaluator_.evaluate(*condition)).value_or(false)) continue;
        const std::string message = text_of(evaluator_.evaluate(required(*block, "error_message"))).value_or("");
        throw block->place.error(fmt::format("the variable '{}' is not valid: {}", name, message));
      }
    }
  }

  std::optional<Value> look(const std::string& root, const std::string& member, const Place& place) {
    if (root == "var") {
      const auto found = variables_.find(member);
      if (found != variables_.end() && found->second.given) return *found->second.given;
      if (found != variables_.end())
        throw place.error("a variable's default cannot use another variable", "use a local");
      throw unknown("variable", member, variables_, place);
    }
    if (root == "local") return local_value(member, place);
    if (root == "path") {
      if (member == "root") return Value::of(folder_);
      if (member == "cwd") return Value::of(outside_.working);
      throw place.error("there are path.root and path.cwd");
    }
    if (root == "packer" && member == "version") return Value::of("1.6.6");
    if (root == "data") return data_value(member, place);
    if (root == "source" || root == "build") {
      const auto found = build_values_.find(root + "." + member);
      if (found != build_values_.end()) return Value::of(found->second);
      throw place.error(fmt::format("'{}.{}' has no value here", root, member),
                        "there are source.name, source.type, build.name, build.ID, build.Host, build.User and "
                        "build.PackerRunUUID, in provisioners");
    }
    return std::nullopt;
  }

  template <typename Map>
  static Error unknown(const std::string& kind, const std::string& name, const Map& map, const Place& place) {
    std::vector<std::string> names;
    for (const auto& [known, value] : map) names.push_back(known);
    const auto near = nearest(name, names);
    return place.error(
        fmt::format("there is no {} '{}'{}", kind, name, near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }

  Value local_value(const std::string& name, const Place& place) {
    const auto found = locals_.find(name);
    if (found == locals_.end()) throw unknown("local", name, locals_, place);
    Local& local = found->second;
    if (local.state == Local::State::busy) throw place.error(fmt::format("the local '{}' needs itself", name));
    if (local.state == Local::State::open) {
      local.state = Local::State::busy;
      local.value = evaluator_.evaluate(*local.expression);
      local.state = Local::State::done;
      if (local.sensitive) keep_secret(local.value, out_);
    }
    return local.value;
  }

  Value data_value(const std::string& type, const Place& place) {
    if (type != "amazon-ami") throw place.error(fmt::format("there is no data source '{}'", type));
    Value all = Value::object();
    for (const auto& [name, block] : data_) all.set(name, Value::object({{"id", Value::of(kDataAmi + name)}}));
    return all;
  }

  // Attributes, and blocks as objects: several of one name as a list of them.
  Value settings_of(const Body& body, int depth) {
    if (depth > kDepthMax) throw body.blocks.front().place.error("this is nested too deeply");
    Value out = Value::object();
    for (const Attribute& attribute : body.attributes)
      out.set(attribute.name, evaluator_.evaluate(*attribute.expression)).place = attribute.place;
    for (const Block& block : body.blocks) {
      for_each(block, [&](const std::string& type, const std::vector<std::string>&, const Body& inside) {
        Value inner = settings_of(inside, depth + 1);
        inner.place = block.place;
        add_block(out, type, std::move(inner));
      });
    }
    return out;
  }

  static void add_block(Value& to, const std::string& type, Value inner) {
    Value* before = nullptr;
    for (auto& [key, value] : to.members) {
      if (key == type) before = &value;
    }
    if (before == nullptr) {
      to.set(type, std::move(inner));
    } else if (before->is(Value::Kind::list)) {
      before->items.push_back(std::move(inner));
    } else {
      const Place place = inner.place;
      Value first = std::move(*before);
      *before = Value::list({std::move(first), std::move(inner)});
      before->place = place;
    }
  }

  // `act(type, labels, body)` once for a plain block; for a `dynamic` one as often as its `for_each` has elements.
  template <typename Act>
  void for_each(const Block& block, Act&& act) {
    if (block.type != "dynamic") return act(block.type, block.labels, block.body);
    labels(block, 1, "dynamic \"type\" { for_each = .., content { .. } }");
    known_attributes(block, {"for_each", "iterator", "labels"});
    if (block.body.blocks.size() != 1 || block.body.blocks[0].type != "content")
      throw block.place.error("'dynamic' has one block 'content', and no other");
    const Attribute* named = block.body.find("iterator");
    if (named != nullptr && named->expression->kind != Expression::Kind::name)
      throw named->place.error("'iterator' is a name, without quotes");
    const std::string iterator = named == nullptr ? block.labels[0] : named->expression->name;
    const Expression& over = required(block, "for_each");
    for (const auto& [key, value] : elements(evaluator_.evaluate(over), over.place)) {
      evaluator_.within({{iterator, Value::object({{"key", key}, {"value", value}})}},
                        [&] { act(block.labels[0], labels_of(block), block.body.blocks[0].body); });
    }
  }

  std::vector<std::string> labels_of(const Block& dynamic) {
    std::vector<std::string> out;
    const Attribute* given = dynamic.body.find("labels");
    if (given == nullptr) return out;
    for (const Value& one : evaluator_.evaluate(*given->expression).items) out.push_back(text_of(one).value_or(""));
    return out;
  }

  struct Wanted {
    std::string key;
    std::string name;
    const Block* overrides = nullptr;
    Place place;
  };

  void read_build(const Block& block) {
    known_attributes(block, {"name", "description", "sources"});
    std::string build_name;
    if (const Attribute* name = block.body.find("name"))
      build_name = text_of(evaluator_.evaluate(*name->expression)).value_or("");
    std::vector<Wanted> wanted;
    if (const Attribute* sources = block.body.find("sources")) {
      const Value list = evaluator_.evaluate(*sources->expression);
      if (!list.is(Value::Kind::list)) throw sources->place.error("'sources' must be a list");
      for (const Value& item : list.items)
        wanted.push_back(
            {text_of(item).value_or(""), "", nullptr, item.place.source == nullptr ? sources->place : item.place});
    }
    for (const Block& inner : block.body.blocks) {
      if (inner.type != "source") continue;
      labels(inner, 1, "source \"amazon-ebs.name\" { .. }");
      const Attribute* name = inner.body.find("name");
      wanted.push_back({inner.labels[0],
                        name == nullptr ? "" : text_of(evaluator_.evaluate(*name->expression)).value_or(""), &inner,
                        inner.place});
    }
    if (wanted.empty())
      throw block.place.error("this 'build' has no source", "name one: sources = [\"source.amazon-ebs.NAME\"]");
    for (const Wanted& one : wanted) read_source(block, build_name, one);
  }

  void read_source(const Block& block, const std::string& build_name, const Wanted& wanted) {
    std::string key = wanted.key;
    if (key.starts_with("source.")) key = key.substr(7);
    const auto source = declared_.find(key);
    if (source == declared_.end()) throw unknown("source", key, declared_, wanted.place);
    RawBuild build;
    build.short_name = wanted.name.empty() ? key.substr(key.find('.') + 1) : wanted.name;
    build.source = source->second.type + "." + build.short_name;
    build.name = (build_name.empty() ? "" : build_name + ".") + build.source;
    if (std::ranges::find(out_.builds, build.name, &RawBuild::name) != out_.builds.end())
      throw wanted.place.error(fmt::format("two builds are called '{}'", build.name),
                               "give one source a 'name', or the build block");
    build_values_ = {{"source.name", build.short_name}, {"source.type", source->second.type}};
    build.builder = {source->second.type, settings_of(source->second.block->body, 0), source->second.block->place};
    if (wanted.overrides != nullptr) override_settings(build.builder.settings, settings_of(wanted.overrides->body, 0));
    build.with = interpolation(build);
    for (const auto& [name, value] : build.with.build) build_values_["build." + name] = value;
    build_values_["build.name"] = build_name;
    for (const Block& inner : block.body.blocks) {
      for_each(inner, [&](const std::string& type, const std::vector<std::string>& names, const Body& body) {
        read_part({type, names, body, inner.place}, build);
      });
    }
    build_values_.clear();
    out_.builds.push_back(std::move(build));
  }

  static void override_settings(Value& settings, const Value& with) {
    for (const auto& [key, value] : with.members) {
      if (key != "name") settings.set(key, value);
    }
  }

  Interpolation interpolation(const RawBuild& build) const {
    Interpolation with;
    with.folder = folder_;
    with.working = outside_.working;
    with.uuid = outside_.uuid;
    with.now = outside_.now;
    with.build_name = build.short_name;
    with.build_type = build.builder.type;
    const Value* user = build.builder.settings.find("ssh_username");
    with.build = {{"ID", "kiln"},
                  {"Host", "localhost"},
                  {"User", user == nullptr ? "root" : text_of(*user).value_or("root")},
                  {"PackerRunUUID", outside_.uuid}};
    return with;
  }

  // A block of a build's, written out or made by a `dynamic` one.
  struct Part {
    const std::string& type;
    const std::vector<std::string>& labels;
    const Body& body;
    const Place& place;
  };

  Raw raw_of(const Part& part) {
    if (part.labels.size() != 1)
      throw part.place.error(fmt::format("'{0}' is written as: {0} \"type\" {{ .. }}", part.type));
    return {part.labels[0], settings_of(part.body, 0), part.place};
  }

  void read_part(const Part& part, RawBuild& build) {
    if (part.type == "provisioner") {
      build.provisioners.push_back(raw_of(part));
    } else if (part.type == "post-processor") {
      build.post_processors.push_back({raw_of(part)});
    } else if (part.type == "post-processors") {
      std::vector<Raw>& sequence = build.post_processors.emplace_back();
      for (const Block& inner : part.body.blocks) {
        for_each(inner, [&](const std::string& type, const std::vector<std::string>& names, const Body& body) {
          sequence.push_back(raw_of({type, names, body, inner.place}));
        });
      }
    } else if (part.type == "error-cleanup-provisioner") {
      throw part.place.error("'error-cleanup-provisioner' is not supported: a step that fails leaves nothing behind",
                             "remove it");
    } else if (part.type == "hcp_packer_registry") {
      throw part.place.error("'hcp_packer_registry' is not supported",
                             "remove it; kiln images is the registry of what was baked");
    } else if (part.type != "source") {
      throw part.place.error(fmt::format("'build' has no '{}'", part.type),
                             "there are source, provisioner, post-processor and post-processors");
    }
  }

  const Request& request_;
  const Outside& outside_;
  Evaluator evaluator_;
  RawTemplate out_;
  std::vector<Body> bodies_;
  std::vector<std::shared_ptr<const spec::Source>> sources_;
  std::string folder_;
  std::map<std::string, Variable> variables_;
  std::map<std::string, Local> locals_;
  std::map<std::string, Source> declared_;
  std::map<std::string, const Block*> data_;
  std::map<std::string, std::string> build_values_;
};

}  // namespace

RawTemplate read_hcl2(const Request& request, const Outside& outside) { return HclTemplate(request, outside).read(); }

}  // namespace kiln::packer
