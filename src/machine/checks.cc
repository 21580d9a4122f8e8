// Checks: see checks.h.
#include "machine/checks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/text.h"
#include "host/process.h"
#include "machine/host_kind.h"

namespace kiln::machine {
namespace {

// A small region: the store's base image twice (a bake in progress), and what instances write.
constexpr std::uint64_t kFreeMin = 2ull << 30;
// Owner files, names of namespaces and what systemd-nspawn keeps: a few pages each, and other programs live there too.
constexpr std::uint64_t kRunFreeMin = 4ull << 20;

bool exists(const char* path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// Loads the module if it may and can; where it is built in there is nothing to load.
void load_module(const std::string& name) {
  if (::geteuid() != 0 || host::find_program("modprobe").empty()) return;
  host::Command command;
  command.argv = {"modprobe", "-q", name};
  command.timeout = Duration(10'000);
  host::run(command);
}

Check root_check() {
  const bool root = ::geteuid() == 0;
  return {"root",
          root,
          root ? "running as root" : fmt::format("running as user {}", ::geteuid()),
          "Run it with sudo: mounts and network namespaces need root.",
          ErrorCode::denied,
          true};
}

Check file_system(const std::string& name) {
  const auto known = [&] {
    for (const std::string& line : split(host::read_file("/proc/filesystems"), '\n')) {
      if (trim(line.substr(line.find('\t') == std::string::npos ? 0 : line.find('\t'))) == name) return true;
    }
    return false;
  };
  bool there = known();
  if (!there) {
    load_module(name);
    there = known();
  }
  return {"kernel: " + name,
          there,
          there ? "in /proc/filesystems" : "not in /proc/filesystems",
          fmt::format("Use a kernel with {0} (Debian's has it; try: modprobe {0}).", name),
          ErrorCode::unsupported,
          true};
}

Check device(const std::string& name, const char* path, const std::string& module, bool required,
             const std::string& next) {
  if (!exists(path)) load_module(module);
  const host::FileDescriptor fd(::open(path, O_RDWR | O_CLOEXEC));
  const bool good = static_cast<bool>(fd);
  return {name,    good, good ? path : fmt::format("{}: {}", path, std::strerror(errno)), next, ErrorCode::unsupported,
          required};
}

// Tries it in a child, which leaves nothing behind.
bool can_unshare(int flags) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::unshare(flags) == 0 ? 0 : 1);
  int status = 1;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Check namespaces_check() {
  const bool good = can_unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC);
  return {"kernel: namespaces",
          good,
          good ? "network, mount, pid, uts, ipc" : "cannot be made here",
          "Run Kiln outside of a container, or in a privileged one.",
          ErrorCode::unsupported,
          true};
}

// Rules and forwarding, in a network namespace that ends with the program.
Check rules_check() {
  Check check{"kernel: nf_tables",
              false,
              "",
              "Use a kernel with nf_tables, nft_ct, nft_nat and nft_masq (Debian's has them).",
              ErrorCode::unsupported,
              true};
  if (host::find_program("nft").empty() || host::find_program("unshare").empty() || ::geteuid() != 0) {
    check.found = "not tried: needs root, nft and unshare";
    return check;
  }
  for (const char* module : {"nf_tables", "nft_ct", "nft_chain_nat", "nft_masq", "nft_reject_inet"})
    load_module(module);
  host::Command command;
  command.argv = {"unshare", "--net", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward && exec nft -f -"};
  command.input =
      "table inet kiln {\n"
      "chain f { type filter hook forward priority 0; ct state established accept; reject; }\n"
      "chain p { type nat hook postrouting priority 100; oifname \"tap0\" masquerade; }\n}\n";
  command.timeout = Duration(10'000);
  const host::CommandResult result = host::run(command);
  check.ok = result.ok();
  check.found =
      check.ok ? "rules, connection tracking, masquerade and forwarding in a namespace" : split(result.err, '\n')[0];
  return check;
}

Check program(const std::string& name, bool required) {
  const std::string path = host::find_program(name);
  const std::string package = host::package_of(name);
  return {"program: " + name,
          !path.empty(),
          path.empty() ? "not installed" : path,
          fmt::format("Install it: apt-get install {}", package),
          ErrorCode::missing_program,
          required};
}

Check limits_check() {
  const HostLimits limits = host_limits();
  return {"limits",
          limits.kind != HostKind::unlimited,
          std::string(to_string(limits.kind)),
          "Mount cgroups with the memory controller; without them instances run without limits.",
          ErrorCode::unsupported,
          false};
}

}  // namespace

Check check_free(const std::string& name, host::Path folder, std::uint64_t least, const std::string& next) {
  std::error_code ignored;
  while (!folder.empty() && folder != folder.root_path() && !std::filesystem::exists(folder, ignored)) {
    folder = folder.parent_path();
  }
  if (folder.empty()) folder = ".";
  const std::uint64_t free = host::free_bytes(folder);
  return {name,
          free >= least,
          fmt::format("{} at {}", format_bytes(free), folder.string()),
          fmt::format("Free at least {}{}", format_bytes(least), next),
          ErrorCode::disk_full,
          true};
}

std::vector<Check> check_host(const host::Path& folder) {
  std::vector<Check> checks = {root_check()};
  for (const char* name : {"systemd-nspawn", "ip", "nft", "haproxy", "mkfs.erofs", "mkfs.ext4", "mmdebstrap"}) {
    checks.push_back(program(name, true));
  }
  checks.push_back(program("slirp4netns", true));
  checks.push_back(file_system("erofs"));
  checks.push_back(file_system("overlay"));
  checks.push_back(file_system("ext4"));
  checks.push_back(device("kernel: loop devices", "/dev/loop-control", "loop", true,
                          "Load the kernel module (modprobe loop), or give the container its loop devices."));
  checks.push_back(device("kernel: tun", "/dev/net/tun", "tun", true,
                          "Load the kernel module: modprobe tun. Instances reach the internet through it."));
  checks.push_back(namespaces_check());
  checks.push_back(rules_check());
  checks.push_back(limits_check());
  checks.push_back(check_free("free disk", folder, kFreeMin, ", or set KILN_HOME to a folder on another disk."));
  checks.push_back(check_free("free /run", "/run", kRunFreeMin, " in /run: regions write down there what they own."));
  return checks;
}

void require_host(const host::Path& folder) {
  for (const Check& check : check_host(folder)) {
    if (check.ok || !check.required) continue;
    throw Error(check.code, fmt::format("this host cannot run a region: {}: {}", check.name, check.found), check.next);
  }
}

}  // namespace kiln::machine
