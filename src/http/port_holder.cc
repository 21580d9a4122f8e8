// PortHolder: reads the kernel's table of sockets, then looks who has the socket open.
#include "http/port_holder.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "base/text.h"

namespace kiln::http {

namespace {

// The inode of the socket that listens on the port, or empty. proc(5): local address in field 2, state in 4, inode
// in 10.
std::string listening_inode(const char* table, std::uint16_t port) {
  std::ifstream file(table);
  const std::string tail = fmt::format(":{:04X}", port);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::array<std::string, 10> field;
    for (std::string& text : field) {
      fields >> text;
    }
    if (field[1].ends_with(tail) && field[3] == "0A") {
      return field[9];
    }
  }
  return {};
}

}  // namespace

std::string port_holder(std::uint16_t port) {
  std::string inode = listening_inode("/proc/net/tcp", port);
  if (inode.empty()) {
    inode = listening_inode("/proc/net/tcp6", port);
  }
  if (inode.empty()) {
    return {};
  }
  const std::string wanted = "socket:[" + inode + "]";
  std::error_code error;
  for (const auto& process : std::filesystem::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename();
    if (!parse_int(pid)) {
      continue;
    }
    std::error_code gone;
    for (std::filesystem::directory_iterator fd(process.path() / "fd", gone), end; !gone && fd != end;
         fd.increment(gone)) {
      std::error_code closed;
      if (std::filesystem::read_symlink(fd->path(), closed) == wanted) {
        std::string name;
        std::ifstream comm(process.path() / "comm");
        std::getline(comm, name);
        return fmt::format("{} (pid {})", name, pid);
      }
    }
  }
  return {};
}

}  // namespace kiln::http
