// Loop devices: see internal/loop_device.h.
#include "machine/internal/loop_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "machine/internal/fail.h"
#include "machine/internal/quick_file.h"

namespace kiln::machine {
namespace {

constexpr int kLoopTries = 64;       // others on this host may take the device that the kernel has just named as free
constexpr Duration kClearPause{10};  // between looks whether the last one has closed a device

host::FileDescriptor configure(const host::Path& file, unsigned flags, std::string& device, const Extent& part = {}) {
  const bool read_only = (flags & static_cast<unsigned>(LO_FLAGS_READ_ONLY)) != 0;
  const host::FileDescriptor backing(::open(file.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!backing) fail("cannot open", file);
  const host::FileDescriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) {
    throw Error(errno == EACCES || errno == EPERM ? ErrorCode::denied : ErrorCode::unsupported,
                fmt::format("cannot open /dev/loop-control: {}", std::strerror(errno)),
                "Run it as root, and load the kernel module: modprobe loop");
  }
  for (int attempt = 0; attempt < kLoopTries; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) break;
    device = fmt::format("/dev/loop{}", number);
    host::FileDescriptor loop(::open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (!loop) continue;
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing.get());
    config.info.lo_flags = flags;
    config.info.lo_offset = part.offset;
    config.info.lo_sizelimit = part.size;
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
    if (errno != EBUSY) break;
  }
  throw Error(ErrorCode::unsupported, fmt::format("no loop device for {}: {}", file.string(), std::strerror(errno)),
              "Free loop devices (losetup -a shows them).");
}

// Empty: it has none, or loses it just now.
std::string backing_file(const host::Path& sysfs) {
  try {
    return std::string(trim(read_quick_file(sysfs / "loop/backing_file").value_or("")));
  } catch (const Error&) {
    return {};
  }
}

host::FileDescriptor open_device(const std::string& device, int flags) {
  host::FileDescriptor fd(::open(device.c_str(), flags | O_CLOEXEC));
  if (!fd) fail("cannot open", device);
  return fd;
}

}  // namespace

host::FileDescriptor loop_device(const host::Path& file, bool read_only, std::string& device, const Extent& part) {
  const unsigned flags = LO_FLAGS_AUTOCLEAR | (read_only ? static_cast<unsigned>(LO_FLAGS_READ_ONLY) : 0u);
  return configure(file, flags, device, part);
}

std::string keep_loop_device(const host::Path& file) {
  const auto bound = loop_devices(file);
  if (!bound.empty()) return bound.begin()->second;
  std::string device;
  configure(file, 0, device);
  return device;
}

std::map<host::Path, std::string> loop_devices(const host::Path& below) {
  std::error_code ignored;
  const std::string wanted = std::filesystem::weakly_canonical(below, ignored).string();
  std::map<host::Path, std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block", ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("loop")) continue;
    std::string path = backing_file(entry.path());
    constexpr std::string_view kRemoved = " (deleted)";
    if (path.ends_with(kRemoved)) path.resize(path.size() - kRemoved.size());
    if (path == wanted || path.starts_with(wanted + "/")) found[path] = "/dev/" + name;
  }
  return found;
}

bool is_claimed(const std::string& device) {
  // open(2): EBUSY with O_EXCL when the device is in use by the system, as by a mount.
  const host::FileDescriptor fd(::open(device.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  return !fd && errno == EBUSY;
}

bool drop_loop_device(const host::Path& file, Duration patience) {
  host::SystemClock clock;
  const Duration end = clock.uptime() + patience;
  while (true) {
    const auto bound = loop_devices(file);
    if (bound.empty()) return true;
    for (const auto& [path, device] : bound) {
      const host::FileDescriptor open = open_device(device, O_RDONLY);
      // Now that we have it open it is given to nobody else; before, it may have been.
      if (loop_devices(path).contains(path)) ::ioctl(open.get(), LOOP_CLR_FD, 0);
    }
    if (loop_devices(file).empty()) return true;
    if (clock.uptime() >= end) return false;
    clock.sleep(kClearPause);
  }
}

void resize_loop_device(const std::string& device) {
  if (::ioctl(open_device(device, O_RDWR).get(), LOOP_SET_CAPACITY, 0) != 0) fail("cannot resize", device);
}

}  // namespace kiln::machine
