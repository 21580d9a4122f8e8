// Inventory: ask the package database whose each file is.
#include "proof/inventory.h"

#include <fmt/format.h>

#include "base/text.h"

namespace kiln::proof {
namespace {

constexpr std::string_view kDatabase = "/var/lib/dpkg/";

// Of os-release(5): NAME="value" or NAME=value.
std::string os_field(const Contents& contents, std::string_view name) {
  for (const char* path : {"/etc/os-release", "/usr/lib/os-release"}) {
    for (const std::string& line : split(contents.text(path), '\n')) {
      if (!line.starts_with(std::string(name) + "=")) continue;
      std::string value = line.substr(name.size() + 1);
      std::erase(value, '"');
      return value;
    }
  }
  return {};
}

struct Owner {
  std::string package;
  std::string md5;  // empty: the package does not say
};

class Owners {
 public:
  Owners(const Contents& contents, const std::vector<Package>& packages) : contents_(contents) {
    find_links();
    for (const Package& package : packages) add(package);
  }
  const Owner* of(std::string_view path) const {
    const auto found = owners_.find(path);
    return found == owners_.end() ? nullptr : &found->second;
  }

 private:
  void add(const Package& package) {
    for (const std::string& stem : {package.name, package.name + ":" + package.architecture}) {
      const std::string base = fmt::format("{}info/{}", kDatabase, stem);
      for (const std::string& path : split(contents_.text(base + ".list"), '\n'))
        owners_[real(path)].package = package.name;
      for (const auto& [path, md5] : read_md5sums(contents_.text(base + ".md5sums")))
        owners_[real(path)] = {package.name, md5};
    }
    for (const auto& [path, md5] : package.conffiles) owners_[real(path)] = {package.name, md5};
  }

  void find_links() {
    for (const auto& [path, file] : contents_.files) {
      if (file->type == 'l' && path.find('/', 1) == std::string_view::npos) top_links_[path] = file->target;
    }
  }
  // /bin/ls is /usr/bin/ls where /bin is a link to usr/bin: packages name files by both.
  std::string real(const std::string& path) const {
    const std::size_t slash = path.find('/', 1);
    if (slash == std::string::npos) return path;
    const auto link = top_links_.find(std::string_view(path).substr(0, slash));
    if (link == top_links_.end()) return path;
    return fmt::format("{}{}{}", link->second.starts_with('/') ? "" : "/", link->second, path.substr(slash));
  }

  const Contents& contents_;
  std::map<std::string_view, std::string_view> top_links_;
  std::map<std::string, Owner, std::less<>> owners_;
};

}  // namespace

Inventory take_inventory(const Contents& contents) {
  Inventory inventory;
  inventory.distribution = os_field(contents, "ID");
  inventory.release = os_field(contents, "VERSION_ID");
  inventory.packages = contents.packages();
  for (Package& package : inventory.packages)
    package.licence = contents.text(fmt::format("/usr/share/doc/{}/copyright", package.name));
  const Owners owners(contents, inventory.packages);
  for (const auto& [path, file] : contents.files) {
    if (file->type != 'f' || file->md5.empty() || path.starts_with(kDatabase) || path.starts_with("/var/cache/"))
      continue;
    const Owner* owner = owners.of(path);
    if (owner == nullptr) {
      inventory.files.push_back({std::string(path), *file, {}});
    } else if (!owner->md5.empty() && owner->md5 != file->md5) {
      inventory.files.push_back({std::string(path), *file, owner->package});
    }
  }
  return inventory;
}

Inventory take_inventory(std::vector<LayerContents> layers) {
  Layers shared;
  for (LayerContents& layer : layers) shared.push_back(std::make_shared<const LayerContents>(std::move(layer)));
  return take_inventory(stack(std::move(shared)));
}

}  // namespace kiln::proof
