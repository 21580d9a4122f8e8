// NspawnMachines: machines that are systemd-nspawn containers booting the image's own init.
//
// A machine's folder `<folder>/instances/<id>`: machine.json (what it is and what we are doing with it; written before
// the act), seed/ (hostname, machine id, resolver: a layer of its own on top of the image's), disk.ext4
// (its root volume, a file system of the disk's size), disk/ (that volume, mounted: what it has written), root (its
// root file system, mounted), rw (of a read-only image: where its writable folders are), status and console.log (its
// supervisor's), volumes (which others it has; see internal/data_volume.h). A read-only image's root has no writable
// layer at all: writing fails with EROFS outside the image's `writable`, /run, /tmp, /var/tmp and /var/lib/systemd.
// Processes, mounts, namespaces and cgroups are named kiln<slot>-<id>, outlive this object and are found again by
// `adopt`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/process.h"
#include "machine/host_kind.h"
#include "machine/machine.h"
#include "store/store.h"

namespace kiln::machine {

struct NspawnOptions {
  host::Path folder;  // the region's state folder
  int slot = 0;       // whose network it is: a machine's VPC must be made
  // The program that has supervisor and agent inside, before `machine-supervisor`: {"/proc/self/exe"} where main()
  // serves it.
  std::vector<std::string> supervisor = {"/proc/self/exe"};
};

class NspawnMachines final : public Machines {
 public:
  // Both must outlive this. Call it on the loop's thread, and destroy it there or after the loop has ended.
  NspawnMachines(host::Loop& loop, store::Store& store, NspawnOptions options);
  ~NspawnMachines() override;  // machines live on

  void launch(const Spec& spec, Done done) override;
  void stop(const std::string& id, Duration deadline, Done done) override;
  void start(const std::string& id, Done done) override;
  void resize(const std::string& id, const Limits& limits) override;
  void reboot(const std::string& id, Duration deadline, Done done) override;
  void terminate(const std::string& id, Duration deadline, Done done) override;
  void capture(const std::string& id, Captured done) override;
  void run(const std::string& id, const Command& command, CommandDone done) override;
  void cancel(const std::string& id, const std::string& command) override;
  void make_volume(const std::string& id, std::uint64_t gib, const std::string& origin, Done done) override;
  void grow_volume(const std::string& id, std::uint64_t gib, Done done) override;
  void remove_volume(const std::string& id, Done done) override;
  void attach_volume(const std::string& id, const VolumeAt& at, Done done) override;
  void detach_volume(const std::string& id, const std::string& volume, Done done) override;
  void image_of_volume(const std::string& id, const store::ImageConfig& config, Captured done) override;
  void keep_volumes(const std::vector<std::string>& ids) override;
  State state(const std::string& id) const override;
  std::string console(const std::string& id) const override;
  void on_exit(std::function<void(const Exit&)> listener) override;
  std::vector<std::string> adopt(const std::vector<Spec>& known) override;

 private:
  struct Box;
  std::shared_ptr<Box> box_;
};

// Ends every machine below `folder` at once and removes all that is left of them (processes, mounts, namespaces,
// cgroups, folders), without a loop: for `region reset` and after a crash, also when the folder is damaged or gone.
// Volumes are given back and stay. Returns what could not be removed.
std::vector<std::string> remove_all_machines(const host::Path& folder, int slot);

// Pure: the argument vectors of a machine's start.
struct StartPlan {
  std::string name;  // "kiln7-i-0abc"
  std::string hostname;
  std::string machine_id;  // 32 hex digits
  host::Path root;
  bool read_only = false;
  std::vector<std::pair<host::Path, std::string>> binds;  // folder of ours → folder of the machine
  host::Path netns;
  host::Path hypervisor_uuid;  // file that is its /sys/hypervisor/uuid
};
std::string machine_id_of(const std::string& id);
// By which software finds that it is on EC2:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
std::string hypervisor_uuid_of(const std::string& id);
std::vector<std::string> nspawn_arguments(const StartPlan& plan);
// The same as a transient unit of systemd. `devices`: those of its volumes.
std::vector<std::string> unit_arguments(const std::string& name, const Limits& limits,
                                        const std::vector<std::string>& devices,
                                        const std::vector<std::string>& command);

}  // namespace kiln::machine
