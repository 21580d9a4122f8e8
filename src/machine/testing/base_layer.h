// base_layer: a small Debian as an erofs file, made once and kept in $KILN_TEST_CACHE; for tests with real machines.
#pragma once

#include <cstdlib>
#include <filesystem>

#include "host/clock.h"
#include "host/file.h"
#include "host/lock.h"
#include "host/process.h"

namespace kiln::machine::testing {

inline host::Path base_layer() {
  const char* given = std::getenv("KILN_TEST_CACHE");
  const host::Path cache = given != nullptr ? given : KILN_TEST_CACHE_DEFAULT;
  host::make_folders(cache);
  const auto lock = host::FileLock::wait(cache / "machine-base.lock", "making the base of the machine tests",
                                         host::SystemClock().now());
  const host::Path file = cache / "machine-base.erofs";
  if (std::filesystem::exists(file)) return file;
  const host::TemporaryFolder work("machine-base", cache);
  const host::Path root = work.path() / "root";
  host::run_checked({"mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd-sysv,dbus,nginx-light",
                     "--aptopt=Acquire::Languages \"none\"", "bookworm", root.string()});
  host::run_checked({"mkfs.erofs", "-T0", (work.path() / "base.erofs").string(), root.string()});
  std::filesystem::rename(work.path() / "base.erofs", file);
  return file;
}

}  // namespace kiln::machine::testing
