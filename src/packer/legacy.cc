// read_legacy: templates in JSON, as Packer had them before HCL2.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/mask.h"
#include "base/text.h"
#include "packer/internal/raw.h"

namespace kiln::packer {
namespace {

std::shared_ptr<const spec::Source> load(const std::string& name, const Outside& outside) {
  const auto file = outside.read(name);
  if (!file) throw Error(ErrorCode::usage, fmt::format("there is no file '{}'", name));
  if (file->content.size() > kTemplateBytesMax)
    throw Error(ErrorCode::usage, fmt::format("'{}' is larger than {}", name, format_bytes(kTemplateBytesMax)));
  return std::make_shared<spec::Source>(spec::Source{name, file->content});
}

Interpolation common(const Request& request, const Outside& outside) {
  Interpolation with;
  const std::string folder = std::filesystem::path(request.path).parent_path().string();
  with.folder = folder.empty() ? "." : folder;
  with.working = outside.working;
  with.uuid = outside.uuid;
  with.now = outside.now;
  with.has_variables = true;
  return with;
}

class Variables {
 public:
  Variables(const Request& request, const Outside& outside, RawTemplate& into)
      : request_(request), outside_(outside), into_(into) {}

  std::map<std::string, std::string> read(const Value& root, const Place& place) {
    const Value* declared = root.find("variables");
    if (declared != nullptr && !declared->is(Value::Kind::object))
      throw declared->place.error("'variables' must be an object");
    for (const auto& [name, value] : declared == nullptr ? Value::Members{} : declared->members) {
      known_.push_back(name);
      if (!value.is(Value::Kind::null)) defaults_[name] = value;
    }
    for (const std::string& name : request_.variable_files) from_file(name);
    for (const auto& [name, value] : request_.variables) give(name, value, {});
    resolve(place);
    if (const Value* secret = root.find("sensitive-variables")) {
      for (const Value& name : secret->items) {
        const auto found = values_.find(text_of(name).value_or(""));
        if (found == values_.end())
          throw name.place.error(fmt::format("there is no variable '{}'", text_of(name).value_or("")));
        keep_secret(Value::of(found->second), into_);
      }
    }
    return values_;
  }

 private:
  void give(const std::string& name, const std::string& value, const Place& place) {
    if (std::ranges::find(known_, name) == known_.end()) {
      const auto near = nearest(name, known_);
      throw place.error(fmt::format("the template has no variable '{}'{}", name,
                                    near ? fmt::format("; did you mean '{}'?", *near) : ""),
                        "it has: " + join(known_, ", "));
    }
    values_[name] = value;
  }

  void from_file(const std::string& name) {
    const auto source = load(name, outside_);
    into_.files.push_back(source);
    const Value root = read_json(*source);
    if (!root.is(Value::Kind::object)) throw root.place.error("a variable file is an object");
    for (const auto& [key, value] : root.members) {
      const auto text = text_of(value);
      if (!text) throw value.place.error("a variable's value must be a string");
      give(key, *text, value.place);
    }
  }

  // A default may use other variables; a circle is an error.
  void resolve(const Place& place) {
    Interpolation with = common(request_, outside_);
    with.environment = outside_.environment;
    std::vector<std::string> open;
    for (const std::string& name : known_) {
      if (values_.contains(name)) continue;
      if (!defaults_.contains(name))
        throw place.error(fmt::format("the variable '{}' needs a value", name),
                          fmt::format("give it: -var {}=VALUE", name));
      open.push_back(name);
    }
    std::size_t bytes = 0;
    // As many rounds as Packer makes.
    for (int round = 0; !open.empty(); ++round) {
      std::vector<std::string> still;
      std::optional<Error> failure;
      with.variables = values_;
      for (const std::string& name : open) {
        const Value& value = defaults_.at(name);
        const auto text = text_of(value);
        if (!text) throw value.place.error(fmt::format("the variable '{}' must be a string", name));
        try {
          values_[name] = interpolate(*text, with, value.place);
          bytes += values_[name].size();
          if (bytes > kWeightMax) throw Error(ErrorCode::invalid, "too large");
        } catch (const Error& error) {
          if (error.code() == ErrorCode::invalid) throw value.place.error("the variables become too large");
          failure = error;
          still.push_back(name);
        }
      }
      if (still.size() == open.size() || (round == 100 && failure)) throw Error(*failure);
      open = still;
    }
  }

  const Request& request_;
  const Outside& outside_;
  RawTemplate& into_;
  std::vector<std::string> known_;
  std::map<std::string, Value> defaults_;
  std::map<std::string, std::string> values_;
};

// An object with 'type' among its settings, or just the type.
Raw raw_of(const Value& value, const std::string& what, const Interpolation& with) {
  if (value.is(Value::Kind::text)) return {value.text, Value::object(), value.place};
  if (!value.is(Value::Kind::object)) throw value.place.error(fmt::format("{} is an object", what));
  const Value* type = value.find("type");
  if (type == nullptr || !type->is(Value::Kind::text)) throw value.place.error(fmt::format("{} has no 'type'", what));
  Raw raw{interpolate(type->text, with, type->place), value, value.place};
  std::erase_if(raw.settings.members,
                [](const auto& member) { return member.first == "type" || member.first.starts_with('_'); });
  return raw;
}

std::vector<Value> list_of(const Value& root, const char* key) {
  const Value* list = root.find(key);
  if (list == nullptr) return {};
  if (!list->is(Value::Kind::list)) throw list->place.error(fmt::format("'{}' must be a list", key));
  return list->items;
}

void check_keys(const Value& root) {
  static const std::vector<std::string> kKeys = {"builders",        "description",  "min_packer_version",
                                                 "post-processors", "provisioners", "sensitive-variables",
                                                 "variables"};
  for (const auto& [key, value] : root.members) {
    if (key.starts_with('_') || std::ranges::find(kKeys, key) != kKeys.end()) continue;
    if (key == "error-cleanup-provisioner")
      throw value.place.error("'error-cleanup-provisioner' is not supported: a step that fails leaves nothing behind",
                              "remove it");
    const auto near = nearest(key, kKeys);
    throw value.place.error(
        fmt::format("a template has no '{}'{}", key, near ? fmt::format("; did you mean '{}'?", *near) : ""),
        "a key that begins with '_' is a comment");
  }
}

void fill(RawTemplate& out, const Request& request, const Outside& outside) {
  out.main = load(request.path, outside);
  out.files.push_back(out.main);
  const Value root = read_json(*out.main);
  if (!root.is(Value::Kind::object)) throw root.place.error("a template is a JSON object");
  check_keys(root);
  Interpolation with = common(request, outside);
  with.variables = Variables(request, outside, out).read(root, root.place);
  const std::vector<Value> builders = list_of(root, "builders");
  if (builders.empty()) throw root.place.error("the template has no 'builders'");
  for (const Value& value : builders) {
    RawBuild build;
    build.builder = raw_of(value, "a builder", with);
    const Value* name = build.builder.settings.find("name");
    build.name = name == nullptr ? build.builder.type : interpolate(text_of(*name).value_or(""), with, name->place);
    std::erase_if(build.builder.settings.members, [](const auto& member) { return member.first == "name"; });
    if (std::ranges::find(out.builds, build.name, &RawBuild::name) != out.builds.end())
      throw value.place.error(fmt::format("two builders are called '{}'", build.name), "give one a 'name'");
    build.short_name = build.source = build.name;
    build.with = with;
    for (const Value& one : list_of(root, "provisioners"))
      build.provisioners.push_back(raw_of(one, "a provisioner", with));
    for (const Value& one : list_of(root, "post-processors")) {
      std::vector<Raw>& sequence = build.post_processors.emplace_back();
      for (const Value& step : one.is(Value::Kind::list) ? one.items : std::vector<Value>{one})
        sequence.push_back(raw_of(step, "a post-processor", with));
    }
    out.builds.push_back(std::move(build));
  }
}

}  // namespace

RawTemplate read_legacy(const Request& request, const Outside& outside) {
  RawTemplate out;
  try {
    fill(out, request, outside);
  } catch (const Error& error) {
    throw masked(error, out.secrets);
  }
  return out;
}

}  // namespace kiln::packer
