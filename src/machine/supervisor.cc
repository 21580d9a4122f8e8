// Supervisor: see supervisor.h. One thread, one poll over the machine's output, its notifications and our signals.
#include "machine/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "machine/internal/data_volume.h"
#include "machine/internal/loop_control.h"
#include "machine/internal/notifications.h"
#include "machine/internal/quick_file.h"

namespace kiln::machine {
namespace {

constexpr int kRebooted = 133;  // systemd-nspawn's status when the container has rebooted and --keep-unit is given
constexpr int kPowerOff = 4;    // SIGRTMIN+4 makes systemd power off, SIGRTMIN+5 reboot (systemd(1), "Signals")
constexpr int kReboot = 5;
constexpr int kListensPause = 10;       // ms between looks whether init takes signals yet
constexpr Duration kEndOfInit{5000};    // a killed init takes its whole namespace with it
constexpr Duration kRestartPause{100};  // a machine that only reboots must not take the host's time
constexpr const char* kStatusFile = "status";
constexpr const char* kConsoleFile = "console.log";

// The console's file: appended to, and cut to its tail when it has grown.
class Console {
 public:
  explicit Console(host::Path path) : path_(std::move(path)) {
    tail_ = read_quick_file(path_).value_or("");
    cut_tail();
    rewrite();
  }

  void append(std::string_view raw) {
    std::string text;
    std::copy_if(raw.begin(), raw.end(), std::back_inserter(text), [](char c) { return c != '\r' && c != '\0'; });
    tail_ += text;
    cut_tail();
    if (size_ + text.size() > kConsoleFileMax) return rewrite();
    // A full disk loses output, not the machine.
    if (::write(fd_.get(), text.data(), text.size()) > 0) size_ += text.size();
  }

 private:
  void cut_tail() {
    if (tail_.size() > 2 * kConsoleKept) tail_.erase(0, tail_.size() - kConsoleKept);
  }
  void rewrite() {
    if (tail_.size() > kConsoleKept) tail_.erase(0, tail_.size() - kConsoleKept);
    try {
      write_quick_file(path_, tail_);
    } catch (const Error&) {
      return;
    }
    fd_ = host::FileDescriptor(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    size_ = tail_.size();
  }

  host::Path path_;
  host::FileDescriptor fd_;
  std::string tail_;
  std::size_t size_ = 0;
};

void write_text(const host::Path& path, std::string_view text) {
  const host::FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd && ::write(fd.get(), text.data(), text.size()) < 0) return;
}

// Our cgroup where cgroup v2 is all there is, else empty. There a cgroup with controllers for its children may hold no
// process itself, so we move into a child and give systemd-nspawn the parent, as it expects of a delegated unit.
host::Path unified_cgroup() {
  std::error_code ignored;
  if (!std::filesystem::exists("/sys/fs/cgroup/cgroup.controllers", ignored)) return {};
  for (const std::string& line : split(read_quick_file("/proc/self/cgroup").value_or(""), '\n')) {
    if (line.starts_with("0::/") && line.size() > 4) return "/sys/fs/cgroup" + line.substr(3);
  }
  return {};
}

class Supervisor {
 public:
  Supervisor(host::Path folder, std::string name, char** program)
      : folder_(std::move(folder)), name_(std::move(name)), program_(program), console_(folder_ / kConsoleFile) {}

  int run() {
    status_.supervisor = host::self();
    write_text("/proc/self/oom_score_adj", "-900");  // of the machine's processes the last one to go
    cgroup_ = unified_cgroup();
    if (!cgroup_.empty()) {
      std::error_code ignored;
      std::filesystem::create_directory(cgroup_ / "kiln-supervisor", ignored);
      write_text(cgroup_ / "kiln-supervisor/cgroup.procs", "0");
    }
    block_signals();
    open_notifications();
    int wait_status = 0;
    do {
      if (status_.boot > 0) host::SystemClock().sleep(kRestartPause);
      ++status_.boot;
      status_.init = {};
      restart_ = false;
      asking_ = stopping_;
      report();
      start();
      say(fmt::format("boot {} begins", status_.boot));
      wait_status = serve();
      // Whoever kills systemd-nspawn leaves init without a parent, not dead.
      if (status_.init.pid > 0) host::end_process(status_.init, kEndOfInit, SIGKILL);
    } while (!stopping_ && (restart_ || (status_.init.pid > 0 && exited_with(wait_status, kRebooted))));
    status_.failed = status_.init.pid == 0 && status_.boot == 1;
    status_.init = {};
    status_.ended = ending(wait_status);
    say(fmt::format("{}{}", status_.ended, stopping_ ? ", as it was asked to" : ""));
    report();
    return 0;
  }

 private:
  static bool exited_with(int wait_status, int code) {
    return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == code;
  }

  static std::string ending(int wait_status) {
    if (WIFSIGNALED(wait_status)) return fmt::format("killed by signal {}", WTERMSIG(wait_status));
    if (exited_with(wait_status, 0)) return "powered off";
    return fmt::format("init ended with status {}", WEXITSTATUS(wait_status));
  }

  // Into supervisor.log, or the unit's journal.
  void say(const std::string& what) const {
    std::fprintf(stderr, "%s %s: %s\n", format_iso8601(host::SystemClock().now()).c_str(), name_.c_str(), what.c_str());
  }

  void report() { write_quick_file(folder_ / kStatusFile, render(status_)); }

  void block_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD}) sigaddset(&signals, number);
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    signals_ = host::FileDescriptor(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  void open_notifications() {
    notify_address_ = fmt::format("@kiln-notify-{}-{}", name_, ::getpid());
    notify_.emplace(notify_address_);
  }

  void start() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(ErrorCode::io, "cannot make a pipe");
    output_ = host::FileDescriptor(ends[0]);
    const host::FileDescriptor input(ends[1]);
    if (!cgroup_.empty()) clear_controllers();
    const std::vector<std::string> arguments = program_of_this_boot();
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const pid_t parent = ::getpid();
    child_ = ::fork();
    if (child_ < 0) throw Error(ErrorCode::io, fmt::format("cannot fork: {}", std::strerror(errno)));
    if (child_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    if (!cgroup_.empty()) write_text(cgroup_ / "cgroup.procs", "0");
    write_text("/proc/self/oom_score_adj", "0");
    ::setenv("NOTIFY_SOCKET", notify_address_.c_str(), 1);
    // A /sys of its own, in which there is a place for hypervisor/uuid; /proc/sys/net is then writable too: the
    // settings of the machine's own network namespace, as on a computer.
    ::setenv("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network", 1);
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (!forbid_loop_control()) {
      ::dprintf(2, "cannot filter system calls (seccomp): %s\n", std::strerror(errno));
      ::_exit(126);
    }
    ::execvp(argv[0], argv.data());
    ::dprintf(2, "cannot start %s: %s\n", argv[0], std::strerror(errno));
    ::_exit(127);
  }

  // With the volumes that it has now.
  std::vector<std::string> program_of_this_boot() const {
    std::vector<std::string> argv;
    for (char** argument = program_; *argument != nullptr; ++argument) argv.emplace_back(*argument);
    const std::vector<std::string> binds = device_binds(folder_);
    argv.insert(argv.begin() + 1, binds.begin(), binds.end());
    return argv;
  }

  // What the boot before has turned on for its children would keep the next one out.
  void clear_controllers() {
    std::string off;
    for (const std::string& name : split(trim(read_quick_file(cgroup_ / "cgroup.subtree_control").value_or("")), ' ')) {
      if (!name.empty()) off += "-" + name + " ";
    }
    if (!off.empty()) write_text(cgroup_ / "cgroup.subtree_control", off);
  }

  // Until systemd-nspawn has ended; returns its wait status.
  int serve() {
    while (true) {
      std::array<pollfd, 3> fds = {pollfd{output_.get(), POLLIN, 0}, pollfd{notify_->fd(), POLLIN, 0},
                                   pollfd{signals_.get(), POLLIN, 0}};
      if (asking_) ask_init();
      if (::poll(fds.data(), fds.size(), asking_ ? kListensPause : -1) < 0 && errno != EINTR) return 1 << 8;
      if (fds[0].revents != 0) take_output();
      if (fds[1].revents != 0) take_notification();
      if (fds[2].revents == 0) continue;
      if (const auto wait_status = take_signals()) {
        while (output_ && take_output()) {
        }
        return *wait_status;
      }
    }
  }

  bool take_output() {
    char buffer[16384];
    // The pipe may be held by more than systemd-nspawn: never wait for its end.
    pollfd ready{output_.get(), POLLIN, 0};
    if (::poll(&ready, 1, 0) <= 0) return false;
    const ssize_t got = ::read(output_.get(), buffer, sizeof buffer);
    if (got < 0) return errno == EINTR;
    if (got == 0) {
      output_.reset();
      return false;
    }
    console_.append(std::string_view(buffer, static_cast<std::size_t>(got)));
    return true;
  }

  void take_notification() {
    // systemd-nspawn itself says it, our own child; whoever else sends is not listened to.
    const auto text = notify_->take(child_);
    if (!text) return;
    for (const std::string& line : split(*text, '\n')) {
      constexpr std::string_view kLeader = "X_NSPAWN_LEADER_PID=";
      if (line.starts_with(kLeader)) leader_ = static_cast<pid_t>(parse_int(line.substr(kLeader.size())).value_or(0));
      if (line == "READY=1") ready_ = true;
    }
    if (!ready_ || leader_ == 0) return;
    status_.init = host::process_ref(leader_).value_or(host::ProcessRef{});
    ready_ = false;
    leader_ = 0;
    report();
  }

  // A signal that init does not expect yet is lost: the kernel ignores it for the first process of a namespace.
  bool init_takes(int number) const {
    const std::string text = read_quick_file(fmt::format("/proc/{}/status", status_.init.pid)).value_or("");
    for (const std::string& line : split(text, '\n')) {
      if (!line.starts_with("SigBlk:") && !line.starts_with("SigCgt:")) continue;
      const std::uint64_t mask = std::strtoull(line.c_str() + 7, nullptr, 16);
      if ((mask >> (number - 1) & 1) != 0) return true;
    }
    return false;
  }

  void ask_init() {
    const int number = SIGRTMIN + (stopping_ ? kPowerOff : kReboot);
    if (status_.init.pid == 0 || !init_takes(number)) return;
    host::send_signal(status_.init, number);
    asking_ = false;
  }

  std::optional<int> take_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      switch (static_cast<int>(info.ssi_signo)) {
        case SIGTERM:
          stopping_ = true;
          asking_ = true;
          break;
        case SIGUSR1:
          asking_ = true;
          break;
        case SIGUSR2:
          restart_ = true;
          ::kill(child_, SIGKILL);
          break;
        default:
          break;
      }
    }
    int wait_status = 0;
    for (pid_t ended; (ended = ::waitpid(-1, &wait_status, WNOHANG)) > 0;) {
      if (ended == child_) return wait_status;
    }
    return std::nullopt;
  }

  host::Path folder_;
  std::string name_;
  char** program_;
  Console console_;
  host::Path cgroup_;
  SupervisorStatus status_;
  std::string notify_address_;
  host::FileDescriptor signals_;
  std::optional<Notifications> notify_;
  host::FileDescriptor output_;
  pid_t child_ = 0;
  pid_t leader_ = 0;
  bool ready_ = false;
  bool stopping_ = false;
  bool restart_ = false;
  bool asking_ = false;  // init is still to be asked to power off (`stopping_`) or to reboot
};

}  // namespace

int supervisor_main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s FOLDER NAME PROGRAM [ARGUMENT...]\n", kSupervisorCommand);
    return 2;
  }
  try {
    return Supervisor(argv[1], argv[2], argv + 3).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", kSupervisorCommand, error.what());
    return 1;
  }
}

std::string render(const SupervisorStatus& status) {
  return fmt::format("supervisor={}\nboot={}\ninit={}\nfailed={}\nended={}\n", status.supervisor.str(), status.boot,
                     status.init.str(), status.failed ? 1 : 0, status.ended);
}

std::optional<SupervisorStatus> parse_status(std::string_view text) {
  SupervisorStatus status;
  bool named = false;
  for (const std::string& line : split(text, '\n')) {
    const auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = line.substr(0, equals);
    const std::string value = line.substr(equals + 1);
    const std::int64_t number = parse_int(value).value_or(0);
    if (key == "supervisor") {
      const auto process = host::ProcessRef::parse(value);
      if (!process) return std::nullopt;
      status.supervisor = *process;
      named = true;
    } else if (key == "boot") {
      status.boot = static_cast<int>(number);
    } else if (key == "init") {
      status.init = host::ProcessRef::parse(value).value_or(host::ProcessRef{});
    } else if (key == "failed") {
      status.failed = number != 0;
    } else if (key == "ended") {
      status.ended = value;
    }
  }
  return named ? std::optional(status) : std::nullopt;
}

std::optional<SupervisorStatus> read_status(const host::Path& folder) {
  const auto text = read_quick_file(folder / kStatusFile);
  return text ? parse_status(*text) : std::nullopt;
}

}  // namespace kiln::machine
