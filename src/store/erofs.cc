// Erofs: mkfs.erofs, the one field that it takes from the clock, and loop mounts.
#include "store/erofs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "host/mounts.h"
#include "host/os_error.h"
#include "host/process.h"

namespace kiln::store {
namespace {

// include/erofs_fs.h of erofs-utils: the superblock is at 1024, build_time (8 bytes, little endian) at 24 in it,
// build_time_nsec (4) after it.
constexpr off_t kBuildTimeOffset = 1024 + 24;
constexpr std::uint64_t kRoomMin = std::uint64_t{4} << 20;

// mkfs.erofs 1.5 sets the build time by -T only together with the time of every file, which must stay different: a web
// server's ETag is made of it.
void fix_build_time(const host::Path& file) {
  std::array<unsigned char, 12> time{};
  for (std::size_t i = 0; i < 8; ++i) time[i] = static_cast<unsigned char>(kLayerEpochSeconds >> (8 * i));
  const host::FileDescriptor fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::pwrite(fd.get(), time.data(), time.size(), kBuildTimeOffset) != static_cast<ssize_t>(time.size())) {
    throw host::os_error("writing " + file.string(), errno);
  }
}

}  // namespace

void make_erofs(const host::Path& folder, const host::Path& file) {
  host::Command command;
  // -x: attributes beside their file, not in a shared table whose order is the folder's. No checksum: it would cover
  // the build time, and the digest covers all. Extended inodes everywhere: which ones are compact depends on the build
  // time.
  command.argv = {"mkfs.erofs",
                  "--quiet",
                  "-x1000000",
                  "--preserve-mtime",
                  "-Enosbcrc,force-inode-extended",
                  "-U00000000-0000-0000-0000-000000000000",
                  file.string(),
                  folder.string()};
  const host::CommandResult result = host::run(command);
  if (!result.ok()) {
    const std::string said = last_lines(result.err + result.out, 5);
    const bool full =
        host::free_bytes(file.parent_path()) < kRoomMin || said.find("No space left") != std::string::npos;
    throw Error(full ? ErrorCode::disk_full : ErrorCode::io,
                fmt::format("mkfs.erofs ended with status {} for {}: {}", result.status, file.string(), said),
                full ? "free some space, or move KILN_HOME" : "");
  }
  fix_build_time(file);
}

void remove_overlay_notes(const host::Path& path) {
  std::array<char, 1 << 16> names;
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0 && errno == ENOTSUP) return;
  if (size < 0) throw host::os_error("reading the attributes of " + path.string(), errno);
  for (std::string_view rest(names.data(), static_cast<std::size_t>(size)); !rest.empty();) {
    const std::string name(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(name.size() + 1);
    if (!name.starts_with("trusted.overlay.") || name == "trusted.overlay.opaque") continue;
    if (::lremovexattr(path.c_str(), name.c_str()) != 0)
      throw host::os_error("removing an attribute of " + path.string(), errno);
  }
}

void mount_layer(const host::Path& layer, const host::Path& folder) {
  host::make_folders(folder);
  host::run_checked({"mount", "-t", "erofs", "-o", "loop,ro", layer.string(), folder.string()});
}

void look_into_layer(const host::Path& layer, const host::Path& work,
                     const std::function<void(const host::Path&)>& look) {
  if (::geteuid() != 0)
    throw Error(ErrorCode::denied, "reading what is in an image needs root: its layers are mounted",
                "run it again with sudo");
  host::need_file_system("erofs");
  host::with_private_mounts([&] {
    const host::Path folder = work / "layer";
    mount_layer(layer, folder);
    look(folder);
  });
}

}  // namespace kiln::store
