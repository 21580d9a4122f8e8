// Life: the slow steps of a machine's life, as functions of its folder; they block and run off the loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "host/process.h"
#include "machine/host_kind.h"
#include "machine/internal/data_volume.h"
#include "machine/layers.h"
#include "machine/nspawn.h"
#include "machine/supervisor.h"

namespace kiln::machine {

// What machine.json says: what we are about to do, so that whoever comes after us can finish or undo it.
struct Record {
  // launching: its disk is nothing yet that anybody could miss. starting: it has one from before.
  enum class Phase { launching, starting, running, stopping, stopped, terminating };
  Phase phase = Phase::launching;
  std::vector<std::string> cgroups;  // the folders that it was given
};
void write_record(const host::Path& folder, const Record& record);
std::optional<Record> read_record(const host::Path& folder);

struct Place {
  NspawnOptions options;
  HostLimits host;
  host::Path folder(const std::string& id) const { return options.folder / "instances" / id; }
  host::Path templates() const { return options.folder / "volumes"; }  // empty disks, to be copied
  std::string name(const std::string& id) const;                       // "kiln7-i-0abc"
  DataVolumes volumes() const { return DataVolumes(options.folder); }
};

// The folder that machines' folders are in, for root only: a guest's disk holds files that are setuid for every user
// who can reach them.
host::Path make_instances_folder(const host::Path& region);

// The id becomes part of file, unit and cgroup names: letters, digits, '-', at most 40. Throws Error(invalid).
void check_id(const std::string& id);

// Our own program by a path that holds as long as we live, also when its file has been replaced by a newer build.
std::vector<std::string> own_program(const Place& place);

// Disk, wire, cgroups, process: makes what is missing and starts the supervisor. When it throws, `remove_machine`
// removes what was made.
host::ProcessRef start_machine(const Place& place, Layers& layers, const Spec& spec, Record::Phase phase);
// Why a machine did not start, with the last lines of its console.
Error start_error(const host::Path& folder, const std::string& what);
// `machine`: the one that has `origin`, empty: none. See Machines::make_volume.
void make_volume_of(const Place& place, const std::string& id, std::uint64_t gib, const std::string& origin,
                    const std::string& machine);
// A volume that is made, to a machine that runs or not; from it. What a machine has is in its folder before it has it.
// Throws Error(conflict) while its guest uses what is to be taken away, and when it boots just now.
void attach_volume_to(const Place& place, const std::string& id, const VolumeAt& at);
void detach_volume_from(const Place& place, const std::string& id, const std::string& volume);
// Lets its guest's file systems go on that a process left frozen when it was killed.
void thaw_volumes(const Place& place, const std::string& id);
// After its end, however it ended: processes and cgroups go, and what systemd-nspawn leaves when it is killed. The
// disk, the mounts and the wire stay.
void clear_processes(const Place& place, const std::string& id);
// Ends it at once and removes all of it.
void remove_machine(const Place& place, const std::string& id);
// Names of machines' network namespaces, of this slot.
std::vector<std::string> machine_namespaces(int slot);
// Supervisors of machines below `folder`, also those that wrote no status yet: id → process.
std::vector<std::pair<std::string, host::ProcessRef>> running_supervisors(const host::Path& folder);

}  // namespace kiln::machine
