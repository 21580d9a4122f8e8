// HAProxy socket: asks HAProxy's admin or master socket one thing and reads the whole answer.
#include "region/elb/haproxy_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"

namespace kiln::region::elb {

namespace {

constexpr std::size_t kAnswerMax = 64U << 20U;
// HAProxy reads a command into one buffer of 16 KiB (tune.bufsize) and keeps a part of it for itself.
constexpr std::size_t kCommandMax = 8U << 10U;

host::FileDescriptor connect_to(const host::Path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = path.string();
  if (name.size() >= sizeof address.sun_path) {
    throw Error(ErrorCode::usage, fmt::format("the path of HAProxy's socket is too long for the kernel: {}", name),
                "Choose a shorter KILN_HOME.");
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  host::FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw Error(ErrorCode::io, fmt::format("cannot make a socket: {}", std::strerror(errno)));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw Error(ErrorCode::unavailable, fmt::format("HAProxy does not answer at {}: {}", name, std::strerror(errno)));
  }
  return fd;
}

void send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) throw Error(ErrorCode::unavailable, fmt::format("HAProxy's socket broke: {}", std::strerror(errno)));
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

// HAProxy's words for a command that it did not carry out; it has no status code.
bool refused(std::string_view line) {
  static constexpr std::array<std::string_view, 9> kRefusals{"No such",           "Unknown",     "Invalid",
                                                             "Require",           "'set server", "Absolute weight",
                                                             "Proxy is disabled", "Can't find",  "Unable"};
  return std::any_of(kRefusals.begin(), kRefusals.end(),
                     [&](std::string_view start) { return line.starts_with(start); });
}

void check_answer(const std::string& answer, std::string_view asked) {
  for (const std::string& line : split(answer, '\n')) {
    if (refused(line)) throw Error(ErrorCode::conflict, fmt::format("HAProxy refused '{}': {}", asked, trim(line)));
  }
}

}  // namespace

std::string ask_haproxy(const host::Path& socket, std::string_view command, Duration timeout) {
  host::FileDescriptor fd = connect_to(socket);
  send_all(fd.get(), std::string(command) + "\n");
  // The master keeps the connection open after a worker's answer unless our side is closed.
  shutdown(fd.get(), SHUT_WR);
  host::SystemClock clock;
  Duration deadline = clock.uptime() + timeout;
  std::string answer;
  std::array<char, 65'536> buffer{};
  for (;;) {
    Duration left = deadline - clock.uptime();
    pollfd wait{fd.get(), POLLIN, 0};
    int ready = left > Duration::zero() ? poll(&wait, 1, static_cast<int>(left.count())) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      throw Error(ErrorCode::timeout, fmt::format("HAProxy at {} did not answer '{}' within {}", socket.string(),
                                                  command.substr(0, 80), format_duration(timeout)));
    }
    ssize_t count = read(fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(ErrorCode::unavailable, fmt::format("HAProxy's socket broke: {}", std::strerror(errno)));
    if (count == 0) return answer;
    answer.append(buffer.data(), static_cast<std::size_t>(count));
    if (answer.size() > kAnswerMax) throw Error(ErrorCode::io, "HAProxy's answer is over 64 MiB");
  }
}

void tell_haproxy(const host::Path& socket, const std::vector<std::string>& commands) {
  std::string batch;
  auto flush = [&] {
    if (!batch.empty()) check_answer(ask_haproxy(socket, batch), batch);
    batch.clear();
  };
  for (const std::string& command : commands) {
    if (batch.size() + command.size() + 1 > kCommandMax) flush();
    if (!batch.empty()) batch += ';';
    batch += command;
  }
  flush();
}

void replace_map(const host::Path& socket, const host::Path& map, std::string_view content) {
  std::string file = map.string();
  std::string prepare = fmt::format("prepare map {}", file);
  std::string answer = ask_haproxy(socket, prepare);
  std::size_t colon = answer.find("New version created: ");
  if (colon == std::string::npos)
    throw Error(ErrorCode::conflict, fmt::format("HAProxy refused '{}': {}", prepare, answer));
  auto version = parse_int(trim(std::string_view(answer).substr(colon + 21)));
  if (!version) throw Error(ErrorCode::conflict, fmt::format("HAProxy gave no version for '{}': {}", prepare, answer));
  while (!content.empty()) {
    std::size_t size = content.size();
    if (size > kCommandMax) size = content.rfind('\n', kCommandMax) + 1;
    // The blank line that ends the payload is the last newline, which ask_haproxy adds.
    std::string add = fmt::format("add map @{} {} <<\n{}", *version, file, content.substr(0, size));
    check_answer(ask_haproxy(socket, add), fmt::format("add map @{} {}", *version, file));
    content.remove_prefix(size);
  }
  check_answer(ask_haproxy(socket, fmt::format("commit map @{} {}", *version, file)), "commit map");
}

}  // namespace kiln::region::elb
