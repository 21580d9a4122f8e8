// Sandbox: a root made of layers, and running programs in it. Private to this room.
//
// Everything is mounted in a mount namespace of one thread: when the thread or its process ends, however it ends, the
// mounts are gone. Programs run in a pid namespace that ends with them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "host/file.h"
#include "host/process.h"

namespace kiln::bake {

// Throws Error(denied) without root, and what `check_kernel` throws.
void check_can_mount();
// Throws Error(unsupported) on a kernel without erofs or overlayfs. `file_systems` is its list of those that it has.
void check_kernel(const host::Path& file_systems = "/proc/filesystems");

// Runs `body` in a thread that has a mount namespace of its own, from which nothing spreads. An exception climbs to the
// caller.
void with_private_mounts(const std::function<void()>& body);

// The layers merged at `root()`, while inside with_private_mounts.
class MergedRoot {
 public:
  // `work` is an empty folder that outlives this; `layers` are erofs files, lowest first.
  // `writable`: changes go to `upper()`, an own folder of `work`. Else the root is read-only.
  MergedRoot(host::Path work, const std::vector<host::Path>& layers, bool writable);

  host::Path root() const { return work_ / "root"; }
  host::Path upper() const { return work_ / "upper"; }

  // Runs it in the root by systemd-nspawn, as pid 2 of a container with the host's network: services do not start,
  // names are resolved as on the host, /run/kiln is `exchange()`. `binds` are (host folder, folder inside).
  struct Inside {
    std::vector<std::string> argv;
    std::vector<std::pair<host::Path, std::string>> binds;
    std::function<void(std::string_view)> on_output;
    bool terminal = false;
    std::vector<std::pair<std::string, std::string>> environment{};
    std::function<bool()> cancelled{};  // once true: ended, and Error(cancelled)
  };
  host::CommandResult run(const Inside& inside) const;
  host::Path exchange() const { return work_ / "exchange"; }
  // Files in /run/kiln/secrets, in memory and gone with the mounts.
  void give_secrets(const std::map<std::string, std::string>& secrets) const;

 private:
  host::Path work_;
};

// Environment of everything that a bake runs: nothing of the user's but the proxies; SOURCE_DATE_EPOCH for what writes
// dates.
std::vector<std::pair<std::string, std::string>> bake_environment();

// argv before the program's own: ends the program and all that it started when we die. Throws
// Error(missing_program) for `program`, which nobody else would name: what is run first is there.
std::vector<std::string> bound_to_us(const std::string& program);

}  // namespace kiln::bake
