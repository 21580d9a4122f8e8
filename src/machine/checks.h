// Checks: whether this host can run a region with real machines. `kiln doctor` shows all, `region start` requires all.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "host/file.h"

namespace kiln::machine {

struct Check {
  std::string name;  // "kernel: erofs"
  bool ok = false;
  std::string found;                        // what is there: "in /proc/filesystems", "haproxy at /usr/sbin/haproxy"
  std::string next;                         // what to do when it is not ok; one sentence
  ErrorCode code = ErrorCode::unsupported;  // what `require_host` throws
  bool required = true;                     // false: a region runs without it, with less
};

// Whether the file system that `folder` is on, or would be, has `least` bytes free.
Check check_free(const std::string& name, host::Path folder, std::uint64_t least, const std::string& next);

// In the order in which a user would mend them. `folder` is where the region's state and the store will be (for free
// space). Loads kernel modules (erofs, overlay, loop, nf_tables, tun) when it may; changes nothing else.
std::vector<Check> check_host(const host::Path& folder);
// Throws the first required check that fails: Error(denied), Error(unsupported), Error(missing_program),
// Error(disk_full).
void require_host(const host::Path& folder);

}  // namespace kiln::machine
