// Notifications: who may tell a supervisor which process is the guest's init.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "machine/internal/notifications.h"

namespace kiln::machine {
namespace {

std::string address() { return fmt::format("@kiln-notifications-test-{}", ::getpid()); }

void send_to(const std::string& where, std::string_view text) {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path + 1, where.data() + 1, where.size() - 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + where.size());
  ::sendto(fd, text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&to), size);
  ::close(fd);
}

// From a process of its own, which has ended when this returns.
pid_t send_as_another(const std::string& where, std::string_view text) {
  const pid_t child = ::fork();
  if (child == 0) {
    send_to(where, text);
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  return child;
}

TEST(Notifications, AreTakenFromTheProcessThatIsExpected) {
  Notifications notifications(address());
  EXPECT_FALSE(notifications.take(::getpid())) << "nothing has come";
  const pid_t sender = send_as_another(address(), "READY=1\nX_NSPAWN_LEADER_PID=7\n");
  EXPECT_EQ(notifications.take(sender), "READY=1\nX_NSPAWN_LEADER_PID=7\n");
}

TEST(Notifications, OfAnybodyElseSayNothing) {
  Notifications notifications(address());
  const pid_t stranger = send_as_another(address(), "READY=1\nX_NSPAWN_LEADER_PID=1\n");
  EXPECT_NE(stranger, ::getpid());
  EXPECT_EQ(notifications.take(::getpid()), "");
  EXPECT_FALSE(notifications.take(::getpid())) << "it was taken out all the same";
}

TEST(Notifications, AnAddressThatIsTakenIsAnError) {
  Notifications first(address());
  EXPECT_THROW(Notifications{address()}, Error);
}

}  // namespace
}  // namespace kiln::machine
