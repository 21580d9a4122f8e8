// ImageBuilder: components in order, and what a recipe says of them.
#include "spec/image_builder/image_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <set>

#include "base/digest.h"
#include "base/text.h"
#include "spec/image_builder/document.h"
#include "spec/image_builder/script.h"

namespace kiln::spec {
namespace {

using image_builder::Document;
using image_builder::Phase;

// Validation sees the image and changes nothing: it runs in a copy of the root whose changes go with it. The programs
// that a root needs are bound into the copy.
constexpr std::string_view kApart = R"bash(set -eu
apart=$(mktemp -d -p /run)
exec unshare --mount --propagation private bash -c '
  set -eu
  apart=$1
  shift
  mount -t tmpfs -o mode=0755 kiln "$apart"
  mkdir "$apart/upper" "$apart/work" "$apart/root"
  mount -t overlay -o "lowerdir=/,upperdir=$apart/upper,workdir=$apart/work" kiln "$apart/root"
  for folder in /proc /sys /dev /run/kiln; do
    mkdir -p "$apart/root$folder"
    mount --rbind "$folder" "$apart/root$folder"
  done
  for file in /etc/resolv.conf; do
    if [ -e "$file" ]; then mount --bind "$file" "$apart/root$file"; fi
  done
  exec chroot "$apart/root" bash "$@"
' kiln "$apart" /run/kiln/files/phase.sh
)bash";

// No line of a script is this.
constexpr std::string_view kFileEnd = "KILN-END-OF-FILE-7d1f3a";
// Of the image: a booted machine is tested, and has nothing else of the bake.
constexpr std::string_view kOutputsFolder = "/var/lib/kiln/outputs";
constexpr Duration kTestTimeout = std::chrono::minutes(10);

struct Component {
  std::string file;
  Variables parameters;
};

struct Plan {
  std::optional<Base> base;
  std::vector<Component> components;
  std::string working_folder = "/";
};

std::string folder_of(const std::string& file) {
  const auto slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash + 1);
}

// "arn:aws:imagebuilder:eu-west-1:123456789012:component/nginx/1.0.0/1" is nginx.
std::string component_name(const Source& source, const Node& node, const std::string& arn) {
  const std::vector<std::string> parts = split(arn, ':');
  const std::vector<std::string> words = parts.size() == 6 ? split(parts[5], '/') : std::vector<std::string>{};
  if (words.size() < 3 || parts[2] != "imagebuilder" || words[0] != "component")
    throw source.error(node.where, fmt::format("'{}' is no component's ARN", arn));
  return words[1];
}

// A key as the API writes it, or as CloudFormation does.
const Node* either(const Node& mapping, std::string_view name) {
  if (const Node* found = mapping.find(name)) return found;
  std::string upper(name);
  upper[0] = static_cast<char>(upper[0] - 'a' + 'A');
  return mapping.find(upper);
}

std::string text_of(const Source& source, const Node& mapping, std::string_view name) {
  const Node* found = either(mapping, name);
  if (found == nullptr) return {};
  if (!found->is_scalar()) throw source.error(found->where, fmt::format("'{}' must be a text", name));
  return found->text;
}

Variables parameters_of(const Source& source, const Node& component) {
  Variables given;
  const Node* list = either(component, "parameters");
  if (list == nullptr) return given;
  for (const NodeEntry& entry : list->entries) {
    const Node* value = entry.value.is_mapping() ? either(entry.value, "value") : nullptr;
    if (!list->is_list() || value == nullptr)
      throw source.error(list->where, "'parameters' is a list of 'name' and 'value'");
    // The API has a list of exactly one text.
    if (value->is_list() && value->entries.size() != 1) throw source.error(value->where, "a parameter has one value");
    given.emplace_back(text_of(source, entry.value, "name"),
                       value->is_list() ? value->entries[0].value.text : value->text);
  }
  return given;
}

// The file of a component that is named by ARN: beside the recipe.
std::string find_component(const Source& source, const Node& node, const std::string& name, const std::string& folder,
                           const FileReader& read_file) {
  for (const char* extension : {".yaml", ".yml"}) {
    try {
      read_file(folder + name + extension);
      return folder + name + extension;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
    }
  }
  throw source.error(node.where, fmt::format("there is no {}{}.yaml beside the recipe", folder, name),
                     fmt::format("save the component's document there: aws imagebuilder get-component "
                                 "--component-build-version-arn ARN --query component.data --output text > {}.yaml",
                                 name));
}

std::optional<Base> parent_image(const Source& source, const Node& recipe) {
  const std::string parent = text_of(source, recipe, "parentImage");
  if (parent.empty()) return std::nullopt;
  if (parent.starts_with("ami-")) return AmiBase{.id = parent, .owners = {}, .filters = {}};
  // What kiln.yaml says under `from` holds; without it whoever bakes says that a base is missing.
  return std::nullopt;
}

Plan read_recipe_file(const std::string& file, const FileReader& read_file) {
  const Source source{file, read_file(file)};
  const Node recipe = parse_tree(source);
  if (!recipe.is_mapping()) throw source.error(recipe.where, "an image recipe is a mapping of keys");
  image_builder::only_keys(
      source, recipe,
      {"name", "Name", "description", "Description", "semanticVersion", "Version", "version", "components",
       "Components", "parentImage", "ParentImage", "blockDeviceMappings", "BlockDeviceMappings", "tags", "Tags",
       "workingDirectory", "WorkingDirectory", "clientToken"},
      "an image recipe");
  Plan plan;
  plan.base = parent_image(source, recipe);
  if (const std::string folder = text_of(source, recipe, "workingDirectory"); !folder.empty())
    plan.working_folder = folder;
  const Node* components = either(recipe, "components");
  if (components == nullptr || !components->is_list() || components->entries.empty())
    throw source.error(recipe.where, "an image recipe needs 'components', a list");
  for (const NodeEntry& entry : components->entries) {
    const Node& node = entry.value;
    if (!node.is_mapping()) throw source.error(node.where, "a component is a mapping with 'componentArn'");
    image_builder::only_keys(source, node, {"componentArn", "ComponentArn", "parameters", "Parameters"}, "a component");
    const std::string arn = text_of(source, node, "componentArn");
    if (arn.empty()) throw source.error(node.where, "a component needs 'componentArn'");
    plan.components.push_back(
        {find_component(source, node, component_name(source, node, arn), folder_of(file), read_file),
         parameters_of(source, node)});
  }
  return plan;
}

class Converter {
 public:
  Converter(const Plan& plan, Location where, const FileReader& read_file)
      : plan_(plan), where_(where), read_file_(read_file) {}

  ImageBuilderImage run() {
    ImageBuilderImage image;
    image.base = plan_.base;
    for (const Component& component : plan_.components) {
      documents_.push_back(std::make_unique<Document>());
      image_builder::read_document(*documents_.back(), component.file, read_file_(component.file),
                                   component.parameters);
      check_phases(*documents_.back());
    }
    // Builds are written last, because what the other phases name of their outputs must be kept by them.
    std::vector<Step> validations;
    for (const auto& document : documents_) {
      add_phase(*document, "validate", validations);
      add_test(*document, image);
    }
    for (const auto& document : documents_) add_phase(*document, "build", image.steps);
    std::ranges::move(validations, std::back_inserter(image.steps));
    return image;
  }

 private:
  static void check_phases(const Document& document) {
    for (const Phase& phase : document.phases) {
      if (phase.name == "build" || phase.name == "validate" || phase.name == "test") continue;
      throw document.source.error(
          phase.where, fmt::format("the phase '{}' is not run by Kiln; build, validate and test are", phase.name),
          "leave it out, or give its steps to one of these");
    }
  }

  // By the component's place, because documents may have the same name.
  std::string outputs_file(const Document& document) const {
    const auto is = [&](const auto& one) { return one.get() == &document; };
    const auto place = std::ranges::find_if(documents_, is) - documents_.begin();
    return fmt::format("{}/component-{}", kOutputsFolder, place + 1);
  }

  RunStep script_of(const Document& document, const Phase& phase, bool apart) {
    RunStep run;
    const bool build = phase.name == "build";
    std::set<std::string>& kept = kept_[&document];
    image_builder::ScriptOptions options{.working_folder = plan_.working_folder,
                                         .read_file = &read_file_,
                                         .callers = {},
                                         .outputs_file = outputs_file(document),
                                         .kept = build ? kept : std::set<std::string>{},
                                         .of_build = build ? nullptr : &kept};
    std::vector<StepFile> files;
    std::string script = write_script(document, phase, options, files);
    files.push_back({"phase.sh", std::move(script), 0755});
    if (apart) files.push_back({"apart.sh", std::string(kApart), 0755});
    run.shell = {"/bin/bash", "-c"};
    run.commands = {apart ? "exec bash /run/kiln/files/apart.sh" : "exec bash /run/kiln/files/phase.sh"};
    run.files = std::move(files);
    run.title = fmt::format("component {}: {}", document.name, phase.name);
    return run;
  }

  void add_phase(const Document& document, const char* name, std::vector<Step>& steps) {
    const Phase* phase = document.phase(name);
    if (phase == nullptr) return;
    Step step;
    step.where = where_;
    step.action = script_of(document, *phase, std::string_view(name) == "validate");
    steps.push_back(std::move(step));
  }

  void add_test(const Document& document, ImageBuilderImage& image) {
    const Phase* phase = document.phase("test");
    if (phase == nullptr) return;
    const RunStep run = script_of(document, *phase, false);
    // Nothing of the documents is in the image, so that the check brings its files with it.
    std::string command = "files=$(mktemp -d)\n";
    for (const StepFile& file : run.files)
      command += fmt::format("cat >\"$files/{0}\" <<'{1}'\n{2}{1}\n", file.name, kFileEnd, file.content);
    command += "status=0\nKILN_FILES=$files bash \"$files/phase.sh\" || status=$?\nrm -r \"$files\"\nexit $status";
    RunCheck check;
    check.timeout = kTestTimeout;
    check.title = fmt::format("component {}: test ({})", document.name, sha256(command).short_str());
    check.commands = {std::move(command)};
    image.tests.push_back({where_, std::move(check)});
  }

  const Plan& plan_;
  Location where_;
  const FileReader& read_file_;
  std::vector<std::unique_ptr<Document>> documents_;
  std::map<const Document*, std::set<std::string>> kept_;  // outputs of its build that its other phases name
};

}  // namespace

ImageBuilderImage read_image_builder(const ImageBuilderSource& source, const Source& kiln_yaml, Location where,
                                     const FileReader& read_file) {
  Plan plan;
  if (!source.recipe.empty()) {
    plan = read_recipe_file(source.recipe, read_file);
    for (Component& component : plan.components) {
      for (const auto& parameter : source.parameters) component.parameters.push_back(parameter);
    }
  } else {
    for (const std::string& file : source.components) plan.components.push_back({file, source.parameters});
  }
  if (plan.components.empty()) throw kiln_yaml.error(where, "'image_builder' names no component");
  return Converter(plan, where, read_file).run();
}

}  // namespace kiln::spec
