// Plan: which layer stands on which.
#include "bake/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace kiln::bake {
namespace {

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

Digest base_recipe(const spec::App& app) {
  KeyHash hash;
  hash.add("base").add(debian_release(app));
  for (const std::string& package : base_packages()) hash.add(package);
  return hash.finish();
}

struct StepHash {
  const std::vector<InputEntry>& inputs;

  Digest operator()(const spec::PackagesStep& step) const { return list("packages", step.packages); }
  Digest operator()(const spec::RunStep& step) const { return list("run", step.commands); }
  Digest operator()(const spec::HostStep& step) const { return list("host", step.commands); }
  Digest operator()(const spec::EnableStep& step) const { return list("enable", step.units); }
  Digest operator()(const spec::CopyStep& step) const {
    KeyHash hash;
    hash.add("copy")
        .add(step.mode ? fmt::format("{:o}", *step.mode) : "-")
        .add(fmt::format("{}:{}", step.uid, step.gid));
    for (const InputEntry& entry : inputs) {
      hash.add(target_of(step, inputs, entry))
          .add(fmt::format("{}", static_cast<int>(entry.kind)))
          .add(entry.executable ? "x" : "-");
      hash.add(entry.content.hex()).add(entry.target);
    }
    return hash.finish();
  }

  static Digest list(std::string_view kind, const std::vector<std::string>& values) {
    KeyHash hash;
    hash.add(kind);
    for (const std::string& value : values) hash.add(value);
    return hash.finish();
  }
};

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

std::vector<std::size_t> layers_below(const std::vector<PlannedLayer>& plan, const spec::Step& step) {
  std::vector<std::size_t> below;
  const bool enables = std::holds_alternative<spec::EnableStep>(step.action);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const auto* copy = plan[i].step == nullptr ? nullptr : std::get_if<spec::CopyStep>(&plan[i].step->action);
    if (enables && copy != nullptr && !may_reach_units(*copy, plan[i].inputs)) continue;
    below.push_back(i);
  }
  return below;
}

}  // namespace

const std::string& debian_release(const spec::App& app) {
  if (const auto* debian = std::get_if<spec::DebianBase>(&app.image.base)) return debian->release;
  throw Error(ErrorCode::unsupported, "only 'from: debian:RELEASE' is a base now");
}

const std::vector<std::string>& base_packages() {
  static const std::vector<std::string> packages = {"ca-certificates", "dbus",    "gpgv",        "iproute2",
                                                    "netbase",         "systemd", "systemd-sysv"};
  return packages;
}

std::vector<PlannedLayer> plan_layers(const spec::App& app, const host::Path& app_folder) {
  std::vector<PlannedLayer> plan;
  plan.push_back({.text = "base debian:" + debian_release(app), .below = {}, .inputs = {}, .recipe = base_recipe(app)});
  for (const spec::Step& step : app.image.steps) {
    PlannedLayer layer{
        .step = &step, .text = step.text(), .below = layers_below(plan, step), .inputs = {}, .recipe = {}};
    if (const auto* copy = std::get_if<spec::CopyStep>(&step.action))
      layer.inputs = read_inputs(app, step, *copy, app_folder);
    layer.recipe = std::visit(StepHash{layer.inputs}, step.action);
    plan.push_back(std::move(layer));
  }
  return plan;
}

Digest layer_key(const PlannedLayer& layer, const std::vector<Digest>& contents_below) {
  KeyHash hash;
  hash.add(fmt::format("kiln layer {}", kLayerFormat)).add(layer.recipe.hex());
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
