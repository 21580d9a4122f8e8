// Normalise: the list of what differs between two bakes, and why.
#include "bake/normalise.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "bake/files.h"
#include "host/os_error.h"

namespace kiln::bake {
namespace {

namespace fs = std::filesystem;

// The file system's clock is coarser than ours, by at most a tick of 10 ms.
constexpr std::int64_t kClockSlackMs = 100;

// Everything below these goes; the folders stay. /dev, /proc, /run, /sys and /tmp are mounts of a running system.
constexpr const char* kEmptied[] = {"dev", "proc",    "run",           "sys",
                                    "tmp", "var/tmp", "var/cache/apt", "var/lib/apt/lists"};

constexpr const char* kRemoved[] = {"etc/hostname",
                                    "etc/resolv.conf",
                                    "etc/passwd-",
                                    "etc/group-",
                                    "etc/shadow-",
                                    "etc/gshadow-",
                                    "etc/subuid-",
                                    "etc/subgid-",
                                    "root/.bash_history",
                                    "var/cache/ldconfig/aux-cache",  // keyed by inode numbers
                                    "var/cache/debconf/config.dat-old",
                                    "var/cache/debconf/templates.dat-old",
                                    "var/lib/dpkg/status-old",
                                    "var/lib/dpkg/available-old",
                                    "var/lib/dpkg/diversions-old",
                                    "var/lib/dpkg/statoverride-old",
                                    "var/lib/dbus/machine-id",
                                    "var/lib/systemd/random-seed",
                                    "var/lib/systemd/credential.secret"};

constexpr const char* kHostKeysUnit =
    "# The image holds no host keys, so that no two machines share one.\n"
    "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n";

bool is_folder(const fs::path& path) { return fs::symlink_status(path).type() == fs::file_type::directory; }
bool is_file(const fs::path& path) { return fs::symlink_status(path).type() == fs::file_type::regular; }

// Of a step that changes it, overlayfs's "this folder is removed" is a device node: that is content, and stays.
void empty_folder(const fs::path& folder) {
  if (!is_folder(folder)) return;
  for (const std::string& name : host::list_folder(folder)) host::remove_tree(folder / name);
}

void remove_files(const fs::path& tree) {
  for (const char* name : kRemoved) {
    if (is_file(tree / name) || fs::is_symlink(tree / name)) fs::remove(tree / name);
  }
}

// Package tools' own logs go; others stay as empty files, because somebody may have given them an owner on purpose.
void empty_logs(const fs::path& folder) {
  if (!is_folder(folder)) return;
  for (const std::string& name : host::list_folder(folder)) {
    const fs::path path = folder / name;
    if (is_folder(path)) {
      empty_logs(path);
    } else if (is_file(path) && (name == "dpkg.log" || name == "alternatives.log" || name == "bootstrap.log" ||
                                 folder.filename() == "apt")) {
      fs::remove(path);
    } else if (is_file(path)) {
      fs::resize_file(path, 0);
    }
  }
}

// An empty file: systemd makes an id at boot and does not take this for the first boot, which would undo the recipe's
// choice of units (machine-id(5), "First Boot Semantics").
void empty_machine_id(const fs::path& tree) {
  const fs::path path = tree / "etc/machine-id";
  if (is_file(path)) fs::resize_file(path, 0);
}

void remove_host_keys(const fs::path& tree) {
  const fs::path folder = tree / "etc/ssh";
  if (!is_folder(folder)) return;
  bool removed = false;
  for (const std::string& name : host::list_folder(folder)) {
    if (name.starts_with("ssh_host_") && is_file(folder / name)) removed = fs::remove(folder / name) || removed;
  }
  if (!removed) return;
  fs::path made = tree;
  for (const char* part : {"etc", "systemd", "system", "ssh.service.d"}) {
    made /= part;
    if (fs::create_directory(made)) set_owner_and_mode(made, 0, 0, 0755);
  }
  host::write_file(made / "kiln-host-keys.conf", kHostKeysUnit);
  set_owner_and_mode(made / "kiln-host-keys.conf", 0, 0, 0644);
}

void fix_entry(const fs::path& path, std::int64_t started_ms) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) throw host::os_error("reading " + path.string(), errno);
  store::remove_overlay_notes(path);
  if (S_ISDIR(info.st_mode)) {
    for (const std::string& name : host::list_folder(path)) fix_entry(path / name, started_ms);
  }
  const std::int64_t changed_ms = info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000;
  if (changed_ms >= started_ms - kClockSlackMs) set_time(path, kLayerEpochSeconds);
}

}  // namespace

void normalise(const host::Path& tree, Time started) {
  for (const char* name : kEmptied) empty_folder(tree / name);
  remove_files(tree);
  empty_logs(tree / "var/log");
  empty_machine_id(tree);
  remove_host_keys(tree);
  fix_entry(tree, started.time_since_epoch().count());
}

}  // namespace kiln::bake
