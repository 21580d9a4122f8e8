// Loop device: see internal/loop_device.h.
#include "machine/internal/loop_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace kiln::machine {
namespace {

constexpr int kLoopTries = 64;  // others on this host may take the device that the kernel has just named as free

}  // namespace

host::FileDescriptor loop_device(const host::Path& file, bool read_only, std::string& device) {
  const host::FileDescriptor backing(::open(file.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!backing) throw Error(ErrorCode::io, fmt::format("cannot open {}: {}", file.string(), std::strerror(errno)));
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
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? static_cast<unsigned>(LO_FLAGS_READ_ONLY) : 0u);
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
    if (errno != EBUSY) break;
  }
  throw Error(ErrorCode::unsupported, fmt::format("no loop device for {}: {}", file.string(), std::strerror(errno)),
              "Free loop devices (losetup -a shows them).");
}

}  // namespace kiln::machine
