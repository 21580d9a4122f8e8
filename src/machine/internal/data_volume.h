// Data volume: a block device that a machine has besides its disk: a sparse file `<region>/ebs/<id>`, a loop device
// while it is attached, and nodes of that device in the guest's /dev.
//
// Nothing is held open: which device has which file is asked of the kernel, and which volumes a machine has is in its
// folder's file `volumes`, written before they are attached. So what a dead process has left is found and given back.
// All of it blocks, and is called off the loop. Files appear whole or not at all.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "host/file.h"
#include "machine/machine.h"

namespace kiln::machine {

// Of one region: `folder` is its state folder.
class DataVolumes {
 public:
  explicit DataVolumes(const host::Path& folder) : folder_(folder / "ebs") {}

  host::Path file(const std::string& id) const { return folder_ / id; }
  // Each is fine when it was done before. `origin`: a volume to copy, empty: zeroes.
  void make(const std::string& id, std::uint64_t gib, const std::string& origin) const;
  void grow(const std::string& id, std::uint64_t gib) const;
  void remove(const std::string& id) const;  // Error(conflict) while somebody has it open
  // Removes every one but these, and leaves those that somebody has open.
  void keep(const std::set<std::string>& ids) const;

  std::string bind(const std::string& id) const;    // its device, made when it has none; Error(not_found)
  std::string device(const std::string& id) const;  // empty: it has none
  void release(const std::string& id) const;        // Error(conflict) while somebody has it open
  void release_all() const;

 private:
  host::Path folder_;
};

// What a machine has, by the file in its folder.
void write_attachments(const host::Path& machine, const std::vector<VolumeAt>& volumes);
std::vector<VolumeAt> read_attachments(const host::Path& machine);

// Where a guest finds it: as it was asked for, by the other of the names /dev/sdf and /dev/xvdf, and by its id, as
// Amazon's images have it. Throws Error(invalid) for a device that is no "/dev/...".
std::vector<std::string> names_of(const VolumeAt& at);
// systemd-nspawn's arguments for the volumes of a machine at this boot.
std::vector<std::string> device_binds(const host::Path& machine);

// In a guest that runs, by its init's pid.
void show_device(pid_t init, const VolumeAt& at, const std::string& device);
void hide_device(pid_t init, const VolumeAt& at);

// While it lives, nothing is written to the file systems that the guest has mounted from a device: writers wait.
class FrozenDevice {
 public:
  FrozenDevice(pid_t init, const std::string& device);
  ~FrozenDevice();
  FrozenDevice(const FrozenDevice&) = delete;
  FrozenDevice& operator=(const FrozenDevice&) = delete;

 private:
  host::FileDescriptor mounted_;
};
// Lets go on what the process of a `FrozenDevice` left frozen when it was killed.
void thaw_device(pid_t init, const std::string& device);

}  // namespace kiln::machine
