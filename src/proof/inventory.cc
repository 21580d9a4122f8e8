// Inventory: walk a layer, lay layers over one another, ask the package database whose each file is.
#include "proof/inventory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "proof/hash.h"
#include "proof/json.h"

namespace kiln::proof {
namespace {

constexpr std::string_view kDatabase = "/var/lib/dpkg/";
constexpr std::string_view kStatus = "/var/lib/dpkg/status";
constexpr std::size_t kLayerTextBytesMax = std::size_t{512} << 20;
constexpr std::size_t kReadBytes = std::size_t{256} << 10;

FileRecord hash_file(const host::Path& path) {
  const host::FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) throw Error(ErrorCode::io, fmt::format("{}: {}", path.string(), std::strerror(errno)));
  FileRecord record;
  Hash md5(EVP_md5()), sha1(EVP_sha1()), sha256(EVP_sha256());
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorCode::io, fmt::format("{}: {}", path.string(), std::strerror(errno)));
    if (got == 0) break;
    const std::string_view piece = std::string_view(buffer).substr(0, static_cast<std::size_t>(got));
    for (Hash* hash : {&md5, &sha1, &sha256}) hash->update(piece);
    record.size_bytes += piece.size();
  }
  record.md5 = md5.hex();
  record.sha1 = sha1.hex();
  record.sha256 = sha256.hex();
  return record;
}

bool is_text_of_interest(const std::string& path) {
  if (path == kStatus || path == "/etc/os-release" || path == "/usr/lib/os-release") return true;
  return path.starts_with("/var/lib/dpkg/info/") && (path.ends_with(".list") || path.ends_with(".md5sums"));
}

bool is_copyright(const std::string& path) {
  return path.starts_with("/usr/share/doc/") && path.ends_with("/copyright");
}

class Walk {
 public:
  explicit Walk(const host::Path& root) : root_(root) { folder(""); }
  LayerContents contents;

 private:
  void folder(const std::string& path) {
    for (const std::string& name : host::list_folder(at(path))) entry(path + "/" + name);
  }
  void entry(const std::string& path) {
    struct stat info {};
    if (::lstat(at(path).c_str(), &info) != 0)
      throw Error(ErrorCode::io, fmt::format("{}: {}", at(path).string(), std::strerror(errno)));
    if (S_ISDIR(info.st_mode)) {
      contents.folders.insert(path);
      char value = 0;
      if (::lgetxattr(at(path).c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y')
        contents.opaque.insert(path);
      folder(path);
    } else if (S_ISREG(info.st_mode)) {
      contents.files[path] = hash_file(at(path));
      if (is_text_of_interest(path)) contents.texts[path] = host::read_file(at(path));
      if (is_copyright(path)) contents.texts[path] = read_licence(host::read_file(at(path)));
    } else if (S_ISLNK(info.st_mode)) {
      contents.links[path] = std::filesystem::read_symlink(at(path)).string();
    } else if (S_ISCHR(info.st_mode) && info.st_rdev == ::makedev(0, 0)) {
      contents.removed.insert(path);
    } else {
      contents.others.insert(path);
    }
  }
  host::Path at(const std::string& path) const { return root_.string() + path; }

  host::Path root_;
};

// The layers merged.
class Merged {
 public:
  void lay(const LayerContents& layer) {
    for (const std::string& path : layer.opaque) erase_below(path);
    for (const std::string& path : layer.removed) erase(path);
    for (const std::string& path : layer.others) erase(path);
    for (const auto& [path, target] : layer.links) {
      erase(path);
      links[path] = target;
    }
    for (const std::string& path : layer.folders) {
      files.erase(path);
      texts.erase(path);
      links.erase(path);
    }
    for (const auto& [path, file] : layer.files) {
      erase(path);
      files[path] = file;
    }
    for (const auto& [path, text] : layer.texts) texts[path] = text;
  }
  std::map<std::string, FileRecord> files;
  std::map<std::string, std::string> links;
  std::map<std::string, std::string> texts;

  // /bin/ls is /usr/bin/ls where /bin is a link to usr/bin: packages name files by both.
  std::string real(const std::string& path) const {
    const std::size_t slash = path.find('/', 1);
    if (slash == std::string::npos) return path;
    const auto link = links.find(path.substr(0, slash));
    if (link == links.end()) return path;
    return (link->second.starts_with('/') ? "" : "/") + link->second + path.substr(slash);
  }

 private:
  template <typename Map>
  static void erase_prefix(Map& map, const std::string& prefix) {
    auto from = map.lower_bound(prefix);
    while (from != map.end() && from->first.starts_with(prefix)) from = map.erase(from);
  }
  void erase_below(const std::string& path) {
    erase_prefix(files, path + "/");
    erase_prefix(links, path + "/");
    erase_prefix(texts, path + "/");
  }
  void erase(const std::string& path) {
    files.erase(path);
    links.erase(path);
    texts.erase(path);
    erase_below(path);
  }
};

// Of os-release(5): NAME="value" or NAME=value.
std::string os_field(const Merged& merged, std::string_view name) {
  for (const char* path : {"/etc/os-release", "/usr/lib/os-release"}) {
    const auto text = merged.texts.find(path);
    if (text == merged.texts.end()) continue;
    for (const std::string& line : split(text->second, '\n')) {
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

std::map<std::string, Owner> owners_of(const Merged& merged, const std::vector<Package>& packages) {
  std::map<std::string, Owner> owners;
  for (const Package& package : packages) {
    for (const std::string& stem : {package.name, package.name + ":" + package.architecture}) {
      const std::string base = fmt::format("{}info/{}", kDatabase, stem);
      if (const auto list = merged.texts.find(base + ".list"); list != merged.texts.end()) {
        for (const std::string& path : split(list->second, '\n')) owners[merged.real(path)].package = package.name;
      }
      if (const auto sums = merged.texts.find(base + ".md5sums"); sums != merged.texts.end()) {
        for (const auto& [path, md5] : read_md5sums(sums->second)) owners[merged.real(path)] = {package.name, md5};
      }
    }
    for (const auto& [path, md5] : package.conffiles) owners[merged.real(path)] = {package.name, md5};
  }
  return owners;
}

}  // namespace

LayerContents read_layer(const host::Path& root) { return std::move(Walk(root).contents); }

std::string write_layer(const LayerContents& contents) {
  Json files = Json::object();
  for (const auto& [path, file] : contents.files)
    files[path] = Json::array({file.size_bytes, file.md5, file.sha1, file.sha256});
  return to_text({{"files", std::move(files)},
                  {"folders", contents.folders},
                  {"opaque", contents.opaque},
                  {"links", contents.links},
                  {"others", contents.others},
                  {"removed", contents.removed},
                  {"texts", contents.texts}});
}

LayerContents parse_layer(std::string_view text) {
  return reading_json("layer's contents", text, kLayerTextBytesMax, [](const Json& json) {
    LayerContents contents;
    for (const auto& [path, file] : json.at("files").items()) {
      contents.files[path] = {file.at(0).get<std::uint64_t>(), file.at(1).get<std::string>(),
                              file.at(2).get<std::string>(), file.at(3).get<std::string>()};
    }
    json.at("folders").get_to(contents.folders);
    json.at("opaque").get_to(contents.opaque);
    json.at("links").get_to(contents.links);
    json.at("others").get_to(contents.others);
    json.at("removed").get_to(contents.removed);
    json.at("texts").get_to(contents.texts);
    return contents;
  });
}

Inventory take_inventory(const std::vector<LayerContents>& layers) {
  Merged merged;
  for (const LayerContents& layer : layers) merged.lay(layer);
  Inventory inventory;
  inventory.distribution = os_field(merged, "ID");
  inventory.release = os_field(merged, "VERSION_ID");
  if (const auto status = merged.texts.find(std::string(kStatus)); status != merged.texts.end())
    inventory.packages = read_dpkg_status(status->second);
  for (Package& package : inventory.packages) {
    const auto licence = merged.texts.find(fmt::format("/usr/share/doc/{}/copyright", package.name));
    if (licence != merged.texts.end()) package.licence = licence->second;
  }
  const std::map<std::string, Owner> owners = owners_of(merged, inventory.packages);
  for (const auto& [path, file] : merged.files) {
    if (path.starts_with(kDatabase) || path.starts_with("/var/cache/")) continue;
    const auto owner = owners.find(path);
    if (owner == owners.end()) {
      inventory.files.push_back({path, file, {}});
    } else if (!owner->second.md5.empty() && owner->second.md5 != file.md5) {
      inventory.files.push_back({path, file, owner->second.package});
    }
  }
  return inventory;
}

}  // namespace kiln::proof
