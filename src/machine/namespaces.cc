// Namespaces: see namespaces.h.
#include "machine/namespaces.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>

#include "machine/internal/fail.h"

namespace kiln::machine {
namespace {

constexpr const char* kFolder = "/run/netns";
constexpr const char* kOurs = "/run/kiln/netns";  // there when it was Kiln that made kFolder a mount

// Whoever changes /run/netns itself holds the kernel's lock on that folder, as `ip netns` does too. One that was
// removed meanwhile is made again.
host::FileDescriptor lock_folder() {
  while (true) {
    host::make_folders(kFolder);
    host::FileDescriptor folder(::open(kFolder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder && errno == ENOENT) continue;
    if (!folder) fail("cannot open", kFolder);
    while (::flock(folder.get(), LOCK_EX) != 0) {
      if (errno != EINTR) fail("cannot lock", kFolder);
    }
    struct stat locked {};
    struct stat named {};
    if (::fstat(folder.get(), &locked) == 0 && ::stat(kFolder, &named) == 0 && locked.st_ino == named.st_ino &&
        locked.st_dev == named.st_dev) {
      return folder;
    }
  }
}

// As `ip netns` does: /run/netns is a mount of its own that other mount namespaces see the changes of. Under the lock.
void share_folder() {
  if (::mount("", kFolder, "none", MS_SHARED | MS_REC, nullptr) == 0) return;
  if (errno != EINVAL) fail("cannot share", kFolder);
  host::make_folders(host::Path(kOurs).parent_path());
  host::write_file(kOurs, "/run/netns was made a mount by Kiln\n");
  if (::mount(kFolder, kFolder, "none", MS_BIND | MS_REC, nullptr) != 0) fail("cannot mount", kFolder);
  if (::mount("", kFolder, "none", MS_SHARED | MS_REC, nullptr) != 0) fail("cannot share", kFolder);
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
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) fail("cannot bring up lo in", kFolder);
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
  const host::Path path = namespace_path(name);
  {
    const host::FileDescriptor lock = lock_folder();
    share_folder();
    // From here on the folder is not empty, and stays.
    const host::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0444));
    if (!file) fail("cannot make", path);
  }
  run_on_thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) fail("cannot make the network namespace", path);
    loopback_up();
    if (::mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) {
      fail("cannot name the network namespace", path);
    }
  });
}

void remove_namespace(const std::string& name) {
  const host::Path path = namespace_path(name);
  while (::umount2(path.c_str(), MNT_DETACH) == 0) {
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail("cannot remove", path);
}

void unshare_namespaces() {
  std::error_code ignored;
  if (!std::filesystem::exists(kOurs, ignored)) return;
  const host::FileDescriptor lock = lock_folder();
  if (!host::list_folder(kFolder).empty()) return;
  // Our own look at it keeps it busy.
  ::umount2(kFolder, MNT_DETACH | UMOUNT_NOFOLLOW);
  ::rmdir(kFolder);
  std::filesystem::remove(kOurs, ignored);
  ::rmdir(host::Path(kOurs).parent_path().c_str());  // not empty while a region has a slot
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
  if (!ns) fail("cannot open the network namespace", path);
  run_on_thread([&] {
    if (::setns(ns.get(), CLONE_NEWNET) != 0) fail("cannot enter the network namespace", path);
    body();
  });
}

void run_in_mounts_of(pid_t process, const std::function<void()>& body) {
  const host::Path path = fmt::format("/proc/{}/ns/mnt", process);
  host::FileDescriptor ns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!ns) fail("cannot open the mount namespace", path);
  run_on_thread([&] {
    // Threads that share a working directory with others may not change their mounts.
    if (::unshare(CLONE_FS) != 0 || ::setns(ns.get(), CLONE_NEWNS) != 0) {
      fail("cannot enter the mount namespace", path);
    }
    body();
  });
}

}  // namespace kiln::machine
