// HostKind: how this host gives processes limits, found by looking.
//
// systemd: systemd is PID 1 and cgroup v2 is mounted: each machine is a transient unit. cgroup_v1: another init,
// controllers in hierarchies of their own (v1 or hybrid): Kiln makes cgroups below its own. cgroup_v2: another init,
// one hierarchy. unlimited: no controller that we may use; machines run without limits.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "machine/machine.h"

namespace kiln::machine {

enum class HostKind { systemd, cgroup_v1, cgroup_v2, unlimited };
std::string_view to_string(HostKind kind);

struct Hierarchy {
  std::set<std::string> controllers;  // "memory"; "name=systemd"; of cgroup v2 what cgroup.controllers lists
  bool v2 = false;
  host::Path own;  // the absolute folder of our own cgroup in it
  bool operator==(const Hierarchy&) const = default;
};

struct HostLimits {
  HostKind kind = HostKind::unlimited;
  std::vector<Hierarchy> hierarchies;
};

// Of this process.
HostLimits host_limits();
// Pure: from the texts of /proc/self/mountinfo and /proc/self/cgroup. The controllers of v2 are left empty.
std::vector<Hierarchy> parse_hierarchies(std::string_view mountinfo, std::string_view self_cgroup);

// Makes the machine's cgroups below our own, with its limits, and returns the folders that its processes join: of
// cgroup v1 one below the limits, so that what the machine sees as its own root holds none that it could lift. Fine
// when they are there.
std::vector<host::Path> make_cgroups(const HostLimits& host, const std::string& name, const Limits& limits);
// Those below our own cgroup whose names begin with `prefix`.
std::vector<host::Path> cgroups_with_prefix(const HostLimits& host, const std::string& prefix);
// Kills what is left in them and removes them with all below; waits at most 5 s, then Error(conflict).
void remove_cgroups(const std::vector<host::Path>& folders);
// Pure: the values written for the limits, by file name.
std::vector<std::pair<std::string, std::string>> limit_files(const Hierarchy& hierarchy, const Limits& limits);

// Guests share root's allowance of inotify instances: each boot takes about five, and the kernel's own limit of 128
// lets some twenty machines boot. Raises it for the whole host, never lowers it; whether it did. Where it may not be
// written it stays as it is.
bool raise_inotify_limit(const host::Path& setting = "/proc/sys/fs/inotify/max_user_instances");
inline constexpr int kInotifyInstances = 8192;

// Pure: what devices.allow of cgroup v1 is given, once all is denied: null, zero, full, random, urandom, tty, ptmx and
// the terminals of /dev/pts. No disk, no loop device, no kernel memory.
std::vector<std::string> device_rules();

// Lets a machine of v1 use one device more, or no longer: "b 7:5 rw". Cgroups that its init has made follow, as far as
// they have all that the machine has. Elsewhere it does nothing.
void set_device(const HostLimits& host, const std::string& name, const std::string& rule, bool allowed);

inline constexpr int kTasksMax = 4096;  // processes and threads of one machine: enough for Debian and a busy service

}  // namespace kiln::machine
