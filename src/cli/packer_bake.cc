// PackerBake: files and environment of this machine for the reader of templates, which knows neither.
#include "cli/packer_bake.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "base/mask.h"
#include "base/text.h"
#include "cli/ami_words.h"
#include "cli/packer_container.h"

namespace kiln::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFilesMax = 10'000;  // of one folder that a template names

void add_names(const fs::path& folder, const std::string& prefix, std::vector<std::string>& names) {
  for (const std::string& name : host::list_folder(folder)) {
    const fs::file_status status = fs::status(folder / name);
    if (fs::is_directory(status) && !fs::is_symlink(folder / name)) {
      add_names(folder / name, prefix + name + "/", names);
    } else if (fs::is_regular_file(status)) {
      names.push_back(prefix + name);
    }
    if (names.size() > kFilesMax)
      throw Error(ErrorCode::usage, fmt::format("{} holds more than {} files", folder.string(), kFilesMax),
                  "name a smaller folder");
  }
}

packer::Outside outside_of(const Context& context, const std::string& uuid) {
  packer::Outside out;
  const fs::path folder = context.folder;
  out.read = [folder](const std::string& name) -> std::optional<packer::HostFile> {
    const fs::path path = folder / name;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return std::nullopt;
    const auto mode = fs::status(path).permissions();
    return packer::HostFile{host::read_file(path), (mode & fs::perms::owner_exec) != fs::perms::none};
  };
  out.files_below = [folder](const std::string& name) -> std::optional<std::vector<std::string>> {
    std::error_code error;
    if (!fs::is_directory(folder / name, error)) return std::nullopt;
    std::vector<std::string> names;
    add_names(folder / name, "", names);
    std::ranges::sort(names);
    return names;
  };
  out.environment = [](const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return std::string(value == nullptr ? "" : value);
  };
  out.working = fs::absolute(folder).lexically_normal().string();
  out.uuid = uuid;
  out.now = context.clock.now();
  return out;
}

PackerBake read(Context& context, const packer::Request& request) {
  PackerBake out;
  out.uuid = context.random.uuid();
  out.read = packer::read_template(request, outside_of(context, out.uuid));
  if (out.read.builds.size() > 1) {
    std::vector<std::string> names;
    for (const packer::Build& build : out.read.builds) names.push_back(build.name);
    throw Error(ErrorCode::usage,
                fmt::format("{} has {} builds, and a bake makes one image", request.path, names.size()),
                "name one with -only ('only:' in kiln.yaml): " + join(names, ", "));
  }
  return out;
}

// The template as errors quote it and as the provenance holds it.
spec::Source shown_source(const PackerBake& bake) {
  spec::Source source = *bake.read.source;
  source.text = masked_lines(source.text, bake.read.secrets);
  return source;
}

// What kiln.yaml takes as an app's name.
std::string app_name(const PackerBake& bake, const std::string& path) {
  std::string name = bake.build().short_name;
  // A legacy builder without a name is called as its type is.
  if (name == bake.build().type) name = fs::path(path).stem().string();
  std::string out;
  for (const char c : to_lower(name)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain || (!out.empty() && out.back() != '-')) out += plain ? c : '-';
  }
  while (!out.empty() && (out.back() == '-')) out.pop_back();
  while (!out.empty() && std::isalpha(static_cast<unsigned char>(out.front())) == 0) out.erase(0, 1);
  return out.empty() ? "image" : out.substr(0, 24);
}

}  // namespace

std::vector<std::string> with_two_dashes(std::vector<std::string> words) {
  for (std::string& word : words) {
    for (const std::string name : {"-var", "-var-file", "-only", "-except"}) {
      if (word == name || word.starts_with(name + "=")) word = "-" + word;
    }
  }
  return words;
}

PackerBake app_of_template(Context& context, const packer::Request& request, spec::App& app) {
  PackerBake out = read(context, request);
  app = {};
  app.source = shown_source(out);
  app.name = app_name(out, request.path);
  app.image = out.build().image;
  app.environments.push_back({.name = "local"});
  out.container = !out.build().ami;
  return out;
}

std::optional<PackerBake> read_packer_source(Context& context, spec::App& app) {
  const auto* source = std::get_if<spec::PackerSource>(&app.image.source);
  if (source == nullptr) return std::nullopt;
  packer::Request request;
  request.path = source->template_path;
  request.variables = source->variables;
  request.variable_files = source->variable_files;
  request.only = source->only;
  if (!std::filesystem::exists(context.folder / request.path))
    throw app.source.error(app.image.where, fmt::format("there is no template '{}'", request.path),
                           "'packer' is relative to the folder of kiln.yaml");
  PackerBake out = read(context, request);
  const spec::ImageSpec& image = out.build().image;
  // A base that kiln.yaml names itself wins: `from` beside `packer`.
  if (app.image.base == spec::Base(spec::DebianBase{})) app.image.base = image.base;
  app.image.steps = image.steps;
  app.image.where = image.where;
  app.image.source = std::monostate{};
  app.image.hidden = image.hidden;
  app.source = shown_source(out);
  return out;
}

void tell_notes(const PackerBake& bake, bool in_instance) {
  if (bake.container) check_container(bake);
  for (const std::string& note : bake.read.notes) talk("  " + note);
  for (const auto& sequence : bake.build().post_processors) {
    for (const packer::PostProcessor& one : sequence) {
      using Kind = packer::PostProcessor::Kind;
      if (!bake.container && (one.kind == Kind::docker_tag || one.kind == Kind::docker_push))
        throw one.place.error("this bake makes a machine's image, which 'docker-tag' and 'docker-push' do not take",
                              "remove it: kiln push brings images of machines to a registry; or build with 'docker'");
      if (one.kind == Kind::checksum)
        talk("  'checksum' writes nothing: an AMI has no files, as with Packer; the image's digest is its checksum");
    }
  }
  if (!bake.build().ami || in_instance) return;
  const packer::AmiWish& wish = *bake.build().ami;
  if (wish.encrypted) talk("  'encrypt_boot': the image is kept in the local store, as it is");
}

std::map<std::string, std::string> tags_of(const PackerBake& bake, const packer::SourceImage& source) {
  std::map<std::string, std::string> out;
  if (!bake.build().ami) return out;
  for (const auto& [name, value] : bake.build().ami->tags)
    out[packer::finished(name, source)] = packer::finished(value, source);
  keep_words(words_of(*bake.build().ami, source), out);
  return out;
}

void run_post_processors(Context& context, const PackerBake& bake, const std::function<std::string()>& artifact) {
  for (const auto& sequence : bake.build().post_processors) {
    for (const packer::PostProcessor& one : sequence) {
      if (one.kind != packer::PostProcessor::Kind::manifest) continue;
      const host::Path path = context.folder / one.output;
      std::error_code error;
      const std::string before = fs::exists(path, error) ? host::read_file(path) : std::string();
      packer::Outcome outcome;
      outcome.name = bake.build().short_name;
      outcome.type = bake.build().type;
      outcome.artifact = artifact();
      outcome.uuid = bake.uuid;
      outcome.now = context.clock.now();
      host::write_file(path, packer::manifest_of(before, outcome, one));
    }
  }
}

}  // namespace kiln::cli
