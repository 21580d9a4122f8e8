// Sandbox: mounts and systemd-nspawn.
#include "bake/sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "bake/files.h"
#include "base/error.h"
#include "base/text.h"
#include "host/mounts.h"
#include "host/os_error.h"
#include "store/erofs.h"

namespace kiln::bake {
namespace {

// systemd-nspawn names a container once a machine; several bakes may run in one process.
std::string container_name() {
  static std::atomic<unsigned> next{0};
  return fmt::format("kiln-bake-{}-{}", ::getpid(), next++);
}

void as_system_folder(const host::Path& path) {
  set_owner_and_mode(path, 0, 0, 0755);
  set_time(path, kLayerEpochSeconds);
}

void write_tool(const host::Path& path, std::string_view content, unsigned mode) {
  host::make_folders(path.parent_path());
  host::write_file(path, content, mode);
  // Whatever our umask is.
  set_owner_and_mode(path, 0, 0, mode);
  set_time(path, kLayerEpochSeconds);
  for (host::Path at = path.parent_path(); at.filename() != "tools"; at = at.parent_path()) as_system_folder(at);
}

// An addition to the root while it is baked, never part of a layer: invoke-rc.d and deb-systemd-invoke ask
// policy-rc.d, and 101 means "do not start anything"; the resolver is the host's.
void make_tools(const host::Path& tools) {
  host::make_folders(tools);
  write_tool(tools / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0755);
  std::error_code error;
  const std::string resolver =
      std::filesystem::exists("/etc/resolv.conf", error) ? host::read_file("/etc/resolv.conf") : std::string();
  write_tool(tools / "etc/resolv.conf", resolver, 0644);
}

}  // namespace

void check_can_mount() {
  if (::geteuid() != 0)
    throw Error(ErrorCode::denied, "baking needs root: it mounts layers and runs steps in a container",
                "run it again with sudo");
  check_kernel();
}

void check_kernel(const host::Path& file_systems) {
  for (const char* file_system : {"erofs", "overlay"}) host::need_file_system(file_system, file_systems);
}

void with_private_mounts(const std::function<void()>& body) {
  host::with_private_mounts([&] {
    // systemd-nspawn's notes about its containers end with us too.
    host::make_folders("/run/systemd/nspawn");
    if (::mount("kiln", "/run/systemd/nspawn", "tmpfs", 0, "size=1m,mode=0755") != 0) {
      throw host::os_error("mounting a tmpfs on /run/systemd/nspawn", errno);
    }
    body();
  });
}

MergedRoot::MergedRoot(host::Path work, const std::vector<host::Path>& layers, bool writable) : work_(std::move(work)) {
  make_tools(work_ / "tools");
  for (const char* name : {"root", "exchange", "upper", "work"}) host::make_folders(work_ / name);
  // The root's own attributes come from the topmost folder.
  as_system_folder(work_ / "upper");
  as_system_folder(work_ / "tools");
  std::string lower = "tools";
  for (std::size_t i = layers.size(); i-- > 0;) {
    // overlayfs takes no layer twice, and two steps that change nothing are the same one.
    if (std::find(layers.begin() + static_cast<std::ptrdiff_t>(i) + 1, layers.end(), layers[i]) != layers.end())
      continue;
    const std::string name = fmt::format("{}", i);
    store::mount_layer(layers[i], work_ / name);
    lower += ":" + name;
  }
  // redirect_dir and metacopy would write layers that only make sense beside the ones they were made on. `volatile`:
  // nobody reads the upper folder of a bake that was cut off, so nothing needs to wait for the disk.
  std::string options = fmt::format("lowerdir={}", lower);
  if (writable) options += ",upperdir=upper,workdir=work,redirect_dir=off,metacopy=off,index=off,volatile";
  // Relative names, because the kernel takes at most a page of options.
  if (::chdir(work_.c_str()) != 0 ||
      ::mount("overlay", "root", "overlay", writable ? 0 : MS_RDONLY, options.c_str()) != 0) {
    throw Error(
        errno == EINVAL ? ErrorCode::unsupported : ErrorCode::io,
        fmt::format("mounting {} layers as an overlay in {}: {}", layers.size(), work_.string(), std::strerror(errno)),
        "the store must be on ext4, xfs or btrfs; KILN_HOME moves it");
  }
}

void MergedRoot::give_secrets(const std::map<std::string, std::string>& secrets) const {
  const host::Path folder = exchange() / "secrets";
  host::make_folders(folder);
  if (::mount("kiln", folder.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=0700") != 0)
    throw host::os_error("mounting a tmpfs on " + folder.string(), errno);
  for (const auto& [name, value] : secrets) {
    host::write_file(folder / name, value, 0400);
    set_owner_and_mode(folder / name, 0, 0, 0400);
  }
}

host::CommandResult MergedRoot::run(const Inside& inside) const {
  host::Command command;
  command.argv = bound_to_us("systemd-nspawn");
  for (const char* word : {"systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2",
                           "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--hostname=kiln"}) {
    command.argv.emplace_back(word);
  }
  command.argv.push_back(inside.terminal ? "--console=interactive" : "--console=pipe");
  command.argv.push_back("--machine=" + container_name());
  command.argv.push_back("--directory=" + root().string());
  command.argv.push_back(fmt::format("--bind={}:/run/kiln", exchange().string()));
  for (const auto& [from, to] : inside.binds) command.argv.push_back(fmt::format("--bind={}:{}", from.string(), to));
  for (const auto& [name, value] : bake_environment())
    command.argv.push_back(fmt::format("--setenv={}={}", name, value));
  for (const auto& [name, value] : inside.environment)
    command.argv.push_back(fmt::format("--setenv={}={}", name, value));
  command.argv.push_back("--");
  command.argv.insert(command.argv.end(), inside.argv.begin(), inside.argv.end());
  command.on_output = inside.on_output;
  command.cancelled = inside.cancelled;
  if (inside.terminal) return {.status = host::run_attached(command), .timed_out = false, .out = {}, .err = {}};
  return host::run(command);
}

std::vector<std::pair<std::string, std::string>> bake_environment() {
  std::vector<std::pair<std::string, std::string>> environment = {
      {"DEBIAN_FRONTEND", "noninteractive"},
      {"LANG", "C.UTF-8"},
      {"PYTHONDONTWRITEBYTECODE", "1"},
      {"SOURCE_DATE_EPOCH", fmt::format("{}", kLayerEpochSeconds)}};
  for (const char* name : {"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}) {
    if (const char* value = std::getenv(name)) environment.emplace_back(name, value);
  }
  return environment;
}

std::vector<std::string> bound_to_us(const std::string& program) {
  if (host::find_program(program).empty()) {
    throw Error(ErrorCode::missing_program, fmt::format("the program '{}' is not installed", program),
                fmt::format("Install it: apt-get install {}", host::package_of(program)));
  }
  // host::run ends `unshare` with us; it ends its child, which is the init of a pid namespace, and the kernel ends all
  // that is in that.
  return {"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"};
}

}  // namespace kiln::bake
