// Plan: which layer stands on which.
#include "bake/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bake/files.h"
#include "bake/layer_key.h"
#include "base/error.h"
#include "base/mask.h"
#include "base/text.h"
#include "host/pieces.h"

namespace kiln::bake {
namespace {

// Where systemctl and the init script tools that it calls read and write; /lib and /usr/lib are one folder on
// Debian 12. A copy to one of their parents may reach them too, through a name or a link.
bool may_reach_units(const spec::CopyStep& copy, const std::vector<InputEntry>& inputs) {
  static const std::vector<std::string> kPrefixes = {
      "/etc/systemd",   "/etc/init.d", "/etc/rc", "/etc/insserv", "/etc/default", "/lib", "/usr/lib",
      "/usr/local/lib", "/bin",        "/sbin",   "/usr/bin",     "/usr/sbin",    "/run", "/var/lib/systemd"};
  return std::ranges::any_of(inputs, [&](const InputEntry& entry) {
    const std::string target = target_of(copy, inputs, entry);
    if (entry.kind != InputEntry::Kind::folder && split(target, '/').size() <= 2)
      return true;  // a file or link in the root itself
    return std::ranges::any_of(kPrefixes, [&](const std::string& prefix) {
      return target.starts_with(prefix) || (entry.kind != InputEntry::Kind::folder && prefix.starts_with(target + "/"));
    });
  });
}

// Of a step that says `after`: the base, the layers of those steps and what these stand on.
std::set<std::size_t> layers_after(const std::vector<PlannedLayer>& plan, const std::vector<std::string>& names) {
  std::set<std::size_t> below;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (plan[i].step == nullptr) below.insert(i);
    if (plan[i].step == nullptr || plan[i].step->name.empty() ||
        std::ranges::find(names, plan[i].step->name) == names.end())
      continue;
    below.insert(i);
    below.insert(plan[i].below.begin(), plan[i].below.end());
    // An `enable` is built without the copies above it, and is still behind them.
    if (!plan[i].step->after) {
      for (std::size_t lower = 0; lower < i; ++lower) below.insert(lower);
    }
  }
  return below;
}

void place(const std::vector<PlannedLayer>& plan, PlannedLayer& layer) {
  std::set<std::size_t> wanted;
  if (layer.step->after) wanted = layers_after(plan, *layer.step->after);
  const bool enables = std::holds_alternative<spec::EnableStep>(layer.step->action);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (layer.step->after && !wanted.contains(i)) {
      layer.beside.push_back(i);
      continue;
    }
    const auto* copy = plan[i].step == nullptr ? nullptr : std::get_if<spec::CopyStep>(&plan[i].step->action);
    if (enables && copy != nullptr && !may_reach_units(*copy, plan[i].inputs)) continue;
    layer.below.push_back(i);
  }
}

// As apt takes it: armored, or packets of which the first is a public key (RFC 4880, 4.2: tag 6).
bool is_public_key(std::string_view key) {
  if (key.find("-----BEGIN PGP PUBLIC KEY BLOCK-----") != std::string_view::npos) return true;
  if (key.empty()) return false;
  const auto first = static_cast<unsigned char>(key.front());
  const bool new_format = (first & 0xc0U) == 0xc0U;
  const bool old_format = (first & 0xc0U) == 0x80U;
  return (new_format && (first & 0x3fU) == 6) || (old_format && ((first >> 2U) & 0xfU) == 6);
}

void check_keys(const spec::App& app, const host::Path& app_folder) {
  for (const spec::Repository& repository : app.image.repositories) {
    const host::Path file = app_folder / repository.key;
    if (!std::filesystem::is_regular_file(file)) {
      throw app.source.error(repository.where,
                             fmt::format("the repository '{}' has no key: '{}' is no file in {}", repository.name,
                                         repository.key, app_folder.string()),
                             "'key' is relative to the folder of kiln.yaml");
    }
    if (!is_public_key(host::read_file(file))) {
      throw app.source.error(repository.where,
                             fmt::format("the repository '{}' has no key: {} is no OpenPGP key that is public",
                                         repository.name, repository.key),
                             "the owner of the repository has it; of one's own: gpg --armor --export NAME");
    }
  }
}

// They would both write dpkg's database; said before either has run.
void refuse_packages_beside(const spec::App& app, const std::vector<PlannedLayer>& plan, const PlannedLayer& layer) {
  if (!std::holds_alternative<spec::PackagesStep>(layer.step->action)) return;
  for (const std::size_t lower : layer.beside) {
    if (!std::holds_alternative<spec::PackagesStep>(plan[lower].step->action)) continue;
    throw app.source.error(layer.step->where,
                           fmt::format("'{}' and '{}' do not wait for each other, and both write dpkg's database",
                                       plan[lower].text, layer.text),
                           "name the first in the second's 'after'");
  }
}

void plan_base(const spec::App& app, const std::vector<store::Blob>& given, const LockFile* lock,
               std::vector<PlannedLayer>& plan) {
  if (given.empty()) {
    plan.push_back({.text = "base " + base_text(app), .below = {}, .inputs = {}, .recipe = base_recipe(app)});
    if (lock != nullptr && !lock->base_versions.empty()) plan.back().locked = lock->base_versions;
    return;
  }
  for (std::size_t i = 0; i < given.size(); ++i) {
    std::string text = fmt::format("base {} {}/{}", base_text(app), i + 1, given.size());
    PlannedLayer layer{.text = std::move(text), .below = {}, .inputs = {}, .recipe = given[i].digest};
    layer.given = given[i];
    plan.push_back(std::move(layer));
  }
}

}  // namespace

std::string base_text(const spec::App& app) {
  struct Writer {
    std::string operator()(const spec::DebianBase& base) const { return "debian:" + base.release; }
    std::string operator()(const spec::ImageBase& base) const { return "image " + base.reference; }
    std::string operator()(const spec::AmiBase& base) const { return "ami " + (base.id.empty() ? "by name" : base.id); }
    std::string operator()(const spec::ArchiveBase& base) const { return "archive " + base.path; }
    std::string operator()(const spec::OciBase& base) const { return "oci " + base.reference; }
  };
  return std::visit(Writer{}, app.image.base);
}

std::string debian_release(const spec::App& app) {
  const auto* debian = std::get_if<spec::DebianBase>(&app.image.base);
  return debian == nullptr ? std::string() : debian->release;
}

const std::vector<std::string>& base_packages() {
  static const std::vector<std::string> packages = {"ca-certificates", "dbus",    "gpgv",        "iproute2",
                                                    "netbase",         "systemd", "systemd-sysv"};
  return packages;
}

std::vector<PlannedLayer> plan_layers(const spec::App& app, const host::Path& app_folder,
                                      const std::vector<store::Blob>& given, const LockFile* lock) {
  check_keys(app, app_folder);
  std::vector<PlannedLayer> plan;
  plan_base(app, given, lock, plan);
  for (const spec::Step& step : app.image.steps) {
    if (std::holds_alternative<spec::HostStep>(step.action)) continue;
    PlannedLayer layer{
        .step = &step, .text = masked(step.text(), app.image.hidden), .below = {}, .inputs = {}, .recipe = {}};
    place(plan, layer);
    refuse_packages_beside(app, plan, layer);
    if (const auto* copy = std::get_if<spec::CopyStep>(&step.action))
      layer.inputs = read_inputs(app, step, *copy, app_folder);
    layer.recipe = step_recipe(app, app_folder, step, layer.inputs);
    const auto* packages = std::get_if<spec::PackagesStep>(&step.action);
    const auto* locked = packages == nullptr || lock == nullptr ? nullptr : lock->find(packages->packages);
    if (locked != nullptr) layer.locked = locked->versions;
    plan.push_back(std::move(layer));
  }
  return plan;
}

}  // namespace kiln::bake
