// Simulated volumes: see simulated_volumes.h.
#include "machine/simulated_volumes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace kiln::machine {

SimulatedVolumes::Volume& SimulatedVolumes::at(const std::string& id) {
  const auto found = volumes_.find(id);
  if (found == volumes_.end()) throw Error(ErrorCode::not_found, fmt::format("there is no volume {}", id));
  return found->second;
}

std::vector<std::string> SimulatedVolumes::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, volume] : volumes_) ids.push_back(id);
  return ids;
}

void SimulatedVolumes::fail_if_told() {
  if (failing_ == 0) return;
  --failing_;
  throw Error(ErrorCode::disk_full, "the host has no space for volumes");
}

void SimulatedVolumes::make(const std::string& id, std::uint64_t gib, const std::string& origin) {
  fail_if_told();
  if (volumes_.contains(id)) return;
  Volume made;
  made.gib = gib;
  if (!origin.empty()) {
    KILN_ASSERT(at(origin).gib <= gib, "a copy is not smaller than its origin");
    made.content = at(origin).content;
  }
  volumes_[id] = made;
}

void SimulatedVolumes::grow(const std::string& id, std::uint64_t gib) { at(id).gib = std::max(at(id).gib, gib); }

void SimulatedVolumes::remove(const std::string& id) {
  fail_if_told();
  KILN_ASSERT(machine_of(id).empty(), "a volume that a machine has is not removed");
  volumes_.erase(id);
}

void SimulatedVolumes::attach(const std::string& machine, const std::string& id) {
  fail_if_told();
  KILN_ASSERT(at(id).machine.empty() || at(id).machine == machine, "one machine has a volume");
  at(id).machine = machine;
}

void SimulatedVolumes::detach(const std::string& id) {
  if (at(id).mounted) throw Error(ErrorCode::conflict, fmt::format("the volume {} is mounted", id));
  at(id).machine.clear();
}

Digest SimulatedVolumes::root(const std::string& id) {
  fail_if_told();
  const Volume& volume = at(id);
  KILN_ASSERT(volume.machine.empty(), "what a machine may write is not read");
  if (volume.content.empty()) throw Error(ErrorCode::invalid, "it holds no file system");
  return Digest::parse(volume.content);
}

void SimulatedVolumes::keep(const std::vector<std::string>& ids) {
  std::erase_if(volumes_,
                [&](const auto& entry) { return std::find(ids.begin(), ids.end(), entry.first) == ids.end(); });
}

std::string SimulatedVolumes::machine_of(const std::string& id) const {
  const auto found = volumes_.find(id);
  return found == volumes_.end() ? "" : found->second.machine;
}

void SimulatedVolumes::unmount(const std::string& machine) {
  for (auto& [id, volume] : volumes_) {
    if (volume.machine == machine) volume.mounted = false;
  }
}

void SimulatedVolumes::release(const std::string& machine) {
  unmount(machine);
  for (auto& [id, volume] : volumes_) {
    if (volume.machine == machine) volume.machine.clear();
  }
}

void SimulatedVolumes::release_all() {
  for (auto& [id, volume] : volumes_) {
    volume.machine.clear();
    volume.mounted = false;
  }
}

}  // namespace kiln::machine
