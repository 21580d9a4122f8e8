// Recipe: steps, bases and sources from kiln.yaml's nodes.
#include "spec/recipe.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "spec/recipe_reader.h"

namespace kiln::spec {
namespace {

void read_text(const Node& mapping, std::string_view key, std::string& into) {
  if (const Node* node = mapping.find(key)) into = node->text;
}

std::vector<std::string> texts_of(const Node& node) {
  if (node.is_scalar()) return {node.text};
  std::vector<std::string> texts;
  for (const auto& [none, value] : node.entries) texts.push_back(value.text);
  return texts;
}

std::vector<std::string> texts_at(const Node& mapping, std::string_view key) {
  const Node* node = mapping.find(key);
  return node == nullptr ? std::vector<std::string>{} : texts_of(*node);
}

Variables variables_at(const Node& mapping, std::string_view key) {
  Variables variables;
  if (const Node* node = mapping.find(key)) {
    for (const auto& [name, value] : node->entries) variables.emplace_back(name.text, value.text);
  }
  return variables;
}

bool is_true(const Node& mapping, std::string_view key) {
  const Node* node = mapping.find(key);
  return node != nullptr && node->text == "true";
}

// A path of the image or the app's folder whose parts are plain names.
void check_path(const Source& source, const Node& node) {
  for (const std::string& part : split(node.text, '/')) {
    if (part == "..") throw source.error(node.where, fmt::format("'{}' must not contain '..'", node.text));
  }
}

void check_paths(const Source& source, const Node& mapping, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    const Node* node = mapping.find(key);
    if (node == nullptr) continue;
    if (node->is_scalar()) check_path(source, *node);
    for (const auto& [none, value] : node->entries) check_path(source, value);
  }
}

void read_owner(const Node& node, CopyStep& step) {
  const auto parts = split(node.text, ':');
  if (const auto uid = parse_int(parts.at(0))) {
    step.uid = static_cast<std::uint32_t>(*uid);
    step.gid = static_cast<std::uint32_t>(parse_int(parts.at(1)).value());
    return;
  }
  step.user = parts.at(0);
  if (parts.size() > 1) step.group = parts.at(1);
}

CopyStep read_copy(const Source& source, const Node& node) {
  CopyStep step;
  check_paths(source, node, {"from", "to"});
  read_text(node, "from", step.from);
  read_text(node, "to", step.to);
  if (const Node* mode = node.find("mode")) step.mode = static_cast<unsigned>(std::stoul(mode->text, nullptr, 8));
  if (const Node* owner = node.find("owner")) read_owner(*owner, step);
  step.ignore = texts_at(node, "ignore");
  return step;
}

CopyStep read_template(const Source& source, const Node& node, const Variables& of_image) {
  CopyStep step = read_copy(source, node);
  step.variables = variables_at(node, "variables");
  step.variables->insert(step.variables->end(), of_image.begin(), of_image.end());
  return step;
}

RunStep read_run(const Source& source, const Node& node, const ImageSpec& image) {
  if (!node.is_mapping()) return RunStep{.commands = texts_of(node)};
  RunStep step{.commands = texts_of(*node.find("commands"))};
  if (const Node* shell = node.find("shell")) {
    step.shell = texts_of(*shell);
    if (step.shell.size() == 1) step.shell.emplace_back("-ec");
  }
  step.environment = variables_at(node, "environment");
  const Node* secrets = node.find("secrets");
  if (secrets == nullptr) return step;
  for (const auto& [none, name] : secrets->entries) {
    if (std::ranges::find(image.secrets, name.text, &Secret::name) == image.secrets.end())
      throw source.error(name.where, fmt::format("'image' has no secret '{}'", name.text),
                         "describe it: 'secrets: [{name: " + name.text + ", env: VARIABLE}]'");
    step.secrets.push_back(name.text);
  }
  return step;
}

// systemctl's own rule: a name without a unit's suffix is a service.
std::string unit_name(std::string name) {
  static const std::vector<std::string> kSuffixes = {".service",   ".socket", ".timer", ".path", ".mount",
                                                     ".automount", ".target", ".slice", ".swap"};
  const bool whole = std::ranges::any_of(kSuffixes, [&](const std::string& suffix) { return name.ends_with(suffix); });
  return whole ? name : name + ".service";
}

std::vector<std::string> unit_names(const Node& node) {
  std::vector<std::string> units = texts_of(node);
  std::ranges::transform(units, units.begin(), unit_name);
  return units;
}

// Names are checked by the table of keys, so nothing here needs quotes.
RunStep disable_step(const Node& node) {
  const std::string units = join(unit_names(node), " ");
  RunStep step{.commands = {"systemctl disable -- " + units}};
  step.title = "disable " + units;
  return step;
}

RunStep user_step(const Node& node) {
  std::string name = node.text, shell = "/usr/sbin/nologin", home, uid;
  std::vector<std::string> groups;
  bool system = false;
  if (node.is_mapping()) {
    for (const auto& [key, into] : {std::pair<std::string_view, std::string*>{"name", &name},
                                    {"shell", &shell},
                                    {"home", &home},
                                    {"uid", &uid}}) {
      read_text(node, key, *into);
    }
    groups = texts_at(node, "groups");
    system = is_true(node, "system");
  }
  std::string command = fmt::format("useradd --no-log-init --user-group --shell {}", shell);
  if (system) command += " --system";
  if (!uid.empty()) command += " --uid " + uid;
  if (!groups.empty()) command += " --groups " + join(groups, ",");
  command += home.empty() ? " --no-create-home --home-dir /nonexistent" : " --create-home --home-dir " + home;
  RunStep step{.commands = {command + " -- " + name}};
  step.title = "user " + name;
  return step;
}

Step read_step(const Source& source, const Node& node, const ImageSpec& image) {
  Step step;
  for (const auto& [key, value] : node.entries) {
    if (key.text == "name") step.name = value.text;
    if (key.text == "after") step.after = texts_of(value);
    if (key.text == "name" || key.text == "after") continue;
    step.where = key.where;
    if (key.text == "packages") step.action = PackagesStep{texts_of(value)};
    if (key.text == "copy") step.action = read_copy(source, value);
    if (key.text == "template") step.action = read_template(source, value, image.variables);
    if (key.text == "run") step.action = read_run(source, value, image);
    if (key.text == "enable") step.action = EnableStep{unit_names(value)};
    if (key.text == "disable") step.action = disable_step(value);
    if (key.text == "user") step.action = user_step(value);
    if (key.text == "host") step.action = HostStep{.commands = texts_of(value)};
  }
  return step;
}

// `after` names steps above only, so that an order that goes round cannot be written.
void check_names(const Source& source, const std::vector<Step>& steps, const Node& nodes) {
  std::vector<std::string> all, above;
  for (const Step& step : steps) all.push_back(step.name);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Node& node = nodes.entries[i].value;
    if (const Node* after = node.find("after")) {
      for (const auto& [none, name] : after->entries) {
        if (std::ranges::find(above, name.text) != above.end()) continue;
        if (name.text == steps[i].name || std::ranges::find(all, name.text) != all.end()) {
          throw source.error(
              name.where, fmt::format("'{}' is not above this step: the order would go round, or backwards", name.text),
              "a step comes after those that it needs");
        }
        const auto near = nearest(name.text, above);
        throw source.error(name.where,
                           fmt::format("no step has the name '{}'{}", name.text,
                                       near ? fmt::format("; did you mean '{}'?", *near) : ""),
                           "give a step above this one 'name: " + name.text + "'");
      }
    }
    if (steps[i].name.empty()) continue;
    if (std::ranges::find(above, steps[i].name) != above.end())
      throw source.error(node.find("name")->where, fmt::format("two steps have the name '{}'", steps[i].name));
    above.push_back(steps[i].name);
  }
}

Base read_ami(const Source& source, const Node& node) {
  AmiBase ami;
  if (node.is_scalar()) return AmiBase{.id = node.text};
  read_text(node, "id", ami.id);
  ami.owners = texts_at(node, "owners");
  ami.most_recent = is_true(node, "most_recent");
  if (const Node* filters = node.find("filters")) {
    for (const auto& [name, values] : filters->entries) ami.filters[name.text] = texts_of(values);
  }
  const bool searched = !ami.owners.empty() || !ami.filters.empty();
  if (ami.id.empty() == !searched) throw source.error(node.where, "'ami' needs either 'id', or 'owners' and 'filters'");
  return ami;
}

Base read_base(const Source& source, const Node& node) {
  if (node.is_scalar()) return DebianBase{node.text.substr(std::string_view("debian:").size())};
  const auto& [key, value] = node.entries.front();
  if (key.text == "image") return ImageBase{value.text};
  if (key.text == "oci") return OciBase{value.text};
  if (key.text == "ami") return read_ami(source, value);
  check_path(source, value);
  return ArchiveBase{value.text};
}

PackerSource read_packer(const Source& source, const Node& node) {
  if (!node.is_mapping()) {
    check_path(source, node);
    return {.template_path = node.text};
  }
  check_paths(source, node, {"template", "variable_files"});
  PackerSource packer{.template_path = node.find("template")->text};
  packer.variables = variables_at(node, "variables");
  packer.variable_files = texts_at(node, "variable_files");
  packer.only = texts_at(node, "only");
  return packer;
}

DockerfileSource read_dockerfile(const Source& source, const Node& node) {
  if (!node.is_mapping()) {
    check_path(source, node);
    return {.file = node.text};
  }
  check_paths(source, node, {"file", "context"});
  DockerfileSource docker{.file = node.find("file")->text};
  read_text(node, "context", docker.context);
  read_text(node, "target", docker.target);
  docker.args = variables_at(node, "args");
  return docker;
}

ImageBuilderSource read_image_builder(const Source& source, const Node& node) {
  check_paths(source, node, {"recipe", "components"});
  ImageBuilderSource builder;
  read_text(node, "recipe", builder.recipe);
  builder.components = texts_at(node, "components");
  builder.parameters = variables_at(node, "parameters");
  if (builder.recipe.empty() == builder.components.empty())
    throw source.error(node.where, "'image_builder' needs either 'recipe' or 'components'");
  return builder;
}

void read_source(const Source& source, const Node& node, ImageSpec& image) {
  const Node* steps = node.find("steps");
  std::string_view found;
  for (const std::string_view key : {"packer", "dockerfile", "image_builder"}) {
    const Node* from = node.find(key);
    if (from == nullptr) continue;
    if (!found.empty()) throw source.error(from->where, fmt::format("'image' has '{}' and '{}'", found, key));
    found = key;
    if (key == "packer") image.source = read_packer(source, *from);
    if (key == "dockerfile") image.source = read_dockerfile(source, *from);
    if (key == "image_builder") image.source = read_image_builder(source, *from);
  }
  for (const std::string_view key : {"from", "steps"}) {
    if (found.empty() && node.find(key) == nullptr)
      throw source.error(node.where, fmt::format("'image' lacks the key '{}'", key));
  }
  if (steps != nullptr && !found.empty())
    throw source.error(steps->where, fmt::format("'steps' cannot stand beside '{}', which brings its own", found));
}

void read_secrets(const Source& source, const Node& node, ImageSpec& image) {
  for (const auto& [none, entry] : node.entries) {
    Secret secret{.where = entry.where, .name = entry.find("name")->text};
    read_text(entry, "env", secret.env);
    read_text(entry, "file", secret.file);
    if (secret.env.empty() == secret.file.empty())
      throw source.error(entry.where, fmt::format("the secret '{}' needs either 'env' or 'file'", secret.name));
    if (std::ranges::find(image.secrets, secret.name, &Secret::name) != image.secrets.end())
      throw source.error(entry.where, fmt::format("two secrets have the name '{}'", secret.name));
    image.secrets.push_back(std::move(secret));
  }
}

void read_repositories(const Source& source, const Node& node, ImageSpec& image) {
  for (const auto& [none, entry] : node.entries) {
    check_paths(source, entry, {"key"});
    Repository repository{.where = entry.where,
                          .name = entry.find("name")->text,
                          .url = entry.find("url")->text,
                          .suite = entry.find("suite")->text,
                          .key = entry.find("key")->text};
    repository.components = texts_at(entry, "components");
    if (repository.suite.ends_with('/') != repository.components.empty())
      throw source.error(entry.where, "a repository has 'components', or a 'suite' that ends in '/' and none");
    if (std::ranges::find(image.repositories, repository.name, &Repository::name) != image.repositories.end())
      throw source.error(entry.where, fmt::format("two repositories have the name '{}'", repository.name));
    image.repositories.push_back(std::move(repository));
  }
}

Step kernel_step(const Node& node) {
  const std::string line = join(texts_of(node), " ");
  RunStep run{
      .commands = {fmt::format("mkdir -p /etc/kernel /etc/default/grub.d && echo '{}' >/etc/kernel/cmdline", line),
                   fmt::format("echo 'GRUB_CMDLINE_LINUX=\"{}\"' >/etc/default/grub.d/kiln.cfg", line)}};
  run.title = "kernel arguments " + line;
  return {.where = node.where, .action = run};
}

}  // namespace

ImageSpec read_recipe(const Source& source, const Node& node) {
  ImageSpec image;
  image.where = node.where;
  read_source(source, node, image);
  if (const Node* from = node.find("from")) image.base = read_base(source, *from);
  image.variables = variables_at(node, "variables");
  read_text(node, "mirror", image.mirror);
  read_text(node, "security_mirror", image.security_mirror);
  if (const Node* secrets = node.find("secrets")) read_secrets(source, *secrets, image);
  if (const Node* repositories = node.find("repositories")) read_repositories(source, *repositories, image);
  if (const Node* steps = node.find("steps")) {
    for (const auto& [none, step] : steps->entries) image.steps.push_back(read_step(source, step, image));
    check_names(source, image.steps, *steps);
  }
  if (const Node* arguments = node.find("kernel_arguments")) image.steps.push_back(kernel_step(*arguments));
  return image;
}

std::string Step::text() const {
  struct Writer {
    std::string operator()(const PackagesStep& step) const { return "packages " + join(step.packages, " "); }
    std::string operator()(const CopyStep& step) const {
      std::string line = fmt::format("{} {} {}", step.variables ? "template" : "copy", step.from, step.to);
      if (step.mode) line += fmt::format(" mode={:04o}", *step.mode);
      if (!step.user.empty())
        return line + fmt::format(" owner={}{}{}", step.user, step.group.empty() ? "" : ":", step.group);
      if (step.uid != 0 || step.gid != 0) line += fmt::format(" owner={}:{}", step.uid, step.gid);
      return line;
    }
    std::string operator()(const RunStep& step) const {
      return step.title.empty() ? "run " + join(step.commands, " && ") : step.title;
    }
    std::string operator()(const EnableStep& step) const { return "enable " + join(step.units, " "); }
    std::string operator()(const HostStep& step) const { return "host " + join(step.commands, " && "); }
  };
  std::string line = std::visit(Writer{}, action);
  std::ranges::replace(line, '\n', ' ');
  return line;
}

}  // namespace kiln::spec
