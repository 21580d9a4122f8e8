// The argument vectors of a machine's start: see the end of nspawn.h.
#include <fmt/format.h>

#include <cstdint>

#include "base/digest.h"
#include "machine/host_kind.h"
#include "machine/nspawn.h"

namespace kiln::machine {
namespace {

// systemd-nspawn splits a bind at colons.
std::string escape_colons(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string machine_id_of(const std::string& id) { return sha256("machine-id of " + id).hex().substr(0, 32); }

std::string hypervisor_uuid_of(const std::string& id) {
  const std::string hex = sha256("hypervisor of " + id).hex();
  return fmt::format("ec2{}-{}-{}-{}-{}", hex.substr(0, 5), hex.substr(5, 4), hex.substr(9, 4), hex.substr(13, 4),
                     hex.substr(17, 12));
}

std::vector<std::string> nspawn_arguments(const StartPlan& plan) {
  std::vector<std::string> argv = {
      "systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit", "--link-journal=no",
      "--resolv-conf=off", "--timezone=off",
      // The console as a terminal, read only: systemd writes its messages there, and nobody types.
      "--console=read-only",
      // systemd(1): SIGRTMIN+4 powers off. SIGTERM to systemd-nspawn sends it to init.
      "--kill-signal=SIGRTMIN+4",
      // Ways past the container that neither Debian's boot nor a service needs: making device nodes, opening files by
      // handle, the host's audit rules, its consoles. systemd-nspawn itself gives none of CAP_SYS_MODULE,
      // CAP_SYS_RAWIO, CAP_SYS_TIME, CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON.
      "--drop-capability=CAP_MKNOD,CAP_DAC_READ_SEARCH,CAP_AUDIT_CONTROL,CAP_SYS_TTY_CONFIG", "--machine=" + plan.name,
      "--hostname=" + plan.hostname, "--uuid=" + plan.machine_id, "--directory=" + plan.root.string(),
      "--network-namespace-path=" + plan.netns.string(), "--setenv=SYSTEMD_COLORS=0", "--setenv=COLUMNS=160"};
  if (plan.read_only) argv.push_back("--read-only");
  for (const auto& [ours, theirs] : plan.binds) {
    argv.push_back(fmt::format("--bind={}:{}", escape_colons(ours.string()), escape_colons(theirs)));
  }
  argv.push_back(fmt::format("--bind-ro={}:/sys/hypervisor/uuid", escape_colons(plan.hypervisor_uuid.string())));
  argv.push_back("--boot");
  // In a container systemd reads init's own arguments as the kernel's command line.
  argv.insert(argv.end(), {"systemd.show_status=1", "systemd.mask=console-getty.service", "systemd.firstboot=0"});
  return argv;
}

std::vector<std::string> unit_arguments(const std::string& name, const Limits& limits,
                                        const std::vector<std::string>& devices,
                                        const std::vector<std::string>& command) {
  std::vector<std::string> argv = {"systemd-run", "--quiet", "--collect", "--no-ask-password", "--unit=" + name,
                                   "--service-type=exec", "--property=Delegate=yes", "--property=KillMode=mixed",
                                   // The kernel ends the hog; what to do then is the machine's own init's matter.
                                   "--property=OOMPolicy=continue", fmt::format("--property=TasksMax={}", kTasksMax),
                                   // The pseudo devices that systemd always allows, and nothing else: the same as
                                   // `device_rules` on hosts with cgroup v1.
                                   "--property=DevicePolicy=closed"};
  for (const std::string& device : devices) argv.push_back(fmt::format("--property=DeviceAllow={} rw", device));
  if (limits.memory_bytes > 0) {
    argv.push_back(fmt::format("--property=MemoryMax={}", limits.memory_bytes));
    argv.push_back("--property=MemorySwapMax=0");
  }
  if (limits.cpus > 0)
    argv.push_back(fmt::format("--property=CPUQuota={}%", static_cast<std::int64_t>(limits.cpus * 100)));
  argv.push_back("--");
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

}  // namespace kiln::machine
