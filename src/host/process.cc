// Processes: run and wait.
#include "host/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>

#include "base/text.h"
#include "host/file.h"
#include "host/no_sigpipe.h"
#include "host/os_error.h"

extern char** environ;

namespace kiln::host {
namespace {

constexpr std::size_t kOutputMax = 16u << 20;
constexpr std::size_t kKeptOfStream = 64u << 10;
constexpr Duration kKillGrace{2000};
constexpr std::int64_t kAskMs = 100;  // how often a command is asked whether it is cancelled

using Steady = std::chrono::steady_clock;

// What the child needs, made before the fork: after it, only calls that are safe in a copied process are allowed.
class Image {
 public:
  Image(const std::vector<std::string>& argv, const std::vector<std::pair<std::string, std::string>>& env) {
    if (argv.empty()) throw Error(ErrorCode::internal, "a command without a program");
    program_ = argv[0].find('/') != std::string::npos ? argv[0] : find_program(argv[0]);
    if (program_.empty()) {
      throw Error(ErrorCode::missing_program, fmt::format("the program '{}' is not installed", argv[0]),
                  fmt::format("Install it: apt-get install {}", package_of(argv[0])));
    }
    std::map<std::string, std::string> merged;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      std::string_view text = *entry;
      std::size_t at = text.find('=');
      if (at != std::string_view::npos) merged[std::string(text.substr(0, at))] = text.substr(at + 1);
    }
    for (const auto& [name, value] : env) {
      if (value.empty()) {
        merged.erase(name);
      } else {
        merged[name] = value;
      }
    }
    for (const auto& [name, value] : merged) env_text_.push_back(name + "=" + value);
    args_text_ = argv;
    for (std::string& text : args_text_) args_.push_back(text.data());
    for (std::string& text : env_text_) env_.push_back(text.data());
    args_.push_back(nullptr);
    env_.push_back(nullptr);
  }
  void exec() const { ::execve(program_.c_str(), args_.data(), env_.data()); }

 private:
  std::string program_;
  std::vector<std::string> args_text_;
  std::vector<std::string> env_text_;
  std::vector<char*> args_;
  std::vector<char*> env_;
};

struct Pipe {
  FileDescriptor read;
  FileDescriptor write;
};

Pipe make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) throw os_error("making a pipe", errno);
  return {FileDescriptor(fds[0]), FileDescriptor(fds[1])};
}

void default_signals() {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number : {SIGINT, SIGTERM, SIGPIPE, SIGCHLD, SIGHUP, SIGQUIT}) ::signal(number, SIG_DFL);
}

// Tells the parent, through a pipe that closes by itself when exec succeeds, why it did not.
[[noreturn]] void report_and_exit(int fd, int number) {
  [[maybe_unused]] ssize_t written = ::write(fd, &number, sizeof number);
  ::_exit(127);
}

void throw_if_reported(const FileDescriptor& fd, const std::string& program) {
  int number = 0;
  ssize_t got;
  do {
    got = ::read(fd.get(), &number, sizeof number);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof number) throw os_error("starting " + program, number);
}

// Keeps all, or when somebody else sees the stream, its two ends.
class Keeper {
 public:
  explicit Keeper(bool ends_only) : ends_only_(ends_only) {}
  void add(std::string_view bytes, const std::string& program) {
    if (!ends_only_) {
      if (first_.size() + bytes.size() > kOutputMax) {
        throw Error(ErrorCode::io, fmt::format("{} wrote more than {}", program, format_bytes(kOutputMax)));
      }
      first_ += bytes;
      return;
    }
    std::size_t room = std::min(bytes.size(), kKeptOfStream - std::min(kKeptOfStream, first_.size()));
    first_ += bytes.substr(0, room);
    last_ += bytes.substr(room);
    if (last_.size() > 2 * kKeptOfStream) last_.erase(0, last_.size() - kKeptOfStream);
  }
  std::string take() { return first_ + last_; }

 private:
  bool ends_only_;
  std::string first_;
  std::string last_;
};

class Child {
 public:
  Child(const Command& command) : command_(command), out_(bool(command.on_output)), err_(bool(command.on_output)) {}

  CommandResult run() {
    start();
    pump();
    return reap();
  }

 private:
  void start() {
    Image image(command_.argv, command_.env);
    Pipe input = make_pipe(), out = make_pipe(), err = make_pipe(), report = make_pipe();
    pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw os_error("starting " + command_.argv[0], errno);
    if (pid_ == 0) {
      ::setpgid(0, 0);
      default_signals();
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(127);
      if (::dup2(input.read.get(), 0) < 0 || ::dup2(out.write.get(), 1) < 0 || ::dup2(err.write.get(), 2) < 0) {
        report_and_exit(report.write.get(), errno);
      }
      if (!command_.cwd.empty() && ::chdir(command_.cwd.c_str()) != 0) report_and_exit(report.write.get(), errno);
      image.exec();
      report_and_exit(report.write.get(), errno);
    }
    ::setpgid(pid_, pid_);
    report.write.reset();
    try {
      throw_if_reported(report.read, command_.argv[0]);
    } catch (...) {
      ::waitpid(pid_, nullptr, 0);
      throw;
    }
    to_child_ = std::move(input.write);
    from_out_ = std::move(out.read);
    from_err_ = std::move(err.read);
    ::fcntl(to_child_.get(), F_SETFL, O_NONBLOCK);
    deadline_ = command_.timeout ? Steady::now() + *command_.timeout : Steady::time_point::max();
  }

  void pump() {
    std::string_view input = command_.input;
    if (input.empty()) to_child_.reset();
    while (from_out_ || from_err_) {
      if (!ending_ && command_.cancelled && command_.cancelled()) {
        cancelled_ = true;
        deadline_ = Steady::now();
      }
      std::array<pollfd, 3> fds = {pollfd{from_out_.get(), POLLIN, 0}, pollfd{from_err_.get(), POLLIN, 0},
                                   pollfd{to_child_.get(), POLLOUT, 0}};
      int wait_ms = -1;
      if (deadline_ != Steady::time_point::max()) {
        auto left = std::chrono::duration_cast<Duration>(deadline_ - Steady::now()).count();
        if (left <= 0) {
          if (!escalate()) return;
          continue;
        }
        wait_ms = static_cast<int>(std::min<std::int64_t>(left, 60'000));
      }
      if (command_.cancelled && !ending_)
        wait_ms = static_cast<int>(wait_ms < 0 ? kAskMs : std::min<std::int64_t>(wait_ms, kAskMs));
      if (::poll(fds.data(), fds.size(), wait_ms) < 0 && errno != EINTR) throw os_error("waiting for output", errno);
      if (fds[0].revents != 0) take(from_out_, out_);
      if (fds[1].revents != 0) take(from_err_, err_);
      if (fds[2].revents != 0) give(input);
    }
  }

  // SIGTERM first, then SIGKILL; false when there is nothing left to wait for.
  bool escalate() {
    bool first = !ending_;
    ending_ = true;
    ::kill(-pid_, first ? SIGTERM : SIGKILL);
    if (!first) return false;
    deadline_ = Steady::now() + kKillGrace;
    return true;
  }

  void take(FileDescriptor& fd, Keeper& keeper) {
    char buffer[16384];
    ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) return;
    if (got <= 0) return fd.reset();
    std::string_view bytes(buffer, static_cast<std::size_t>(got));
    try {
      if (command_.on_output) command_.on_output(bytes);
      keeper.add(bytes, command_.argv[0]);
    } catch (...) {
      ::kill(-pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      throw;
    }
  }

  void give(std::string_view& input) {
    const NoSigpipe quiet;  // it need not read to the end
    ssize_t written = ::write(to_child_.get(), input.data(), input.size());
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (written > 0) input.remove_prefix(static_cast<std::size_t>(written));
    if (written < 0 || input.empty()) to_child_.reset();
  }

  CommandResult reap() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0) {
      if (errno != EINTR) throw os_error("waiting for " + command_.argv[0], errno);
    }
    if (cancelled_) throw Error(ErrorCode::cancelled, fmt::format("{} was interrupted", command_.argv[0]));
    CommandResult result;
    result.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    result.timed_out = ending_;
    result.out = out_.take();
    result.err = err_.take();
    return result;
  }

  const Command& command_;
  pid_t pid_ = -1;
  FileDescriptor to_child_;
  FileDescriptor from_out_;
  FileDescriptor from_err_;
  Steady::time_point deadline_;
  bool ending_ = false;  // its time is over, or it is cancelled
  bool cancelled_ = false;
  Keeper out_;
  Keeper err_;
};

}  // namespace

CommandResult run(const Command& command) { return Child(command).run(); }

CommandResult run_checked(const Command& command) {
  CommandResult result = run(command);
  if (result.ok()) return result;
  std::string ending = result.timed_out ? fmt::format("did not end within {}", format_duration(*command.timeout))
                                        : fmt::format("ended with status {}", result.status);
  std::string said = last_lines(result.err.empty() ? result.out : result.err, 10);
  throw Error(ErrorCode::io,
              fmt::format("'{}' {}{}{}", join(command.argv, " "), ending, said.empty() ? "" : ": ", said));
}

CommandResult run_checked(std::vector<std::string> argv) {
  Command command;
  command.argv = std::move(argv);
  return run_checked(command);
}

int run_attached(const Command& command) {
  Image image(command.argv, command.env);
  Pipe report = make_pipe();
  pid_t pid = ::fork();
  if (pid < 0) throw os_error("starting " + command.argv[0], errno);
  if (pid == 0) {
    default_signals();
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (!command.cwd.empty() && ::chdir(command.cwd.c_str()) != 0) report_and_exit(report.write.get(), errno);
    image.exec();
    report_and_exit(report.write.get(), errno);
  }
  report.write.reset();
  int status = 0;
  int number = 0;
  bool failed = ::read(report.read.get(), &number, sizeof number) == sizeof number;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw os_error("waiting for " + command.argv[0], errno);
  }
  if (failed) throw os_error("starting " + command.argv[0], number);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

namespace {

// Between fork and exec of a daemon; returns errno, or does not return.
int become_daemon(const Daemon& daemon, const Image& image) {
  for (const std::string& cgroup : daemon.cgroups) {
    int fd = ::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    if (::write(fd, "0", 1) != 1) return errno;
    ::close(fd);
  }
  if (!daemon.netns.empty()) {
    int fd = ::open(daemon.netns.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ::setns(fd, CLONE_NEWNET) != 0) return errno;
    ::close(fd);
  }
  int null = ::open("/dev/null", O_RDWR);
  int output = daemon.output.empty() ? null : ::open(daemon.output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (null < 0 || output < 0) return errno;
  if (::dup2(null, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) return errno;
  if (!daemon.cwd.empty() && ::chdir(daemon.cwd.c_str()) != 0) return errno;
  image.exec();
  return errno;
}

}  // namespace

ProcessRef spawn_daemon(const Daemon& daemon) {
  Image image(daemon.argv, daemon.env);
  Pipe report = make_pipe();
  Pipe pid_pipe = make_pipe();
  pid_t between = ::fork();
  if (between < 0) throw os_error("starting " + daemon.argv[0], errno);
  if (between == 0) {
    // The process between ends at once, so that the daemon is adopted by init and nobody has to reap it.
    ::setsid();
    default_signals();
    pid_t pid = ::fork();
    if (pid != 0) {
      [[maybe_unused]] ssize_t written = ::write(pid_pipe.write.get(), &pid, sizeof pid);
      ::_exit(0);
    }
    int number = become_daemon(daemon, image);
    report_and_exit(report.write.get(), number);
  }
  report.write.reset();
  pid_pipe.write.reset();
  pid_t pid = -1;
  [[maybe_unused]] ssize_t got = ::read(pid_pipe.read.get(), &pid, sizeof pid);
  ::waitpid(between, nullptr, 0);
  if (pid <= 0) throw Error(ErrorCode::io, "starting " + daemon.argv[0] + ": the system has no process to spare");
  throw_if_reported(report.read, daemon.argv[0]);
  return process_ref(pid).value_or(ProcessRef{pid, 0});
}

std::string ProcessRef::str() const { return fmt::format("{}@{}", pid, start_ticks); }

std::optional<ProcessRef> ProcessRef::parse(std::string_view text) {
  std::size_t at = text.find('@');
  if (at == std::string_view::npos) return std::nullopt;
  auto pid = parse_int(text.substr(0, at));
  auto start = parse_int(text.substr(at + 1));
  if (!pid || !start || *pid <= 0 || *start < 0) return std::nullopt;
  return ProcessRef{static_cast<pid_t>(*pid), static_cast<std::uint64_t>(*start)};
}

std::optional<ProcessRef> process_ref(pid_t pid) {
  std::string stat;
  try {
    stat = read_file(fmt::format("/proc/{}/stat", pid));
  } catch (const Error&) {
    return std::nullopt;
  }
  // The name in parentheses may hold anything; the fields after the last ')' are state (3), ..., starttime (22).
  std::size_t close = stat.rfind(')');
  if (close == std::string::npos || close + 2 >= stat.size()) return std::nullopt;
  std::vector<std::string> fields = split(std::string_view(stat).substr(close + 2), ' ');
  if (fields.size() < 20 || fields[0] == "Z" || fields[0] == "X") return std::nullopt;
  return ProcessRef{pid, static_cast<std::uint64_t>(parse_int(fields[19]).value_or(0))};
}

ProcessRef self() { return process_ref(::getpid()).value(); }

bool alive(const ProcessRef& process) { return process.pid > 0 && process_ref(process.pid) == process; }

bool send_signal(const ProcessRef& process, int signal) {
  // The check and the signal are two steps; a pid is not reused between them unless the kernel's pid space wraps
  // around.
  return alive(process) && ::kill(process.pid, signal) == 0;
}

bool wait_gone(const ProcessRef& process, Duration timeout) {
  auto end = Steady::now() + timeout;
  while (alive(process)) {
    if (Steady::now() >= end) return false;
    ::waitpid(process.pid, nullptr, WNOHANG);  // in case it is our own child
    ::usleep(5000);
  }
  return true;
}

void end_process(const ProcessRef& process, Duration grace, int first) {
  if (!send_signal(process, first) || wait_gone(process, grace)) return;
  send_signal(process, SIGKILL);
  // SIGKILL is not refused; what still stands after this waits in the kernel and goes when that wait ends.
  wait_gone(process, Duration(10'000));
}

std::vector<std::pair<ProcessRef, std::vector<std::string>>> processes() {
  std::vector<std::pair<ProcessRef, std::vector<std::string>>> found;
  for (const std::string& entry : list_folder("/proc")) {
    const auto pid = parse_int(entry);
    if (!pid) continue;
    std::string text;
    try {
      text = read_file("/proc/" + entry + "/cmdline");
    } catch (const Error&) {
      continue;  // it has just ended
    }
    if (text.empty()) continue;
    if (const auto process = process_ref(static_cast<pid_t>(*pid))) found.emplace_back(*process, split(text, '\0'));
  }
  return found;
}

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string folders = std::string(path == nullptr ? "/usr/bin:/bin" : path) + ":/usr/local/sbin:/usr/sbin:/sbin";
  for (const std::string& folder : split(folders, ':')) {
    if (folder.empty()) continue;
    std::string candidate = folder + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::string package_of(const std::string& program) {
  static const std::map<std::string, std::string> kPackages = {
      {"systemd-nspawn", "systemd-container"},
      {"nft", "nftables"},
      {"mkfs.erofs", "erofs-utils"},
      {"mkfs.ext4", "e2fsprogs"},
      {"ip", "iproute2"},
      {"losetup", "mount"},
      {"systemd-run", "systemd"},
      {"fsck.erofs", "erofs-utils"},
      {"dump.erofs", "erofs-utils"},
      {"modprobe", "kmod"},
      {"nsenter", "util-linux"},
      {"unshare", "util-linux"},
      {"apt-get", "apt"},
  };
  auto it = kPackages.find(program);
  return it == kPackages.end() ? program : it->second;
}

}  // namespace kiln::host
