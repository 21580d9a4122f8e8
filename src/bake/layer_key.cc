// LayerKey: fields with their lengths, through SHA-256.
#include "bake/layer_key.h"

#include <fmt/format.h>

#include <string_view>
#include <variant>

#include "bake/files.h"
#include "host/pieces.h"

namespace kiln::bake {
namespace {

// Part of every key: raised whenever the same step would give other bytes than before.
constexpr int kLayerFormat = 1;

// A digest over fields whose borders cannot be confused: each is preceded by its length.
class KeyHash {
 public:
  KeyHash& add(std::string_view field) {
    sha_.update(fmt::format("{}:", field.size()));
    sha_.update(field);
    return *this;
  }
  Digest finish() { return sha_.finish(); }

 private:
  Sha256 sha_;
};

struct StepHash {
  const spec::App& app;
  const host::Path& app_folder;
  const std::vector<InputEntry>& inputs;

  Digest operator()(const spec::PackagesStep& step) const {
    KeyHash hash = begin("packages", step.packages);
    for (const spec::Repository& repository : app.image.repositories) {
      hash.add("repository").add(repository.name).add(repository.url).add(repository.suite);
      for (const std::string& component : repository.components) hash.add(component);
      hash.add("key").add(host::digest_of_file(app_folder / repository.key, host::Links::refuse).hex());
    }
    return hash.finish();
  }

  // What is as ever adds nothing, so that the key of a plain command stays what it was.
  Digest operator()(const spec::RunStep& step) const {
    KeyHash hash = begin("run", step.commands);
    if (step.shell != spec::RunStep{}.shell) {
      hash.add("shell");
      for (const std::string& word : step.shell) hash.add(word);
    }
    for (const auto& [name, value] : step.environment) hash.add("environment").add(name).add(value);
    for (const spec::StepFile& file : step.files)
      hash.add("file").add(file.name).add(file.content).add(fmt::format("{:o}", file.mode));
    for (const std::string& name : step.secrets) hash.add("secret").add(name);
    return hash.finish();
  }

  Digest operator()(const spec::HostStep& step) const { return begin("host", step.commands).finish(); }
  Digest operator()(const spec::EnableStep& step) const { return begin("enable", step.units).finish(); }

  Digest operator()(const spec::CopyStep& step) const {
    KeyHash hash;
    hash.add("copy")
        .add(step.mode ? fmt::format("{:o}", *step.mode) : "-")
        .add(step.user.empty() ? fmt::format("{}:{}", step.uid, step.gid) : step.user + ":" + step.group);
    for (const InputEntry& entry : inputs) {
      hash.add(target_of(step, inputs, entry))
          .add(fmt::format("{}", static_cast<int>(entry.kind)))
          .add(entry.executable ? "x" : "-");
      hash.add(entry.content.hex()).add(entry.target);
    }
    return hash.finish();
  }

  static KeyHash begin(std::string_view kind, const std::vector<std::string>& values) {
    KeyHash hash;
    hash.add(kind);
    for (const std::string& value : values) hash.add(value);
    return hash;
  }
};

}  // namespace

Digest base_recipe(const spec::App& app) {
  KeyHash hash;
  hash.add("base").add(debian_release(app));
  if (!app.image.mirror.empty()) hash.add("mirror " + app.image.mirror);
  if (!app.image.security_mirror.empty()) hash.add("security mirror " + app.image.security_mirror);
  for (const std::string& package : base_packages()) hash.add(package);
  return hash.finish();
}

Digest step_recipe(const spec::App& app, const host::Path& app_folder, const spec::Step& step,
                   const std::vector<InputEntry>& inputs) {
  return std::visit(StepHash{app, app_folder, inputs}, step.action);
}

Digest layer_key(const PlannedLayer& layer, const std::vector<Digest>& contents_below) {
  KeyHash hash;
  hash.add(fmt::format("kiln layer {}", kLayerFormat)).add(layer.recipe.hex());
  if (layer.locked) {
    hash.add("locked");
    for (const auto& [package, version] : *layer.locked) hash.add(package).add(version);
  }
  for (const Digest& digest : contents_below) hash.add(digest.hex());
  return hash.finish();
}

Digest recipe_digest(const spec::App& app, const std::vector<PlannedLayer>& plan) {
  KeyHash hash;
  hash.add("kiln recipe 1");
  for (const PlannedLayer& layer : plan) hash.add(layer.recipe.hex());
  hash.add(app.image.writable ? "read-only but for" : "writable");
  for (const std::string& folder : app.image.writable.value_or(std::vector<std::string>{})) hash.add(folder);
  return hash.finish();
}

}  // namespace kiln::bake
