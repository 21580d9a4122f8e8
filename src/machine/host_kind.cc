// HostKind: see host_kind.h.
#include "machine/host_kind.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "machine/internal/quick_file.h"

namespace kiln::machine {
namespace {

constexpr int kRemoveTries = 500;  // times 10 ms: as long as a killed process with much memory may take to go
constexpr std::int64_t kCpuPeriodUs = 100'000;  // the kernel's default

// cgroup files are written by one write(2); they have no rename.
bool write_cgroup_file(const host::Path& file, std::string_view value) {
  std::ofstream out(file, std::ios::binary);
  out << value;
  out.flush();
  return out.good();
}

std::string controllers_text(const host::Path& own) {
  return std::string(trim(read_quick_file(own / "cgroup.controllers").value_or("")));
}

bool useful(const Hierarchy& hierarchy) {
  if (hierarchy.v2) return true;
  for (const char* name : {"memory", "cpu", "pids", "devices", "name=systemd"}) {
    if (hierarchy.controllers.contains(name)) return true;
  }
  return false;
}

// The kernel gives a child only the controllers that its parent passes on.
void pass_controllers_on(const Hierarchy& hierarchy) {
  for (const char* name : {"memory", "cpu", "pids"}) {
    // Fails where our own cgroup holds processes and is not the root; the machine then runs without that limit.
    if (hierarchy.controllers.contains(name)) {
      write_cgroup_file(hierarchy.own / "cgroup.subtree_control", fmt::format("+{}", name));
    }
  }
}

void kill_members(const host::Path& folder) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.is_directory(ignored)) kill_members(entry.path());
  }
  for (const std::string& pid : split(read_quick_file(folder / "cgroup.procs").value_or(""), '\n')) {
    // 0 is a process of another pid namespace, and would be ourselves.
    if (const auto number = parse_int(pid); number && *number > 1) ::kill(static_cast<pid_t>(*number), SIGKILL);
  }
}

void make_cgroup(const host::Path& folder) {
  if (::mkdir(folder.c_str(), 0755) == 0 || errno == EEXIST) return;
  throw Error(errno == EACCES || errno == EPERM || errno == EROFS ? ErrorCode::denied : ErrorCode::io,
              fmt::format("cannot make the cgroup {}: {}", folder.string(), std::strerror(errno)),
              "Run Kiln as root on a host whose cgroups are writable.");
}

// Before it has children: a cgroup of v1 takes its devices from its parent when it is made.
void hold_devices(const host::Path& folder) {
  std::error_code ignored;
  if (std::filesystem::exists(folder / "machine", ignored)) return;
  bool held = write_cgroup_file(folder / "devices.deny", "a");
  for (const std::string& rule : device_rules()) held = held && write_cgroup_file(folder / "devices.allow", rule);
  if (held) return;
  throw Error(ErrorCode::io,
              fmt::format("cannot close the devices of the cgroup {}: {}", folder.string(), std::strerror(errno)),
              "Run Kiln as root on a host whose cgroups are writable.");
}

// Top down: a child can have no more than its parent.
void allow_below(const host::Path& folder, const std::string& rule) {
  const auto list = [](const host::Path& of) { return read_quick_file(of / "devices.list").value_or(""); };
  const std::string before = list(folder);
  if (!write_cgroup_file(folder / "devices.allow", rule)) {
    throw Error(ErrorCode::io, fmt::format("cannot allow the device {} to the cgroup {}", rule, folder.string()));
  }
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (!entry.is_directory(ignored)) continue;
    if (list(entry.path()) == before) allow_below(entry.path(), rule);
  }
}

bool remove_folders(const host::Path& folder) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.is_directory(ignored)) remove_folders(entry.path());
  }
  return ::rmdir(folder.c_str()) == 0 || errno == ENOENT;
}

}  // namespace

std::string_view to_string(HostKind kind) {
  switch (kind) {
    case HostKind::systemd:
      return "systemd, cgroup v2";
    case HostKind::cgroup_v1:
      return "plain init, cgroup v1 or hybrid";
    case HostKind::cgroup_v2:
      return "plain init, cgroup v2";
    case HostKind::unlimited:
      return "no usable cgroups";
  }
  return "?";
}

std::vector<Hierarchy> parse_hierarchies(std::string_view mountinfo, std::string_view self_cgroup) {
  std::vector<Hierarchy> found;
  for (const std::string& line : split(mountinfo, '\n')) {
    // id parent major:minor root mount-point options [optional...] - type source super-options
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> before = split(line.substr(0, dash), ' ');
    const std::vector<std::string> after = split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    const bool v2 = after[0] == "cgroup2";
    if (!v2 && after[0] != "cgroup") continue;
    const std::vector<std::string> options = split(after[2], ',');
    for (const std::string& entry : split(self_cgroup, '\n')) {
      const auto first = entry.find(':');
      const auto second = entry.find(':', first + 1);
      if (first == std::string::npos || second == std::string::npos) continue;
      const std::string names = entry.substr(first + 1, second - first - 1);
      const std::vector<std::string> controllers = split(names, ',');
      const bool same =
          v2 ? names.empty()
             : !names.empty() && std::all_of(controllers.begin(), controllers.end(), [&](const auto& name) {
                 return std::find(options.begin(), options.end(), name) != options.end();
               });
      if (!same) continue;
      std::string own = entry.substr(second + 1);
      // In a container the mount shows a part of the hierarchy, and our path begins with that part.
      if (before[3] != "/" && own.starts_with(before[3])) own.erase(0, before[3].size());
      Hierarchy hierarchy;
      hierarchy.v2 = v2;
      if (!v2) hierarchy.controllers.insert(controllers.begin(), controllers.end());
      hierarchy.own = before[4] + (own == "/" ? "" : own);
      if (std::find(found.begin(), found.end(), hierarchy) == found.end()) found.push_back(hierarchy);
      break;
    }
  }
  return found;
}

bool raise_inotify_limit(const host::Path& setting) {
  std::ifstream now(setting);
  std::int64_t limit = 0;
  if (!(now >> limit) || limit >= kInotifyInstances) return false;
  std::ofstream raised(setting);
  raised << kInotifyInstances << std::flush;
  return raised.good();
}

HostLimits host_limits() {
  HostLimits host;
  host.hierarchies = parse_hierarchies(host::read_file("/proc/self/mountinfo"), host::read_file("/proc/self/cgroup"));
  bool v1 = false;
  bool v2 = false;
  for (Hierarchy& hierarchy : host.hierarchies) {
    if (hierarchy.v2) {
      for (const std::string& name : split(controllers_text(hierarchy.own), ' ')) {
        if (!name.empty()) hierarchy.controllers.insert(name);
      }
    }
    const bool memory = hierarchy.controllers.contains("memory");
    (hierarchy.v2 ? v2 : v1) |= memory;
  }
  std::error_code ignored;
  // sd_booted(3): this folder is there exactly when systemd is the init.
  const bool systemd = std::filesystem::exists("/run/systemd/system", ignored);
  host.kind = systemd && v2 ? HostKind::systemd
              : v1          ? HostKind::cgroup_v1
              : v2          ? HostKind::cgroup_v2
                            : HostKind::unlimited;
  return host;
}

std::vector<std::pair<std::string, std::string>> limit_files(const Hierarchy& hierarchy, const Limits& limits) {
  std::vector<std::pair<std::string, std::string>> files;
  const auto quota = static_cast<std::int64_t>(limits.cpus * static_cast<double>(kCpuPeriodUs));
  if (hierarchy.controllers.contains("memory") && limits.memory_bytes > 0) {
    files.emplace_back(hierarchy.v2 ? "memory.max" : "memory.limit_in_bytes", std::to_string(limits.memory_bytes));
    if (hierarchy.v2) files.emplace_back("memory.swap.max", "0");
  }
  if (hierarchy.controllers.contains("cpu") && limits.cpus > 0) {
    if (hierarchy.v2) {
      files.emplace_back("cpu.max", fmt::format("{} {}", quota, kCpuPeriodUs));
    } else {
      files.emplace_back("cpu.cfs_period_us", std::to_string(kCpuPeriodUs));
      files.emplace_back("cpu.cfs_quota_us", std::to_string(quota));
    }
  }
  if (hierarchy.controllers.contains("pids")) files.emplace_back("pids.max", std::to_string(kTasksMax));
  return files;
}

std::vector<std::string> device_rules() {
  // https://docs.kernel.org/admin-guide/devices.html: 1 memory, 5 alternate terminals, 136 to 143 pseudo terminals.
  std::vector<std::string> rules = {"c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
                                    "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm"};
  for (int major = 136; major <= 143; ++major) rules.push_back(fmt::format("c {}:* rw", major));
  return rules;
}

void set_device(const HostLimits& host, const std::string& name, const std::string& rule, bool allowed) {
  if (host.kind != HostKind::cgroup_v1) return;
  for (const Hierarchy& hierarchy : host.hierarchies) {
    if (hierarchy.v2 || !hierarchy.controllers.contains("devices")) continue;
    if (allowed) {
      allow_below(hierarchy.own / name, rule);
    } else {
      write_cgroup_file(hierarchy.own / name / "devices.deny", rule);  // the kernel takes it from all below
    }
  }
}

std::vector<host::Path> make_cgroups(const HostLimits& host, const std::string& name, const Limits& limits) {
  std::vector<host::Path> folders;
  if (host.kind != HostKind::cgroup_v1 && host.kind != HostKind::cgroup_v2) return folders;
  for (const Hierarchy& hierarchy : host.hierarchies) {
    if (!useful(hierarchy)) continue;
    const host::Path folder = hierarchy.own / name;
    make_cgroup(folder);
    if (hierarchy.v2) pass_controllers_on(hierarchy);
    for (const auto& [file, value] : limit_files(hierarchy, limits)) {
      std::error_code ignored;
      // A controller may lack a file (swap accounting, CPU bandwidth); one that is there must take its value.
      if (std::filesystem::exists(folder / file, ignored) && !write_cgroup_file(folder / file, value)) {
        throw Error(ErrorCode::io, fmt::format("cannot write {} to {}", value, (folder / file).string()));
      }
    }
    if (hierarchy.controllers.contains("devices") && !hierarchy.v2) hold_devices(folder);
    folders.push_back(folder);
    // systemd-nspawn keeps to the cgroup that it was started in of the hierarchy that init will manage.
    if (hierarchy.v2 || hierarchy.controllers.contains("name=systemd")) continue;
    folders.back() /= "machine";
    make_cgroup(folders.back());
  }
  return folders;
}

std::vector<host::Path> cgroups_with_prefix(const HostLimits& host, const std::string& prefix) {
  std::vector<host::Path> found;
  if (host.kind != HostKind::cgroup_v1 && host.kind != HostKind::cgroup_v2) return found;
  for (const Hierarchy& hierarchy : host.hierarchies) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(hierarchy.own, ignored)) {
      if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
    }
  }
  return found;
}

void remove_cgroups(const std::vector<host::Path>& folders) {
  for (const host::Path& folder : folders) kill_members(folder);
  for (const host::Path& folder : folders) {
    int tries = 0;
    while (!remove_folders(folder)) {
      if (++tries > kRemoveTries) {
        throw Error(ErrorCode::conflict,
                    fmt::format("cannot remove the cgroup {}: {}", folder.string(), std::strerror(errno)));
      }
      kill_members(folder);
      host::SystemClock().sleep(Duration(10));
    }
  }
}

}  // namespace kiln::machine
