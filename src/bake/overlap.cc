// Overlap: two mounted layers, walked.
#include "bake/overlap.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>

#include "bake/files.h"
#include "bake/sandbox.h"
#include "base/text.h"
#include "host/os_error.h"
#include "host/pieces.h"
#include "store/erofs.h"

namespace kiln::bake {
namespace {

namespace fs = std::filesystem;

struct Entry {
  struct stat info {};
  bool opaque = false;  // overlayfs: hides what the layers below have in this folder
};
using Tree = std::map<std::string, Entry>;

Entry entry_of(const fs::path& path) {
  Entry entry;
  if (::lstat(path.c_str(), &entry.info) != 0) throw host::os_error("reading " + path.string(), errno);
  std::array<char, 4> value{};
  entry.opaque =
      ::lgetxattr(path.c_str(), "trusted.overlay.opaque", value.data(), value.size()) == 1 && value[0] == 'y';
  return entry;
}

Tree tree_of(const fs::path& root) {
  Tree tree;
  for (const auto& found : fs::recursive_directory_iterator(root))
    tree["/" + found.path().lexically_relative(root).string()] = entry_of(found.path());
  return tree;
}

bool same_owner_and_mode(const Entry& a, const Entry& b) {
  return a.info.st_mode == b.info.st_mode && a.info.st_uid == b.info.st_uid && a.info.st_gid == b.info.st_gid;
}

bool clash(const Entry& lower, const Entry& upper) {
  if (!S_ISDIR(lower.info.st_mode) || !S_ISDIR(upper.info.st_mode)) return true;
  return !same_owner_and_mode(lower, upper) || lower.opaque || upper.opaque;
}

std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISLNK(mode)) return "a link";
  if (S_ISREG(mode)) return "a file";
  return S_ISCHR(mode) ? "a device, or a removal" : "special";
}

std::string what_differs(const fs::path& first, const fs::path& second, const Entry& a, const Entry& b) {
  std::vector<std::string> differences;
  const auto differ = [&](const char* what, const std::string& one, const std::string& two) {
    if (one != two) differences.push_back(fmt::format("{} {} and {}", what, one, two));
  };
  differ("is", kind_of(a.info.st_mode), kind_of(b.info.st_mode));
  if (!differences.empty()) return differences.front();
  differ("mode", fmt::format("{:04o}", a.info.st_mode & 07777U), fmt::format("{:04o}", b.info.st_mode & 07777U));
  differ("owner", fmt::format("{}:{}", a.info.st_uid, a.info.st_gid),
         fmt::format("{}:{}", b.info.st_uid, b.info.st_gid));
  if (S_ISLNK(a.info.st_mode)) differ("target", fs::read_symlink(first), fs::read_symlink(second));
  if (S_ISREG(a.info.st_mode)) {
    differ("size", fmt::format("{}", a.info.st_size), fmt::format("{}", b.info.st_size));
    const auto digest = [](const fs::path& path) { return host::digest_of_file(path, host::Links::refuse); };
    if (a.info.st_size == b.info.st_size && digest(first) != digest(second)) differences.emplace_back("content");
  }
  differ("time", format_iso8601(Time(std::chrono::seconds(a.info.st_mtim.tv_sec))),
         format_iso8601(Time(std::chrono::seconds(b.info.st_mtim.tv_sec))));
  if (a.opaque != b.opaque) differences.emplace_back("whether it replaces the folder below");
  return join(differences, ", ");
}

}  // namespace

std::string common_path(const host::Path& lower, const host::Path& upper, const host::Path& work) {
  std::string path;
  check_can_mount();
  with_private_mounts([&] {
    store::mount_layer(lower, work / "lower");
    store::mount_layer(upper, work / "upper");
    const Tree below = tree_of(work / "lower"), above = tree_of(work / "upper");
    for (const auto& [name, entry] : above) {
      const auto other = below.find(name);
      if (other == below.end() || !clash(other->second, entry)) continue;
      path = name;
      return;
    }
  });
  return path;
}

std::vector<Difference> compare_layers(const host::Path& first, const host::Path& second, const host::Path& work) {
  std::vector<Difference> differences;
  check_can_mount();
  with_private_mounts([&] {
    store::mount_layer(first, work / "first");
    store::mount_layer(second, work / "second");
    const Tree one = tree_of(work / "first"), two = tree_of(work / "second");
    for (const auto& [name, entry] : one) {
      const auto other = two.find(name);
      const std::string what =
          other == two.end()
              ? "only in the first bake"
              : what_differs(work / "first" / name.substr(1), work / "second" / name.substr(1), entry, other->second);
      if (!what.empty()) differences.push_back({.step = {}, .path = name, .what = what});
    }
    for (const auto& [name, entry] : two) {
      if (!one.contains(name)) differences.push_back({.step = {}, .path = name, .what = "only in the second bake"});
    }
  });
  return differences;
}

}  // namespace kiln::bake
