// Volume root: see internal/volume_root.h. What is on the volume is a guest's: it is read by the kernel, and by nothing
// of ours that follows its links.
#include "machine/internal/volume_root.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "host/mounts.h"
#include "host/process.h"
#include "machine/internal/capture.h"
#include "machine/internal/fail.h"
#include "machine/internal/loop_device.h"
#include "machine/internal/partitions.h"
#include "store/erofs.h"

namespace kiln::machine {
namespace {

namespace fs = std::filesystem;

constexpr Duration kCopyMost = std::chrono::minutes(30);  // a directory that a broken file system has without end

// Where a file system has its mark, and how the kernel is to mount it: by its own word a broken ext4 may want a panic.
struct FileSystem {
  const char* name;
  std::string_view mark;
  std::uint64_t at;
  const char* options;
};
constexpr FileSystem kFileSystems[] = {
    {"ext4", "\x53\xEF", 1024 + 56, "errors=continue"},  // ext2 and ext3 too
    {"xfs", "XFSB", 0, ""},
    {"btrfs", "_BHRfS_M", 65536 + 64, ""},
};

std::string bytes_at(const host::FileDescriptor& file, std::uint64_t at, std::size_t size) {
  std::string bytes(size, '\0');
  const ssize_t got = ::pread(file.get(), bytes.data(), size, static_cast<off_t>(at));
  bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return bytes;
}

const FileSystem* file_system_at(const host::FileDescriptor& file, std::uint64_t offset) {
  const auto* found = std::find_if(std::begin(kFileSystems), std::end(kFileSystems), [&](const FileSystem& one) {
    return bytes_at(file, offset + one.at, one.mark.size()) == one.mark;
  });
  return found == std::end(kFileSystems) ? nullptr : found;
}

struct Found {
  const FileSystem* type;
  Extent part;
};

// The whole disk, or its partitions that hold one.
std::vector<Found> file_systems_of(const host::Path& file) {
  const host::FileDescriptor disk(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!disk) fail("cannot open", file);
  if (const FileSystem* whole = file_system_at(disk, 0)) return {{whole, {}}};
  std::vector<Found> found;
  for (const Extent& part : partitions_of(bytes_at(disk, 0, kTableBytes), fs::file_size(file))) {
    if (const FileSystem* type = file_system_at(disk, part.offset)) found.push_back({type, part});
  }
  return found;
}

// A mount that ends with the scope; within mounts of our own.
class Mounted {
 public:
  Mounted(const host::Path& file, const Found& what, const host::Path& target) : target_(target) {
    host::need_file_system(what.type->name);
    std::string device;
    const host::FileDescriptor loop = loop_device(file, true, device, what.part);
    constexpr unsigned long kFlags = MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC | MS_NOATIME;
    if (::mount(device.c_str(), target.c_str(), what.type->name, kFlags, what.type->options) == 0) return;
    if (errno == EROFS) {
      throw Error(ErrorCode::invalid, fmt::format("its {} file system was not unmounted", what.type->name),
                  "Unmount it before the snapshot is made");
    }
    throw Error(ErrorCode::invalid,
                fmt::format("its {} file system cannot be mounted: {}", what.type->name, std::strerror(errno)));
  }
  ~Mounted() { ::umount2(target_.c_str(), MNT_DETACH); }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;

 private:
  host::Path target_;
};

// As Linux and systemd look for it. A link may lead anywhere: it is not followed.
bool has_init(const fs::path& root) {
  const auto is_there = [](const fs::path& path) { return fs::exists(fs::symlink_status(path)); };
  const auto is_folder = [&](const char* name) {
    return fs::symlink_status(root / name).type() == fs::file_type::directory;
  };
  for (const char* folder : {"sbin", "usr/sbin", "usr/lib/systemd", "lib/systemd"}) {
    const char* name = std::string_view(folder).ends_with("systemd") ? "systemd" : "init";
    if (is_folder(folder) && is_there(root / folder / name)) return true;
  }
  return false;
}

void set_time(const fs::path& path, const timespec& time) {
  const timespec both[] = {time, time};
  if (::utimensat(AT_FDCWD, path.c_str(), both, AT_SYMLINK_NOFOLLOW) != 0) fail("cannot set the time of", path);
}

// Emptied, and made where they are not there: what is mounted over them when it boots needs them. No clock of ours
// shows.
void empty_mount_points(const fs::path& tree) {
  struct stat root {};
  if (::lstat(tree.c_str(), &root) != 0) fail("cannot read", tree);
  for (const char* name : kNoDisk) {
    const fs::path folder = tree / name;
    struct stat info {};
    timespec time{store::kLayerEpochSeconds, 0};
    if (::lstat(folder.c_str(), &info) == 0) {
      if (!S_ISDIR(info.st_mode)) continue;
      time = info.st_mtim;
      for (const std::string& inside : host::list_folder(folder)) host::remove_tree(folder / inside);
    } else {
      const mode_t mode = std::string_view(name) == "tmp" ? 01777 : 0755;
      if (::mkdir(folder.c_str(), mode) != 0 || ::chmod(folder.c_str(), mode) != 0) fail("cannot make", folder);
    }
    set_time(folder, time);
  }
  set_time(tree, root.st_mtim);
}

}  // namespace

Digest capture_volume(store::Store& store, const host::Path& file, const store::ImageConfig& config) {
  const std::vector<Found> candidates = file_systems_of(file);
  if (candidates.empty()) {
    throw Error(ErrorCode::invalid, "it holds no file system of ext4, xfs or btrfs, nor a partition with one",
                "Make the root file system on it before the snapshot");
  }
  const auto work = store.temporary();
  const fs::path tree = work->path() / "tree";
  const fs::path target = work->path() / "volume";
  fs::create_directory(tree);
  fs::create_directory(target);
  bool copied = false;
  host::with_private_mounts([&] {
    for (const Found& one : candidates) {
      const Mounted mounted(file, one, target);
      if (!has_init(target)) continue;
      host::Command copy;
      // Owners, modes, times, links, attributes, device nodes, holes.
      copy.argv = {"cp", "--archive", (target / ".").string(), tree.string()};
      copy.timeout = kCopyMost;
      host::run_checked(copy);
      copied = true;
      return;
    }
  });
  if (!copied) {
    throw Error(ErrorCode::invalid, "its file system has no /sbin/init: no instance would boot from it",
                "Put a whole root file system on it (Debian: with the package systemd-sysv)");
  }
  empty_mount_points(tree);
  const store::Blob layer = put_layer(store, work->path(), tree, fs::file_size(file));
  return store.add_image(config, {layer});
}

}  // namespace kiln::machine
