// GuestBus: see internal/guest_bus.h.
#include "machine/internal/guest_bus.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"
#include "host/clock.h"

namespace kiln::machine {
namespace {

constexpr const char* kSocket = "private";  // in /run/systemd
constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
constexpr const char* kUnit = "org.freedesktop.systemd1.Unit";
constexpr const char* kServiceUnit = "org.freedesktop.systemd1.Service";
constexpr Duration kHandshake{5'000};
constexpr std::uint64_t kAnswerUsec = 5'000'000;  // an init that needs longer is overloaded or hostile
constexpr int kDrainMax = 256;                    // messages at once
constexpr int kExited = 1;                        // CLD_EXITED of waitid(2), as ExecMainCode has it

// Puts the script into a file, as AWS's agent does, so that its "#!" counts. Removed when the unit ends, however it
// does.
constexpr const char* kFolder = "/run/kiln-commands";
constexpr const char* kShell =
    "umask 077; mkdir -p ${0%/*} && cat >$0 && chmod 700 $0 || exit 126; umask 022; exec /bin/sh -c $0 </dev/null";

// systemd.service(5): "$$" is one dollar sign of a command line.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '$') out += '$';
    out += c;
  }
  return out;
}

Error silent(int number) {
  return {ErrorCode::unavailable, fmt::format("its init does not answer: {}", std::strerror(-number))};
}

constexpr std::array<const char*, 6> kNamespaces = {"ns/pid", "ns/mnt", "ns/net", "ns/ipc", "ns/uts", "ns/cgroup"};
constexpr unsigned kConnectSeconds = 5;

[[noreturn]] void fail_child() { ::_exit(errno == 0 ? EIO : errno); }

// systemd talks to nobody whose process it cannot see, so a process inside the machine connects the socket, which is
// then ours. What is inside can be taken over by the machine's root: it has no capability, no way to one, no file of
// the host's but the socket, and lives for one call. In a child of the agent; never returns.
[[noreturn]] void connect_within(const std::array<host::FileDescriptor, kNamespaces.size()>& namespaces, int folder,
                                 int socket) {
  ::alarm(kConnectSeconds);
  for (const host::FileDescriptor& one : namespaces) {
    if (::setns(one.get(), 0) != 0) fail_child();
  }
  if (::fchdir(folder) != 0 || ::dup3(socket, 0, 0) < 0) fail_child();
  ::syscall(SYS_close_range, 1u, ~0u, 0u);
  for (unsigned long capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::syscall(SYS_capset, &header, none.data()) != 0) fail_child();
  const pid_t inside = ::fork();
  if (inside < 0) fail_child();
  if (inside == 0) {
    ::alarm(kConnectSeconds);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, kSocket, std::strlen(kSocket) + 1);
    if (::connect(0, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail_child();
    ::_exit(0);
  }
  int status = 0;
  if (::waitpid(inside, &status, 0) != inside || !WIFEXITED(status)) ::_exit(ETIMEDOUT);
  ::_exit(WEXITSTATUS(status));
}

struct MessageUnref {
  void operator()(sd_bus_message* message) const { sd_bus_message_unref(message); }
};
using Message = std::unique_ptr<sd_bus_message, MessageUnref>;

struct BusError {
  sd_bus_error error{};
  ~BusError() { sd_bus_error_free(&error); }
};

}  // namespace

host::FileDescriptor connect_to_init(const host::ProcessRef& init) {
  const auto unavailable = [](const std::string& what) {
    return Error(ErrorCode::unavailable, fmt::format("{}: {}", what, std::strerror(errno)));
  };
  const auto open_of_init = [&](const char* name, int flags) {
    host::FileDescriptor file(::open(fmt::format("/proc/{}/{}", init.pid, name).c_str(), flags | O_CLOEXEC));
    if (!file) throw unavailable(name);
    return file;
  };
  const host::FileDescriptor root = open_of_init("root", O_PATH | O_DIRECTORY);
  std::array<host::FileDescriptor, kNamespaces.size()> namespaces;
  for (std::size_t i = 0; i < kNamespaces.size(); ++i) namespaces[i] = open_of_init(kNamespaces[i], O_RDONLY);
  if (!host::alive(init)) throw Error(ErrorCode::unavailable, "its init has ended");
  const auto find = [](int from, const char* path, std::uint64_t flags) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC | flags;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return host::FileDescriptor(static_cast<int>(::syscall(SYS_openat2, from, path, &how, sizeof how)));
  };
  const host::FileDescriptor folder = find(root.get(), "run/systemd", O_DIRECTORY);
  const host::FileDescriptor file = find(folder.get(), kSocket, 0);
  if (!file) throw unavailable("/run/systemd/private");
  struct stat kind {};
  if (::fstat(file.get(), &kind) != 0 || !S_ISSOCK(kind.st_mode)) {
    throw Error(ErrorCode::denied, "/run/systemd/private is not a socket");
  }
  host::FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throw unavailable("a socket");
  const pid_t child = ::fork();
  if (child == 0) connect_within(namespaces, folder.get(), socket.get());
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) throw unavailable("a process");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : ETIMEDOUT;
    throw unavailable("connecting to its init");
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid != init.pid) {
    throw Error(ErrorCode::denied, "it is not init that listens on /run/systemd/private");
  }
  return socket;
}

void GuestBus::Close::operator()(sd_bus* bus) const {
  sd_bus_close(bus);
  sd_bus_unref(bus);
}

GuestBus::GuestBus(host::FileDescriptor socket) {
  sd_bus* bus = nullptr;
  if (const int failure = sd_bus_new(&bus); failure < 0) throw silent(failure);
  bus_.reset(bus);
  const int fd = socket.release();
  if (const int failure = sd_bus_set_fd(bus, fd, fd); failure < 0) {
    ::close(fd);
    throw silent(failure);
  }
  sd_bus_set_method_call_timeout(bus, kAnswerUsec);
  if (const int failure = sd_bus_start(bus); failure < 0) throw silent(failure);
  host::SystemClock clock;
  const Duration end = clock.uptime() + kHandshake;
  while (sd_bus_is_ready(bus) == 0) {
    if (clock.uptime() > end) throw silent(-ETIMEDOUT);
    const int did = sd_bus_process(bus, nullptr);
    if (did < 0) throw silent(did);
    if (did == 0) sd_bus_wait(bus, 50'000);
  }
}

GuestBus::~GuestBus() = default;

void GuestBus::start(const std::string& unit, const Command& command, const CommandFiles& files) {
  sd_bus_message* made = nullptr;
  int failure = sd_bus_message_new_method_call(bus_.get(), &made, kService, kPath, kManager, "StartTransientUnit");
  const Message message(made);
  const auto add = [&](auto... arguments) {
    if (failure >= 0) failure = sd_bus_message_append(made, arguments...);
  };
  const auto open = [&](char type, const char* contents) {
    if (failure >= 0) failure = sd_bus_message_open_container(made, type, contents);
  };
  const auto close = [&] {
    if (failure >= 0) failure = sd_bus_message_close_container(made);
  };
  const std::string directory = command.directory.empty() ? "/usr/bin" : command.directory;
  const std::string shell = escaped(kShell);
  const std::string file = fmt::format("{}/{}", kFolder, command.id);
  add("ss", unit.c_str(), "fail");
  open('a', "(sv)");
  add("(sv)", "Description", "s", "A command from outside");
  add("(sv)", "Type", "s", "exec");
  // Until it is removed: its exit status is to be read.
  add("(sv)", "RemainAfterExit", "b", 1);
  // What the script leaves in the background goes on, as with AWS's agent.
  add("(sv)", "KillMode", "s", "process");
  add("(sv)", "IgnoreSIGPIPE", "b", 0);
  add("(sv)", "WorkingDirectory", "s", directory.c_str());
  add("(sv)", "StandardInputFileDescriptor", "h", files.in);
  add("(sv)", "StandardOutputFileDescriptor", "h", files.out);
  add("(sv)", "StandardErrorFileDescriptor", "h", files.err);
  open('r', "sv");
  add("s", "Environment");
  open('v', "as");
  open('a', "s");
  for (const auto& [name, value] : command.environment) add("s", (name + "=" + value).c_str());
  close();
  close();
  close();
  add("(sv)", "ExecStart", "a(sasb)", 1, "/bin/sh", 4, "/bin/sh", "-c", shell.c_str(), file.c_str(), 0);
  add("(sv)", "ExecStopPost", "a(sasb)", 1, "/bin/rm", 3, "/bin/rm", "-f", file.c_str(), 0);
  close();
  add("a(sa(sv))", 0);
  if (failure < 0) throw Error(ErrorCode::io, fmt::format("cannot write its unit: {}", std::strerror(-failure)));
  BusError error;
  failure = sd_bus_call(bus_.get(), made, kAnswerUsec, &error.error, nullptr);
  if (failure >= 0) return;
  // An answer that is a refusal; everything else leaves open whether it has begun.
  const bool refused = error.error.name != nullptr && sd_bus_error_get_errno(&error.error) != ETIMEDOUT &&
                       sd_bus_is_open(bus_.get()) > 0;
  if (refused) throw Error(ErrorCode::conflict, fmt::format("its init refuses: {}", error.error.message));
  throw silent(failure);
}

std::optional<GuestBus::UnitState> GuestBus::state(const std::string& unit) {
  char* encoded = nullptr;
  if (const int failure = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.c_str(), &encoded); failure < 0) {
    throw silent(failure);
  }
  const std::unique_ptr<char, decltype(&::free)> path(encoded, &::free);
  const auto text = [&](const char* property) {
    BusError error;
    char* value = nullptr;
    const int failure =
        sd_bus_get_property_string(bus_.get(), kService, encoded, kUnit, property, &error.error, &value);
    if (failure < 0) throw silent(failure);
    const std::unique_ptr<char, decltype(&::free)> owned(value, &::free);
    return std::string(value);
  };
  const auto number = [&](const char* property, char type) {
    BusError error;
    std::int32_t value = 0;
    const int failure =
        sd_bus_get_property_trivial(bus_.get(), kService, encoded, kServiceUnit, property, &error.error, type, &value);
    if (failure < 0) throw silent(failure);
    return value;
  };
  // Also of a process that has ended. Before the states: a unit that waits for its job is "dead" too.
  UnitState state;
  state.running = number("ExecMainPID", 'u') != 0;
  const std::string active = text("ActiveState");
  const std::string sub = text("SubState");
  if (active == "inactive" && text("LoadState") == "not-found") return std::nullopt;
  state.ended = active == "failed" || sub == "exited" || (sub == "dead" && state.running);
  if (!state.ended) return state;
  const int code = number("ExecMainCode", 'i');
  const int status = number("ExecMainStatus", 'i');
  state.status = code == kExited ? status : 128 + status;
  return state;
}

void GuestBus::kill(const std::string& unit) {
  BusError error;
  sd_bus_call_method(bus_.get(), kService, kPath, kManager, "KillUnit", &error.error, nullptr, "ssi", unit.c_str(),
                     "all", SIGKILL);
}

void GuestBus::remove(const std::string& unit) {
  BusError stopping;
  sd_bus_call_method(bus_.get(), kService, kPath, kManager, "StopUnit", &stopping.error, nullptr, "ss", unit.c_str(),
                     "replace");
  BusError resetting;
  sd_bus_call_method(bus_.get(), kService, kPath, kManager, "ResetFailedUnit", &resetting.error, nullptr, "s",
                     unit.c_str());
}

int GuestBus::descriptor() const { return sd_bus_get_fd(bus_.get()); }

std::optional<int> GuestBus::drain() {
  int messages = 0;
  while (messages < kDrainMax) {
    const int did = sd_bus_process(bus_.get(), nullptr);
    if (did < 0) return std::nullopt;
    if (did == 0) break;
    ++messages;
  }
  return sd_bus_is_open(bus_.get()) > 0 ? std::optional(messages) : std::nullopt;
}

}  // namespace kiln::machine
