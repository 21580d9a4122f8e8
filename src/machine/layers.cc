// Layers: see layers.h.
#include "machine/layers.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "machine/internal/fail.h"
#include "machine/internal/loop_device.h"

namespace kiln::machine {
namespace {

constexpr int kUnmountTries = 200;  // times 5 ms: a machine that was killed lets go within that time

std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::vector<MountLine> parse_mountinfo(std::string_view text) {
  std::vector<MountLine> mounts;
  for (const std::string& line : split(text, '\n')) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> before = split(line.substr(0, dash), ' ');
    const std::vector<std::string> after = split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 2) continue;
    mounts.push_back({unescape(before[4]), after[0], unescape(after[1])});
  }
  return mounts;
}

std::vector<MountLine> mounts_below(const host::Path& folder) {
  // The kernel names the real path, ours may go through a link.
  std::error_code ignored;
  const host::Path real = std::filesystem::weakly_canonical(folder, ignored);
  const std::string prefix = (real.empty() ? folder : real).string() + "/";
  std::vector<MountLine> found;
  for (MountLine& mount : parse_mountinfo(host::read_file("/proc/self/mountinfo"))) {
    if (mount.target.starts_with(prefix)) found.push_back(std::move(mount));
  }
  std::reverse(found.begin(), found.end());
  return found;
}

void unmount(const host::Path& target) {
  for (int attempt = 0; attempt < kUnmountTries; ++attempt) {
    if (::umount2(target.c_str(), UMOUNT_NOFOLLOW) == 0) continue;  // there may be one below it
    if (errno == EINVAL || errno == ENOENT) return;
    if (errno != EBUSY) fail("cannot unmount", target);
    host::SystemClock().sleep(Duration(5));
  }
  while (::umount2(target.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) == 0) {
  }
}

Layers::Layers(const store::Store& store, host::Path folder) : store_(store), folder_(std::move(folder)) {}

void Layers::mount_layer(const Digest& digest) {
  const host::Path target = folder_ / digest.hex();
  // For root only: an image may hold setuid files.
  host::make_folders(folder_, 0700);
  host::make_folders(target);
  // The verdict is the store's; a layer that is mounted already was verified before.
  store_.verify(digest);
  std::string device;
  const host::FileDescriptor loop = loop_device(store_.path_of(digest), true, device);
  if (::mount(device.c_str(), target.c_str(), "erofs", MS_RDONLY | MS_NODEV, nullptr) != 0) {
    throw Error(errno == ENODEV ? ErrorCode::unsupported : ErrorCode::io,
                fmt::format("cannot mount layer {} at {}: {}", digest.str(), target.string(), std::strerror(errno)),
                errno == ENODEV ? "Load the kernel module: modprobe erofs" : "");
  }
}

void Layers::hold(const std::string& user, const store::Image& image) {
  std::lock_guard lock(mutex_);
  std::set<std::string> mounted;
  for (const MountLine& mount : mounts_below(folder_)) mounted.insert(host::Path(mount.target).filename().string());
  for (const store::Blob& layer : image.layers) {
    if (!mounted.contains(layer.digest.hex())) mount_layer(layer.digest);
    mounted.insert(layer.digest.hex());
    users_[layer.digest].insert(user);
  }
}

void Layers::release(const std::string& user) {
  std::lock_guard lock(mutex_);
  for (auto it = users_.begin(); it != users_.end();) {
    if (it->second.erase(user) == 0 || !it->second.empty()) {
      ++it;
      continue;
    }
    const host::Path target = folder_ / it->first.hex();
    it = users_.erase(it);
    unmount(target);
    std::error_code ignored;
    std::filesystem::remove(target, ignored);
  }
}

void Layers::sweep() {
  std::lock_guard lock(mutex_);
  std::set<std::string> held;
  for (const auto& [digest, users] : users_) held.insert(digest.hex());
  for (const MountLine& mount : mounts_below(folder_)) {
    if (!held.contains(host::Path(mount.target).filename().string())) unmount(mount.target);
  }
  std::error_code ignored;
  if (!std::filesystem::exists(folder_, ignored)) return;
  for (const std::string& name : host::list_folder(folder_)) {
    if (!held.contains(name)) std::filesystem::remove(folder_ / name, ignored);
  }
}

}  // namespace kiln::machine
