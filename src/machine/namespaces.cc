// Namespaces: see namespaces.h.
#include "machine/namespaces.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/error.h"

namespace kiln::machine {
namespace {

constexpr const char* kFolder = "/run/netns";

[[noreturn]] void fail(std::string_view what, const host::Path& path, int error) {
  const bool denied = error == EPERM || error == EACCES;
  throw Error(denied            ? ErrorCode::denied
              : error == ENOENT ? ErrorCode::not_found
                                : ErrorCode::io,
              fmt::format("{} {}: {}", what, path.string(), std::strerror(error)),
              denied ? "Run it as root (sudo)." : "");
}

// As `ip netns` does: /run/netns is a mount of its own that other mount namespaces see the changes of.
void share_folder() {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  host::make_folders(kFolder);
  if (::mount("", kFolder, "none", MS_SHARED | MS_REC, nullptr) == 0) return;
  if (errno != EINVAL) fail("cannot share", kFolder, errno);
  if (::mount(kFolder, kFolder, "none", MS_BIND | MS_REC, nullptr) != 0) fail("cannot mount", kFolder, errno);
  if (::mount("", kFolder, "none", MS_SHARED | MS_REC, nullptr) != 0) fail("cannot share", kFolder, errno);
}

void run_on_thread(const std::function<void()>& body) {
  std::exception_ptr failure;
  std::thread thread([&] {
    try {
      body();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  thread.join();
  if (failure) std::rethrow_exception(failure);
}

void loopback_up() {
  host::FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) fail("cannot bring up lo in", kFolder, errno);
}

}  // namespace

host::Path namespace_path(const std::string& name) { return host::Path(kFolder) / name; }

bool namespace_exists(const std::string& name) {
  // A name whose mount is gone is an ordinary empty file.
  host::FileDescriptor fd(::open(namespace_path(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  struct stat own {};
  struct stat that {};
  return ::stat("/proc/self/ns/net", &own) == 0 && ::fstat(fd.get(), &that) == 0 && own.st_dev == that.st_dev;
}

void make_namespace(const std::string& name) {
  if (namespace_exists(name)) return;
  share_folder();
  const host::Path path = namespace_path(name);
  host::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0444));
  if (!file) fail("cannot make", path, errno);
  run_on_thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) fail("cannot make the network namespace", path, errno);
    loopback_up();
    if (::mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) {
      fail("cannot name the network namespace", path, errno);
    }
  });
}

void remove_namespace(const std::string& name) {
  const host::Path path = namespace_path(name);
  while (::umount2(path.c_str(), MNT_DETACH) == 0) {
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail("cannot remove", path, errno);
}

std::vector<std::string> namespaces_with_prefix(const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code missing;
  if (!std::filesystem::exists(kFolder, missing)) return names;
  for (const std::string& name : host::list_folder(kFolder)) {
    if (name.starts_with(prefix)) names.push_back(name);
  }
  return names;
}

void run_in_namespace(const host::Path& path, const std::function<void()>& body) {
  host::FileDescriptor ns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!ns) fail("cannot open the network namespace", path, errno);
  run_on_thread([&] {
    if (::setns(ns.get(), CLONE_NEWNET) != 0) fail("cannot enter the network namespace", path, errno);
    body();
  });
}

host::FileDescriptor open_socket_in(const host::Path& path, int domain, int type) {
  host::FileDescriptor socket;
  run_in_namespace(path, [&] {
    socket = host::FileDescriptor(::socket(domain, type, 0));
    if (!socket) fail("cannot make a socket in", path, errno);
  });
  return socket;
}

}  // namespace kiln::machine
