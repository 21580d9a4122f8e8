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
#include "base/text.h"
#include "host/process.h"

namespace kiln::host {
namespace {

bool is_listed(const std::string& file_system, const Path& known) {
  for (const std::string& line : split(read_file(known), '\n')) {
    if (line.ends_with("\t" + file_system)) return true;
  }
  return false;
}

void make_mounts_private() {
  if (::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0) return;
  const int code = errno;
  throw Error(code == EPERM ? ErrorCode::denied : ErrorCode::io,
              fmt::format("making a mount namespace: {}", std::strerror(code)),
              code == EPERM ? "run it again with sudo" : "");
}

}  // namespace

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

void need_file_system(const std::string& file_system, const Path& known) {
  if (is_listed(file_system, known)) return;
  if (!find_program("modprobe").empty()) {
    Command command;
    command.argv = {"modprobe", "-q", file_system};
    run(command);
    if (is_listed(file_system, known)) return;
  }
  throw Error(ErrorCode::unsupported, fmt::format("this kernel has no file system '{}'", file_system),
              "install Debian's own kernel (apt-get install linux-image-amd64) and boot it");
}

}  // namespace kiln::host
