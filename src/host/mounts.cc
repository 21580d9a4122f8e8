// Mounts: unshare, and slave instead of shared.
#include "host/mounts.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <thread>

#include "base/error.h"

namespace kiln::host {

void make_mounts_private() {
  if (::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0) return;
  const int code = errno;
  throw Error(code == EPERM ? ErrorCode::denied : ErrorCode::io,
              fmt::format("making a mount namespace: {}", std::strerror(code)),
              code == EPERM ? "run it again with sudo" : "");
}

void with_private_mounts(const std::function<void()>& body) {
  std::exception_ptr failure;
  std::thread thread([&] {
    try {
      make_mounts_private();
      body();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace kiln::host
