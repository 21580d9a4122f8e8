// Disk: see internal/disk.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <optional>
#include <set>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "machine/internal/disk.h"
#include "machine/internal/fail.h"
#include "machine/internal/quick_file.h"
#include "machine/nspawn.h"
#include "machine/ruleset.h"

namespace kiln::machine {
namespace {

// The topmost layer's entry decides what a merged path is, its owner and its mode.
std::optional<struct stat> topmost(const std::vector<host::Path>& layers, const std::string& path) {
  for (const host::Path& layer : layers) {
    struct stat there {};
    if (::lstat((layer / path).c_str(), &there) == 0) return there;
  }
  return std::nullopt;
}

// A folder of the seed is as the one that it covers.
void make_seed_folder(const host::Path& seed, const std::vector<host::Path>& layers, const std::string& path) {
  const host::Path target = seed / path;
  struct stat there {};
  if (::lstat(target.c_str(), &there) == 0) return;
  mode_t mode = path == "tmp" || path == "var/tmp" ? 01777 : 0755;
  uid_t owner = 0;
  gid_t group = 0;
  if (const auto below = topmost(layers, path)) {
    // A link leads elsewhere, and covering a file or a whiteout (a device) with a folder would undo the image's will.
    if (S_ISLNK(below->st_mode)) return;
    if (S_ISDIR(below->st_mode)) {
      mode = below->st_mode & 07777;
      owner = below->st_uid;
      group = below->st_gid;
    }
  }
  if (::mkdir(target.c_str(), mode) != 0) {
    if (errno == ENOENT) return;  // its parent is a link of the image
    fail("cannot make", target);
  }
  if (::chmod(target.c_str(), mode) != 0 || ::chown(target.c_str(), owner, group) != 0)
    fail("cannot give away", target);
}

void make_seed_folders(const host::Path& seed, const std::vector<host::Path>& layers, const std::string& path) {
  for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    make_seed_folder(seed, layers, path.substr(0, at));
  }
  make_seed_folder(seed, layers, path);
}

void write_seed_file(const host::Path& path, std::string_view content, mode_t mode) {
  write_quick_file(path, content);
  if (::chmod(path.c_str(), mode) != 0) fail("cannot change", path);
}

void make_seed(const host::Path& folder, const std::vector<host::Path>& layers, const Spec& spec) {
  const host::Path seed = folder / "seed";
  host::make_folders(seed);
  for (const char* path : {"dev", "etc", "proc", "sys", "run", "tmp", "var/tmp"}) make_seed_folders(seed, layers, path);
  for (const std::string& path : writable_folders(spec.image.config)) make_seed_folders(seed, layers, path.substr(1));
  write_seed_file(seed / "etc/hostname", spec.hostname + "\n", 0644);
  write_seed_file(seed / "etc/machine-id", machine_id_of(spec.id) + "\n", 0444);
  write_seed_file(seed / "etc/resolv.conf", fmt::format("nameserver {}\n", kResolver), 0644);
  for (const auto& [path, content] : spec.files) {
    const std::string parent = host::Path(path).parent_path().string().substr(1);
    const auto there = topmost(layers, parent);
    if (!there || !S_ISDIR(there->st_mode)) continue;
    make_seed_folders(seed, layers, parent);
    write_seed_file(seed.string() + path, content, 0644);
  }
}

// Options of a mount have one page in all, so layers are named relative to their folder, where a thread with a working
// directory of its own goes.
void mount_overlay(const host::Path& layers_folder, const host::Path& target, unsigned long flags,
                   const std::string& options) {
  std::exception_ptr failure;
  std::thread thread([&] {
    try {
      if (::unshare(CLONE_FS) != 0 || ::chdir(layers_folder.c_str()) != 0) fail("cannot enter", layers_folder);
      if (::mount("overlay", target.c_str(), "overlay", flags, options.c_str()) != 0)
        fail("cannot mount the overlay", target);
    } catch (...) {
      failure = std::current_exception();
    }
  });
  thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

std::vector<std::string> writable_folders(const store::ImageConfig& config) {
  std::vector<std::string> wanted = config.writable;
  wanted.insert(wanted.end(), {"/var/tmp", "/var/lib/systemd"});
  for (std::string& path : wanted) {
    const host::Path normal = host::Path(path).lexically_normal();
    path = normal.string();
    if (path.size() > 1 && path.ends_with('/')) path.pop_back();
    if (!path.starts_with('/') || path == "/" || path.find("/../") != std::string::npos) {
      throw Error(ErrorCode::invalid,
                  fmt::format("the image's writable folder \"{}\" is not an absolute folder below /", path));
    }
  }
  std::sort(wanted.begin(), wanted.end());
  std::vector<std::string> kept;
  for (const std::string& path : wanted) {
    const bool inside = std::any_of(kept.begin(), kept.end(), [&](const std::string& outer) {
      return path == outer || path.starts_with(outer + "/");
    });
    if (!inside) kept.push_back(path);
  }
  return kept;
}

Disk make_disk(const host::Path& folder, const Layers& layers, const Spec& spec) {
  Disk disk;
  disk.root = folder / "root";
  disk.read_only = spec.image.config.read_only_root;
  std::vector<host::Path> top_first;
  std::string lower = fmt::format("lowerdir=../instances/{}/seed", spec.id);
  for (auto layer = spec.image.layers.rbegin(); layer != spec.image.layers.rend(); ++layer) {
    top_first.push_back(layers.folder() / layer->digest.hex());
    lower += ":" + layer->digest.hex();
  }
  if (top_first.empty())
    throw Error(ErrorCode::invalid, fmt::format("the image {} has no layers", spec.image.digest.str()));
  // What it writes must mean the same on top of the same layers elsewhere: no redirects, no copies without content.
  const std::string upper = fmt::format(
      ",upperdir=../instances/{0}/disk/upper,workdir=../instances/{0}/disk/work"
      ",redirect_dir=off,metacopy=off",
      spec.id);
  for (const char* name : {"root", "rw", "disk/upper", "disk/work"}) host::make_folders(folder / name);
  make_seed(folder, top_first, spec);

  std::set<std::string> mounted;
  for (const MountLine& mount : mounts_below(folder)) mounted.insert(host::Path(mount.target).filename().string());
  const host::Path writable = disk.read_only ? folder / "rw" : disk.root;
  if (!mounted.contains(writable.filename().string()))
    mount_overlay(layers.folder(), writable, MS_NODEV, lower + upper);
  if (!disk.read_only) return disk;
  if (!mounted.contains("root")) mount_overlay(layers.folder(), disk.root, MS_NODEV | MS_RDONLY, lower);
  for (const std::string& path : writable_folders(spec.image.config)) {
    struct stat there {};
    // A link into another folder is that folder's matter.
    if (::lstat((disk.root.string() + path).c_str(), &there) == 0 && S_ISDIR(there.st_mode)) {
      disk.binds.emplace_back(writable.string() + path, path);
    }
  }
  return disk;
}

void unmount_disk(const host::Path& folder) {
  for (const MountLine& mount : mounts_below(folder)) unmount(mount.target);
}

}  // namespace kiln::machine
