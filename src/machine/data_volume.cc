// Data volume: see internal/data_volume.h.
#include "machine/internal/data_volume.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "machine/internal/fail.h"
#include "machine/internal/loop_device.h"
#include "machine/internal/quick_file.h"
#include "machine/internal/sparse_file.h"
#include "machine/layers.h"
#include "machine/namespaces.h"

namespace kiln::machine {
namespace {

constexpr const char* kAttachments = "volumes";
constexpr std::string_view kUnfinished = ".new";
// A killed guest's mounts go a moment after its last process.
constexpr Duration kReleasePatience{3000};

void set_size(const host::Path& file, std::uint64_t gib) {
  const host::FileDescriptor fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(gib << 30)) != 0) fail("cannot make", file);
}

dev_t number_of(const std::string& device) {
  struct stat info {};
  if (::stat(device.c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) fail("there is no device", device);
  return info.st_rdev;
}

// Below the guest's root. A guest that has put something else there keeps it.
void make_parents(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    ::mkdir(path.substr(0, at).c_str(), 0755);
  }
}

// The root of a file system that the guest has mounted from a device; none: it has none. Of several mounts any: they
// are one file system.
host::FileDescriptor mounted_from(pid_t init, const std::string& device) {
  const dev_t number = number_of(device);
  const std::string wanted = fmt::format("{}:{}", major(number), minor(number));
  const auto mounts = read_quick_file(fmt::format("/proc/{}/mountinfo", init));
  host::FileDescriptor found;
  for (const std::string& line : split(mounts.value_or(""), '\n')) {
    const std::vector<std::string> fields = split(line, ' ');
    if (fields.size() < 5 || fields[2] != wanted || found) continue;
    const std::vector<MountLine> parsed = parse_mountinfo(line);
    if (parsed.empty()) continue;
    run_in_mounts_of(init, [&] {
      host::FileDescriptor fd(::open(parsed[0].target.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
      struct stat info {};
      // Something else may be mounted over it by now.
      if (fd && ::fstat(fd.get(), &info) == 0 && info.st_dev == number) found = std::move(fd);
    });
  }
  return found;
}

}  // namespace

void DataVolumes::make(const std::string& id, std::uint64_t gib, const std::string& origin) const {
  host::make_folders(folder_, 0700);
  if (std::filesystem::exists(file(id))) return;
  const host::Path fresh = file(id).string() + std::string(kUnfinished);
  std::filesystem::remove(fresh);
  if (!origin.empty()) {
    if (!std::filesystem::exists(file(origin))) {
      throw Error(ErrorCode::not_found, fmt::format("there is no volume {} to copy", origin));
    }
    // Through the device goes what the file may not have yet. A snapshot that is being read has one for reading only.
    if (const std::string bound = device(origin); !bound.empty()) {
      const host::FileDescriptor open(::open(bound.c_str(), O_RDONLY | O_CLOEXEC));
      if (!open || ::fsync(open.get()) != 0) fail("cannot write out", bound);
    }
    copy_sparse(file(origin), fresh);
  }
  set_size(fresh, gib);
  std::filesystem::rename(fresh, file(id));
}

void DataVolumes::grow(const std::string& id, std::uint64_t gib) const {
  if (std::filesystem::file_size(file(id)) < gib << 30) set_size(file(id), gib);
  if (const std::string bound = device(id); !bound.empty()) resize_loop_device(bound);
}

void DataVolumes::remove(const std::string& id) const {
  release(id);
  std::filesystem::remove(file(id));
  std::filesystem::remove(file(id).string() + std::string(kUnfinished));
}

void DataVolumes::keep(const std::set<std::string>& ids) const {
  std::error_code ignored;
  if (!std::filesystem::exists(folder_, ignored)) return;
  for (const std::string& name : host::list_folder(folder_)) {
    if (ids.contains(name)) continue;
    try {
      remove(name);
    } catch (const Error&) {
      // Somebody of this host has it open; the next time it goes.
    }
  }
}

std::string DataVolumes::bind(const std::string& id) const {
  if (!std::filesystem::exists(file(id))) {
    throw Error(ErrorCode::not_found, fmt::format("there is no volume {}", id));
  }
  return keep_loop_device(file(id));
}

std::string DataVolumes::device(const std::string& id) const {
  const auto bound = loop_devices(file(id));
  return bound.empty() ? "" : bound.begin()->second;
}

void DataVolumes::release(const std::string& id) const {
  if (drop_loop_device(file(id), kReleasePatience)) return;
  throw Error(ErrorCode::conflict, fmt::format("the volume {} is still open", id));
}

void DataVolumes::release_all() const {
  std::exception_ptr failure;
  for (const auto& [path, device] : loop_devices(folder_)) {
    try {
      release(path.filename().string());
    } catch (const Error&) {
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void write_attachments(const host::Path& machine, const std::vector<VolumeAt>& volumes) {
  std::string text;
  for (const VolumeAt& at : volumes) text += fmt::format("{} {}\n", at.volume, at.device);
  write_quick_file(machine / kAttachments, text);
}

std::vector<VolumeAt> read_attachments(const host::Path& machine) {
  std::vector<VolumeAt> volumes;
  for (const std::string& line : split(read_quick_file(machine / kAttachments).value_or(""), '\n')) {
    const auto space = line.find(' ');
    if (space != std::string::npos) volumes.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  return volumes;
}

std::vector<std::string> names_of(const VolumeAt& at) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789";
  const std::string name = at.device.starts_with("/dev/") ? at.device.substr(5) : "";
  if (name.empty() || name.find_first_not_of(kAllowed) != std::string::npos) {
    throw Error(ErrorCode::invalid, fmt::format("\"{}\" cannot be a volume's device", at.device));
  }
  std::vector<std::string> names = {at.device};
  if (name.starts_with("sd")) names.push_back("/dev/xvd" + name.substr(2));
  if (name.starts_with("xvd")) names.push_back("/dev/sd" + name.substr(3));
  std::string plain = at.volume;
  std::erase(plain, '-');
  names.push_back("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_" + plain);
  return names;
}

std::vector<std::string> device_binds(const host::Path& machine) {
  const DataVolumes volumes(machine.parent_path().parent_path());
  std::vector<std::string> binds;
  for (const VolumeAt& at : read_attachments(machine)) {
    const std::string device = volumes.device(at.volume);
    if (device.empty()) continue;
    for (const std::string& name : names_of(at)) binds.push_back(fmt::format("--bind={}:{}", device, name));
  }
  return binds;
}

void show_device(pid_t init, const VolumeAt& at, const std::string& device) {
  const dev_t number = number_of(device);
  run_in_mounts_of(init, [&] {
    for (const std::string& name : names_of(at)) {
      make_parents(name);
      if (::mknod(name.c_str(), S_IFBLK | 0660, number) != 0 && errno != EEXIST) fail("cannot make", name);
    }
  });
}

void hide_device(pid_t init, const VolumeAt& at) {
  run_in_mounts_of(init, [&] {
    for (const std::string& name : names_of(at)) {
      ::umount2(name.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);  // one that it had when it booted
      ::unlink(name.c_str());
    }
  });
}

FrozenDevice::FrozenDevice(pid_t init, const std::string& device) : mounted_(mounted_from(init, device)) {
  // A file system that cannot be frozen is copied as it is, like a device that a program writes to.
  if (mounted_ && ::ioctl(mounted_.get(), FIFREEZE, 0) != 0) mounted_.reset();
}

FrozenDevice::~FrozenDevice() {
  if (mounted_) ::ioctl(mounted_.get(), FITHAW, 0);
}

void thaw_device(pid_t init, const std::string& device) {
  const host::FileDescriptor mounted = mounted_from(init, device);
  if (mounted) ::ioctl(mounted.get(), FITHAW, 0);  // EINVAL: it is not frozen
}

}  // namespace kiln::machine
