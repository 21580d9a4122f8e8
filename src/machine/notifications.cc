// Notifications: see internal/notifications.h.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/error.h"
#include "machine/internal/notifications.h"

namespace kiln::machine {

Notifications::Notifications(const std::string& text)
    : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  KILN_ASSERT(text.starts_with('@') && text.size() <= sizeof address.sun_path, "an abstract address that fits");
  std::memcpy(address.sun_path + 1, text.data() + 1, text.size() - 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size());
  const int on = 1;
  if (!socket_ || ::setsockopt(socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    throw Error(ErrorCode::io, fmt::format("cannot bind {}: {}", text, std::strerror(errno)));
  }
}

std::optional<std::string> Notifications::take(pid_t sender) {
  char buffer[4096];
  // Room for the credentials and for no file: descriptors that come along are closed by the kernel.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
  iovec part{buffer, sizeof buffer};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  if (got < 0) return std::nullopt;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS ||
      header->cmsg_len < CMSG_LEN(sizeof(ucred))) {
    return std::string();
  }
  ucred who{};
  std::memcpy(&who, CMSG_DATA(header), sizeof who);
  if (who.pid != sender || who.uid != ::geteuid()) return std::string();
  return std::string(buffer, static_cast<std::size_t>(got));
}

}  // namespace kiln::machine
