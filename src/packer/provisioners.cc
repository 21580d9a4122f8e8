// read_provisioners: each provisioner is a step, in the order of the template.
//
// What a builder instance keeps from one provisioner to the next without it being part of the recipe, /tmp and apt's
// lists, is carried from step to step in kCarry, which the last step removes.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/text.h"
#include "packer/internal/raw.h"
#include "packer/internal/scripts.h"

namespace kiln::packer {
namespace {

constexpr const char* kFiles = "/run/kiln/files/packer";        // where a step's files are while it runs
constexpr std::size_t kFolderBytesMax = std::size_t{32} << 20;  // of roles and playbooks

struct Reader {
  const RawBuild& raw;
  const Outside& outside;
  Build& build;
  std::size_t last_run = 0;  // index of the last step that runs in the image
  bool any_run = false;
  bool after_host_step = false;  // which may make files that are not there yet
  bool carries = false;          // something lies in the carry since then

  void add_run(const Place& place, spec::RunStep step) {
    step.files.insert(step.files.begin(), {"packer/begin", kBegin, 0755});
    step.files.push_back({"packer/end", kEnd, 0755});
    step.commands.insert(step.commands.begin(), fmt::format("{}/begin", kFiles));
    step.commands.push_back(fmt::format("{}/end", kFiles));
    last_run = build.image.steps.size();
    any_run = true;
    carries = false;
    build.image.steps.push_back({.where = place.where, .action = std::move(step)});
  }

  // The last step leaves nothing behind.
  void finish() {
    if (carries) {
      add_run(raw.builder.place, spec::RunStep{.commands = {}, .title = "remove what was uploaded to /tmp"});
    }
    if (!any_run) return;
    auto& step = std::get<spec::RunStep>(build.image.steps.at(last_run).action);
    step.commands.back() += " last";
  }
};

std::string first_line(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    const std::string_view text = trim(line);
    if (text.empty() || text.starts_with('#') || text.starts_with("set ")) continue;
    const std::string line_shown(text.substr(0, std::min<std::size_t>(text.find('\n'), 60)));
    return line_shown + (lines.size() > 1 || line_shown.size() < text.size() ? " .." : "");
  }
  return "nothing";
}

// As Packer gives it to scripts: sorted, each value in single quotes.
std::map<std::string, std::string> variables_of(Settings& settings, const RawBuild& raw, const std::string& list_key) {
  std::map<std::string, std::string> out = {{"PACKER_BUILD_NAME", raw.short_name},
                                            {"PACKER_BUILDER_TYPE", raw.builder.type}};
  for (const std::string& one : settings.texts(list_key)) {
    const auto equals = one.find('=');
    if (equals == std::string::npos || equals == 0)
      throw settings.place(list_key).error(fmt::format("'{}' is not NAME=VALUE", one));
    out[one.substr(0, equals)] = one.substr(equals + 1);
  }
  for (const auto& [name, value] : settings.map("env")) out[name] = value;
  for (const auto& [name, value] : out) {
    const bool plain = std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
    if (!plain || name.empty())
      throw settings.place(list_key).error(fmt::format("'{}' is not a variable's name", name));
  }
  return out;
}

// `format` is printf's, with the name and then the value: "export %s='%s' && ".
std::string written(const std::map<std::string, std::string>& variables, const std::string& format) {
  std::string out;
  for (const auto& [name, value] : variables) {
    const std::string quoted = shell_quoted(value);
    std::string one = format.empty() ? "%s='%s' " : format;
    const std::size_t key = one.find("%s");
    if (key != std::string::npos) one.replace(key, 2, name);
    const std::size_t at = key == std::string::npos ? key : one.find("%s", key + name.size());
    if (at != std::string::npos) one.replace(at, 2, quoted.substr(1, quoted.size() - 2));
    out += one;
  }
  return out;
}

std::string unix_lines(std::string text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    out += text[i];
  }
  return out;
}

HostFile required_file(const Reader& reader, const std::string& name, const Place& place) {
  if (auto file = reader.outside.read(name)) return *file;
  throw place.error(
      fmt::format("there is no file '{}'", name),
      "names are relative to where kiln was started; {{template_dir}} and ${path.root} are the template's folder");
}

struct Script {
  std::string name;  // of its file
  std::string content;
};

std::vector<Script> scripts_of(Reader& reader, Settings& settings, std::string& title) {
  std::vector<Script> out;
  auto names = settings.texts("scripts");
  const std::string one = settings.text("script");
  const auto lines = settings.texts("inline");
  const std::string shebang = settings.text("inline_shebang", "/bin/sh -e");
  const bool binary = settings.flag("binary", false);
  const int kinds = (names.empty() ? 0 : 1) + (one.empty() ? 0 : 1) + (lines.empty() ? 0 : 1);
  if (kinds != 1)
    throw settings.place("inline").error("a 'shell' provisioner has one of 'inline', 'script' and 'scripts'");
  if (!one.empty()) names = {one};
  if (!lines.empty()) {
    out.push_back({"script_0.sh", "#!" + shebang + "\n" + join(lines, "\n") + "\n"});
    title = first_line(lines);
    return out;
  }
  for (const std::string& name : names) {
    std::string content = required_file(reader, name, settings.place(one.empty() ? "scripts" : "script")).content;
    out.push_back({fmt::format("script_{}.sh", out.size()), binary ? content : unix_lines(std::move(content))});
  }
  title = join(names, " ");
  return out;
}

std::string exit_codes(Settings& settings) {
  std::vector<std::string> codes = settings.texts("valid_exit_codes");
  if (codes.empty()) codes = {"0"};
  for (const std::string& code : codes) {
    if (!parse_int(code))
      throw settings.place("valid_exit_codes").error(fmt::format("'{}' is not an exit status", code));
  }
  return " " + join(codes, " ") + " ";
}

void read_shell(Reader& reader, Settings& settings, const Place& place) {
  std::string title;
  const std::vector<Script> scripts = scripts_of(reader, settings, title);
  const auto variables = variables_of(settings, reader.raw, "environment_vars");
  const std::string format = settings.raw_text("env_var_format", "");
  const std::string execute = settings.raw_text("execute_command", "chmod +x {{.Path}}; {{.Vars}} {{.Path}}");
  const std::string codes = exit_codes(settings);
  const auto retries = static_cast<int>(parse_int(settings.text("max_retries", "0")).value_or(0));
  const double timeout = settings.seconds("timeout");
  settings.refuse("use_env_var_file", "variables are given in the command", "remove it");
  settings.accept({"pause_before", "pause_after", "expect_disconnect", "remote_folder", "remote_file", "remote_path",
                   "skip_clean", "start_retry_timeout", "override"});
  settings.finish();

  spec::RunStep step{.commands = {}, .title = "shell " + title};
  std::string run = kRunHead;
  for (const Script& script : scripts) {
    const std::string path = fmt::format("{}/{}", kFiles, script.name);
    Interpolation with = reader.raw.with;
    with.fields = {{"Path", path}, {"Vars", written(variables, format)}, {"EnvVarFile", ""}};
    const std::string number = fmt::format("{}", step.files.size() / 2);
    step.files.push_back({"packer/" + script.name, script.content, 0755});
    step.files.push_back(
        {"packer/command_" + number, interpolate(execute, with, settings.place("execute_command")) + "\n", 0644});
    run +=
        fmt::format("attempt '{}' {} {} {}/command_{}\n", codes, retries, static_cast<long>(timeout), kFiles, number);
  }
  step.files.push_back({"packer/run", run, 0755});
  step.commands = {fmt::format("{}/run", kFiles)};
  reader.add_run(place, std::move(step));
}

// "templates/../app.conf" → "app.conf", relative to the folder that steps copy from.
std::string inside_folder(const Reader& reader, const std::string& name, const Place& place) {
  std::filesystem::path path = std::filesystem::path(name).lexically_normal();
  if (path.is_absolute())
    path = path.lexically_relative(std::filesystem::path(reader.outside.working).lexically_normal());
  std::string out = path.string();
  if (out.starts_with(".."))
    throw place.error(fmt::format("'{}' is outside the folder that the bake is started in", name),
                      "start kiln in a folder that holds it: kiln -C FOLDER bake ..");
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

std::string absolute_destination(const std::string& destination, const std::string& user, const Place& place) {
  if (destination.starts_with('/')) {
    for (const std::string& part : split(destination, '/')) {
      if (part == "..") throw place.error(fmt::format("'{}' must not contain '..'", destination));
    }
    return destination;
  }
  throw place.error(
      fmt::format("'{}' is relative to the home of '{}', whom the image has only when it boots", destination,
                  user.empty() ? "the ssh user" : user),
      "upload to /tmp and move it in a 'shell' provisioner, or bake it in an instance: kiln bake --in-instance");
}

void add_content(Reader& reader, const std::string& content, const std::string& to, const Place& place) {
  spec::RunStep step{.commands = {fmt::format("mkdir -p {} && cp {}/content {}",
                                              shell_quoted(std::filesystem::path(to).parent_path().string()), kFiles,
                                              shell_quoted(to))},
                     .files = {{"packer/content", content, 0644}},
                     .title = "file " + to};
  reader.add_run(place, std::move(step));
}

void read_file_provisioner(Reader& reader, Settings& settings, const Place& place) {
  auto sources = settings.texts("sources");
  const std::string one = settings.text("source");
  const std::string content = settings.text("content");
  const bool has_content = settings.has("content");
  const std::string written_to = settings.required("destination");
  const std::string direction = settings.text("direction", "upload");
  const bool generated = settings.flag("generated", false) || reader.after_host_step;
  settings.accept({"override", "pause_before", "timeout", "max_retries"});
  settings.finish();
  if (direction != "upload")
    throw settings.place("direction")
        .error(fmt::format("the direction '{}' is not supported", direction),
               "there is no builder to download from; 'kiln bake' writes manifest and SBOM here");
  if (!one.empty()) sources.insert(sources.begin(), one);
  const std::string to = absolute_destination(written_to, reader.build.ssh_user, settings.place("destination"));
  if (has_content) {
    if (to.ends_with('/')) throw settings.place("destination").error("with 'content', 'destination' is a file's name");
    return add_content(reader, content, to, place);
  }
  if (sources.empty()) throw place.error("the 'file' provisioner has no 'source'");
  for (const std::string& source : sources) {
    const Place at = settings.place(one.empty() ? "sources" : "source");
    const std::string from = inside_folder(reader, source, at);
    const bool folder = reader.outside.files_below(source).has_value();
    if (!folder && !generated && !reader.outside.read(source))
      throw at.error(fmt::format("there is no file or folder '{}'", source));
    spec::CopyStep copy;
    copy.from = from;
    copy.to = to;
    if (folder) {
      // scp's rule: "app/" is what is in it, "app" is the folder, put into the destination.
      copy.from = from + "/";
      if (!source.ends_with('/'))
        copy.to = (to.ends_with('/') ? to : to + "/") + std::filesystem::path(from).filename().string();
      if (!copy.to.ends_with('/')) copy.to += "/";
    } else if (sources.size() > 1 && !to.ends_with('/')) {
      throw settings.place("destination").error("several files need a folder: end 'destination' with '/'");
    }
    if (copy.to.starts_with("/tmp/")) {
      copy.to = kCarry + copy.to;
      reader.carries = true;
    }
    reader.build.image.steps.push_back({.where = place.where, .action = copy});
  }
}

void read_shell_local(Reader& reader, Settings& settings, const Place& place) {
  auto scripts = settings.texts("scripts");
  const std::string script = settings.text("script");
  const std::string command = settings.text("command");
  auto lines = settings.texts("inline");
  const std::string shebang = settings.text("inline_shebang", "/bin/sh -e");
  spec::HostStep step;
  for (const auto& [name, value] : variables_of(settings, reader.raw, "environment_vars"))
    step.environment.emplace_back(name, value);
  settings.accept({"override", "pause_before", "timeout", "only_on", "tempfile_extension", "env_var_format"});
  settings.refuse("execute_command", "commands are run by the shell", "write them with 'inline' and 'inline_shebang'");
  settings.refuse("use_linux_pathing", "this is Linux", "remove it");
  settings.refuse("max_retries", "a step on this machine is run once", "loop in the script");
  settings.refuse("valid_exit_codes", "a step on this machine must end with 0", "end the script with: || true");
  settings.finish();
  if (!script.empty()) scripts.push_back(script);
  if (!command.empty()) lines.push_back(command);
  if (lines.empty() == scripts.empty())
    throw place.error("a 'shell-local' has one of 'command', 'inline', 'script' and 'scripts'");
  if (!lines.empty()) {
    step.shell = split(shebang, ' ');
    std::erase(step.shell, "");
    step.shell.emplace_back("-c");
    step.commands = {join(lines, "\n")};
  } else {
    step.shell = {"/bin/sh", "-c"};
    for (const std::string& name : scripts) {
      required_file(reader, name, settings.place(script.empty() ? "scripts" : "script"));
      step.commands.push_back(shell_quoted(name.find('/') == std::string::npos ? "./" + name : name));
    }
  }
  reader.after_host_step = true;
  reader.build.image.steps.push_back({.where = place.where, .action = step});
}

void add_folder(const Reader& reader, const std::string& name, const std::string& into, const Place& place,
                std::vector<spec::StepFile>& files) {
  const auto names = reader.outside.files_below(name);
  if (!names) throw place.error(fmt::format("there is no folder '{}'", name));
  std::size_t bytes = 0;
  for (const std::string& one : *names) {
    const auto file = reader.outside.read((name.ends_with('/') ? name : name + "/") + one);
    if (!file) continue;
    bytes += file->content.size();
    if (bytes > kFolderBytesMax)
      throw place.error(fmt::format("'{}' holds more than {}", name, format_bytes(kFolderBytesMax)),
                        "copy large files with a 'file' provisioner");
    files.push_back({into + "/" + one, file->content, file->executable ? 0755U : 0644U});
  }
}

void read_ansible_local(Reader& reader, Settings& settings, const Place& place) {
  auto playbooks = settings.texts("playbook_files");
  if (const std::string one = settings.text("playbook_file"); !one.empty()) playbooks.insert(playbooks.begin(), one);
  if (playbooks.empty()) throw place.error("'ansible-local' has no 'playbook_file'");
  spec::RunStep step{.commands = {}, .title = "ansible " + join(playbooks, " ")};
  const std::string staging = fmt::format("{}/ansible", kFiles);
  const auto add = [&](const std::string& key, const std::string& into) {
    if (const std::string folder = settings.text(key); !folder.empty())
      add_folder(reader, folder, into, settings.place(key), step.files);
  };
  add("playbook_dir", "packer/ansible");
  add("group_vars", "packer/ansible/group_vars");
  add("host_vars", "packer/ansible/host_vars");
  for (const std::string& role : settings.texts("role_paths"))
    add_folder(reader, role,
               "packer/ansible/roles/" + std::filesystem::path(role + "/").parent_path().filename().string(),
               settings.place("role_paths"), step.files);
  for (const std::string& paths : settings.texts("playbook_paths"))
    add_folder(reader, paths, "packer/ansible/" + std::filesystem::path(paths + "/").parent_path().filename().string(),
               settings.place("playbook_paths"), step.files);
  std::string inventory = "127.0.0.1\n";
  for (const std::string& group : settings.texts("inventory_groups"))
    inventory += fmt::format("[{}]\n127.0.0.1\n", group);
  if (const std::string file = settings.text("inventory_file"); !file.empty())
    inventory = required_file(reader, file, settings.place("inventory_file")).content;
  std::string run = kRunHead;
  const std::string command = settings.text("command", "ANSIBLE_FORCE_COLOR=1 PYTHONUNBUFFERED=1 ansible-playbook");
  const std::string extra = join(settings.texts("extra_arguments"), " ");
  for (const std::string& playbook : playbooks) {
    const std::string name = std::filesystem::path(playbook).filename().string();
    step.files.push_back(
        {"packer/ansible/" + name, required_file(reader, playbook, settings.place("playbook_file")).content, 0644});
    const std::string number = fmt::format("{}", step.files.size());
    step.files.push_back({"packer/command_" + number,
                          fmt::format("cd {} && {} {} --extra-vars \"packer_build_name={} packer_builder_type={} "
                                      "packer_http_addr=\" {} -c local -i {}/packer-inventory\n",
                                      staging, command, shell_quoted(staging + "/" + name), reader.raw.short_name,
                                      reader.raw.builder.type, extra, staging),
                          0644});
    run += fmt::format("attempt ' 0 ' 0 0 {}/command_{}\n", kFiles, number);
  }
  step.files.push_back({"packer/ansible/packer-inventory", inventory, 0644});
  step.files.push_back({"packer/run", run, 0755});
  settings.refuse("galaxy_file", "roles are taken from this machine",
                  "install them first and name them in 'role_paths': ansible-galaxy install -r FILE -p roles");
  settings.refuse("collection_paths", "collections are taken from the image", "install them in a 'shell' provisioner");
  settings.accept({"clean_staging_directory", "staging_directory", "galaxy_command", "override", "pause_before",
                   "timeout", "max_retries"});
  settings.finish();
  step.commands = {fmt::format("{}/run", kFiles)};
  reader.add_run(place, std::move(step));
}

// `override` of a provisioner: settings that one build has otherwise.
Value overridden(const Raw& raw, const RawBuild& build) {
  Value out = raw.settings;
  const Value* all = raw.settings.find("override");
  if (all == nullptr) return out;
  if (!all->is(Value::Kind::object)) throw all->place.error("'override' must be an object of builds' names");
  for (const std::string& name : {build.short_name, build.source}) {
    const Value* own = all->find(name);
    if (own == nullptr) continue;
    for (const auto& [key, value] : own->members) out.set(key, value);
    break;
  }
  return out;
}

void read_one(Reader& reader, const Raw& raw) {
  const Value value = overridden(raw, reader.raw);
  Settings settings(value, raw.place, fmt::format("the provisioner '{}'", raw.type), reader.raw.with);
  if (!meant_for(settings, reader.raw)) return;
  if (raw.type == "shell") return read_shell(reader, settings, raw.place);
  if (raw.type == "file") return read_file_provisioner(reader, settings, raw.place);
  if (raw.type == "shell-local") return read_shell_local(reader, settings, raw.place);
  if (raw.type == "ansible-local") return read_ansible_local(reader, settings, raw.place);
  static const std::map<std::string, std::string> kWays = {
      {"ansible", "use 'ansible-local', which runs Ansible in the image"},
      {"breakpoint", "kiln bake --shell opens a shell before a step"},
      {"powershell", "only Linux images are baked"},
      {"windows-shell", "only Linux images are baked"},
      {"windows-restart", "only Linux images are baked"},
      {"puppet-masterless", "run puppet apply in a 'shell' provisioner"},
      {"chef-solo", "run chef-solo in a 'shell' provisioner"},
      {"salt-masterless", "run salt-call --local in a 'shell' provisioner"}};
  const auto way = kWays.find(raw.type);
  const auto near = nearest(raw.type, {"shell", "file", "shell-local", "ansible-local"});
  throw raw.place.error(fmt::format("the provisioner '{}' is not supported{}", raw.type,
                                    near && way == kWays.end() ? fmt::format("; did you mean '{}'?", *near) : ""),
                        way == kWays.end() ? "there are shell, file, shell-local and ansible-local" : way->second);
}

}  // namespace

void read_provisioners(const RawBuild& raw, const Outside& outside, Build& build) {
  Reader reader{.raw = raw, .outside = outside, .build = build};
  for (const Raw& one : raw.provisioners) read_one(reader, one);
  reader.finish();
}

}  // namespace kiln::packer
