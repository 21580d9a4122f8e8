// Remains: see remains.h.
#include "machine/remains.h"

#include <fmt/format.h>

#include "base/text.h"
#include "machine/host_kind.h"
#include "machine/internal/life.h"
#include "machine/internal/loop_device.h"
#include "machine/namespaces.h"
#include "machine/slots.h"

namespace kiln::machine {

Remains remains_of(const host::Path& folder, int slot) {
  Remains remains;
  remains.namespaces = namespaces_with_prefix(slot_name(slot) + "-");
  remains.cgroups = cgroups_with_prefix(host_limits(), slot_name(slot) + "-");
  if (folder.empty()) return remains;
  for (const auto& [id, process] : running_supervisors(folder)) remains.machines.push_back(id);
  for (const MountLine& mount : mounts_below(folder)) remains.mounts.emplace_back(mount.target);
  for (const auto& [file, device] : loop_devices(folder)) remains.devices.push_back(device);
  return remains;
}

std::string describe(const Remains& remains) {
  std::vector<std::string> parts;
  const auto count = [&](std::size_t number, const char* noun) {
    if (number > 0) parts.push_back(fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s"));
  };
  count(remains.machines.size(), "machine");
  count(remains.namespaces.size(), "network namespace");
  count(remains.mounts.size(), "mount");
  count(remains.devices.size(), "loop device");
  count(remains.cgroups.size(), "cgroup");
  return parts.empty() ? "nothing" : join(parts, ", ");
}

}  // namespace kiln::machine
