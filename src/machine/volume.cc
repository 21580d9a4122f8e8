// Volume: see internal/volume.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "host/process.h"
#include "machine/internal/fail.h"
#include "machine/internal/loop_device.h"
#include "machine/internal/sparse_file.h"
#include "machine/internal/volume.h"
#include "machine/layers.h"

namespace kiln::machine {
namespace {

// Inode tables are zeroes already, as every hole of the file is. Nothing is kept back for root: a guest's root is the
// one who fills it.
void make_file_system(const host::Path& file, std::uint64_t size_gib) {
  const host::FileDescriptor fd(::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size_gib << 30)) != 0) fail("cannot make", file);
  host::run_checked({"mkfs.ext4", "-q", "-F", "-m0", "-O^has_journal,^resize_inode",
                     "-Elazy_itable_init=1,nodiscard,root_owner=0:0", file.string()});
}

// An empty file system of a size, made once.
host::Path template_of(const host::Path& templates, std::uint64_t size_gib) {
  static std::mutex one_at_a_time;
  const std::lock_guard hold(one_at_a_time);
  const host::Path file = templates / fmt::format("{}.ext4", size_gib);
  if (std::filesystem::exists(file)) return file;
  host::make_folders(templates, 0700);
  const host::Path fresh = file.string() + ".new";
  make_file_system(fresh, size_gib);
  std::filesystem::rename(fresh, file);
  return file;
}

bool is_mounted(const host::Path& folder) {
  for (const MountLine& mount : mounts_below(folder)) {
    if (host::Path(mount.target).filename() == "disk") return true;
  }
  return false;
}

}  // namespace

void attach_volume(const host::Path& folder, const host::Path& templates, std::uint64_t size_gib) {
  const host::Path target = folder / "disk";
  if (is_mounted(folder)) return;
  const host::Path file = folder / "disk.ext4";
  if (!std::filesystem::exists(file)) {
    // Of a machine that an earlier version has made, without a bound: its disk stays where it is.
    if (std::filesystem::exists(target / "upper")) return;
    const host::Path fresh = file.string() + ".new";
    copy_sparse(template_of(templates, size_gib), fresh);
    std::filesystem::rename(fresh, file);
  }
  host::make_folders(target, 0700);
  std::string device;
  const host::FileDescriptor loop = loop_device(file, false, device);
  if (::mount(device.c_str(), target.c_str(), "ext4", MS_NODEV | MS_NOATIME, "nobarrier,noinit_itable") != 0) {
    if (errno == ENODEV) {
      throw Error(ErrorCode::unsupported, "this kernel has no ext4", "Load the kernel module: modprobe ext4");
    }
    fail("cannot mount", file);
  }
}

void thaw_volume(const host::Path& folder) {
  if (!is_mounted(folder)) return;
  const host::FileDescriptor disk(::open((folder / "disk").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (disk) ::ioctl(disk.get(), FITHAW, 0);  // EINVAL: it is not frozen
}

FrozenVolume::FrozenVolume(const host::Path& folder)
    : disk_(::open((folder / "disk").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (!disk_ || ::ioctl(disk_.get(), FIFREEZE, 0) != 0) fail("cannot freeze", folder / "disk");
}

FrozenVolume::~FrozenVolume() { ::ioctl(disk_.get(), FITHAW, 0); }

}  // namespace kiln::machine
