// Processes: run a program and wait, or start one that outlives us and find it again. All of it may be called from
// several threads.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"

namespace kiln::host {

struct Command {
  std::vector<std::string> argv;                         // argv[0] is searched in PATH and in /usr/sbin, /sbin
  std::vector<std::pair<std::string, std::string>> env;  // added to ours; an empty value unsets
  std::string cwd;                                       // ours when empty
  std::string input;                                     // its standard input, whole
  std::optional<Duration> timeout;                       // then SIGTERM to its process group, and SIGKILL 2 s later
  std::function<bool()> cancelled;                       // asked ten times a second; once true, as at a timeout
  // Sees stdout and stderr as they come, in pieces of any size; nothing is kept of what it sees in the result's
  // `out`/`err` beyond the first and last 64 KiB.
  std::function<void(std::string_view)> on_output;
};

struct CommandResult {
  int status = 0;  // exit status; 128 + signal when a signal ended it
  bool timed_out = false;
  std::string out;  // at most 16 MiB; more is an Error(io)
  std::string err;
  bool ok() const { return status == 0 && !timed_out; }
};

// Runs it in a process group of its own and waits. When we die, the kernel ends it (PDEATHSIG).
// Throws Error(missing_program) naming the program and the Debian package that has it, Error(io), Error(cancelled).
CommandResult run(const Command& command);
// As `run`, and throws Error(io) with the status and the last lines of its output unless it exits with 0.
CommandResult run_checked(const Command& command);
// Short form.
CommandResult run_checked(std::vector<std::string> argv);

// Runs it on our own terminal, in our process group: it gets the same Ctrl-C. `input`, `timeout` and `on_output` are
// not used. Returns its exit status, or 128 + signal. Throws as `run`.
int run_attached(const Command& command);

// A process by pid and start time: a reused pid is not mistaken for it. Serialised by `str` and `parse`
// ("1234@567890").
struct ProcessRef {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // field 22 of /proc/<pid>/stat
  std::string str() const;
  static std::optional<ProcessRef> parse(std::string_view text);
  bool operator==(const ProcessRef&) const = default;
};

struct Daemon {
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> env;
  std::string cwd;
  std::string output;                // stdout and stderr are appended to this file; /dev/null when empty
  std::vector<std::string> cgroups;  // absolute cgroup folders that it joins before it runs
  std::string netns;                 // path of a network namespace that it joins before it runs
};

// Starts it in a session of its own, with no tie to us: it goes on when we die. Its parent becomes init (or the nearest
// subreaper), so it is never our zombie. Throws as `run`.
ProcessRef spawn_daemon(const Daemon& daemon);

// Of a running (not zombie) process.
std::optional<ProcessRef> process_ref(pid_t pid);
ProcessRef self();
bool alive(const ProcessRef& process);
// False when it is gone already. Never signals another process that has the same pid now.
bool send_signal(const ProcessRef& process, int signal);
// SIGTERM (or `first`), then SIGKILL after `grace`; returns when it is gone.
void end_process(const ProcessRef& process, Duration grace, int first = 15);
// Waits until it is gone, at most `timeout`; false when it is still there.
bool wait_gone(const ProcessRef& process, Duration timeout);

// All that run, zombies not, with the arguments that they were started with. One that has none (a kernel thread) is
// left out.
std::vector<std::pair<ProcessRef, std::vector<std::string>>> processes();

// Where the program is, or empty; looks in PATH, /usr/local/sbin, /usr/sbin and /sbin.
std::string find_program(const std::string& name);
// Debian's package that holds the program ("haproxy" → "haproxy", "nft" → "nftables"); the name itself when unknown.
std::string package_of(const std::string& program);

}  // namespace kiln::host
