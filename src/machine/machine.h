// Machines: how a computer is run from an image. Real ones are systemd-nspawn containers that boot the image's own
// init; simulated ones are timers.
//
// A machine lives on when the process that started it dies; `adopt` finds it again. All calls are made on the loop's
// thread and return at once; what takes time ends in a callback or an event on that thread. A call for an id that is
// unknown is an Error(not_found).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "host/file.h"
#include "store/image.h"

namespace kiln::machine {

struct Limits {
  std::uint64_t memory_bytes = 0;
  double cpus = 0;  // 2.0: two whole processors' time
};

// Where the machine is plugged in; made and removed with the machine by whoever runs the network (see network.h).
struct Interface {
  std::string mac;      // "0a:..."
  std::string address;  // IPv4, dotted
  int prefix = 20;
  std::string gateway;
  std::string vpc = {};  // "vpc-0abc...": the network that its address is of
};

// A volume that a machine has besides its own disk, and the name under which its guest finds it.
struct VolumeAt {
  std::string volume;  // its id
  std::string device;  // "/dev/sdf"
  bool operator==(const VolumeAt&) const = default;
};

struct Spec {
  std::string id;        // "i-0abc..."; names its folder, its namespace, its cgroup
  std::string hostname;  // "ip-172-31-0-10"
  store::Image image;
  Interface interface;
  Limits limits;
  std::string type;  // "t3.micro"; simulated machines may take their start time from it
  // What it can write, file system and all; a guest that has written it gets ENOSPC. Of the launch: a start keeps it.
  std::uint64_t disk_gib = 8;
  std::vector<VolumeAt> volumes = {};  // made already; of the launch: later ones are attached
  // Path → content, laid over the image as its host name is; one whose folder the image does not have is left out.
  std::map<std::string, std::string> files = {};
};

// Layers of an image that a machine can run from: the options of their mount have one page, 65 bytes a layer.
inline constexpr std::size_t kLayersMost = 56;

// What the machine does, as its host sees it. `running`: init has been started and has not ended.
enum class State { starting, running, stopping, stopped, gone };

struct Exit {
  std::string id;
  bool asked = false;  // we asked it to stop; otherwise it died or powered itself off
  std::string reason;  // "powered off", "killed by signal 9", for people
};

// The reason of an Exit of a machine of which `adopt` has found nothing: no process and no disk.
inline constexpr std::string_view kNothingLeft = "nothing is left of it; a region that is stopped ends its machines";

using Done = std::function<void(std::exception_ptr)>;  // null: it is done
using Captured = std::function<void(std::exception_ptr, const Digest& image)>;

// A script that runs inside a machine as its root. The machine's own init starts it, so all limits of the machine hold
// for it, and it is reached without network and without a port.
struct Command {
  std::string id;                                  // names it in this machine: letters, digits, '-', at most 64
  std::string script;                              // with "#!" for another shell than /bin/sh
  std::map<std::string, std::string> environment;  // added to what init gives
  std::string directory;                           // where it runs; empty: /usr/bin, as AWS's agent
  Duration delivery{30'000};                       // how long its init is tried to be reached
  Duration timeout{3'600'000};                     // since it runs; then all of its processes are killed
};
inline constexpr std::size_t kCommandOutMax = 24'000;  // bytes kept of what it writes: as many as AWS shows
inline constexpr std::size_t kCommandErrMax = 8'000;

struct CommandEnd {
  // exited: with `status`. undelivered: no init that could be asked, and nothing has run. lost: the machine ended under
  // it, or nobody knows.
  enum class How { exited, timed_out, cancelled, undelivered, lost };
  How how = How::lost;
  int status = -1;  // exit status; 128 + signal when its shell was killed
  std::string out;  // its first bytes
  std::string err;
  bool out_cut = false;  // it wrote more
  bool err_cut = false;
  Time started{};  // as far as it was
  Time ended{};
};
using CommandDone = std::function<void(const CommandEnd&)>;

class Machines {
 public:
  virtual ~Machines() = default;

  // Makes the disk (an overlay on the image's layers) and starts it. `done` when init has been started, or with what
  // failed: then nothing of it is left.
  virtual void launch(const Spec& spec, Done done) = 0;
  // Asks init to shut down, kills after `deadline`; the disk stays.
  virtual void stop(const std::string& id, Duration deadline, Done done) = 0;
  virtual void start(const std::string& id, Done done) = 0;
  // Its limits from the next start on.
  virtual void resize(const std::string& id, const Limits& limits) = 0;
  virtual void reboot(const std::string& id, Duration deadline, Done done) = 0;
  // Ends it as `stop` does and removes its disk, network and limits. Ending what has ended is fine.
  virtual void terminate(const std::string& id, Duration deadline, Done done) = 0;

  // Makes an image of what it was launched from and of what it has written since, in the store. Of one that runs, as
  // its disk is at one moment, with what has left the guest's programs by then. No other call for it until it is done,
  // except `terminate`.
  virtual void capture(const std::string& id, Captured done) = 0;
  // Runs a command in a running machine (else Error(conflict)). It goes on when this process dies: after a restart,
  // `run` with the same id does not begin it again but tells of its end. Once `done` was told, it is forgotten in the
  // turn that follows.
  virtual void run(const std::string& id, const Command& command, CommandDone done) = 0;
  // Kills all processes of a command that runs; `done` hears of it. One that is not under way is ignored.
  virtual void cancel(const std::string& id, const std::string& command) = 0;

  // Volumes: block devices that last longer than a machine. One call at a time for a volume, and while it is attached
  // only when there is none for its machine. Each may be asked for again after a restart, and then finds what was done.
  //
  // Zeroes, or a copy of the volume `origin`: of an attached one as it is at one moment, with what has left the guest's
  // programs by then if its file system is mounted. May be larger than that, not smaller.
  virtual void make_volume(const std::string& id, std::uint64_t gib, const std::string& origin, Done done) = 0;
  virtual void grow_volume(const std::string& id, std::uint64_t gib, Done done) = 0;
  virtual void remove_volume(const std::string& id, Done done) = 0;  // one that is not there is fine
  // To a machine that runs, which finds it at once, or to one that is stopped.
  virtual void attach_volume(const std::string& id, const VolumeAt& at, Done done) = 0;
  // Error(conflict) while its guest has it mounted or open: then ask again.
  virtual void detach_volume(const std::string& id, const std::string& volume, Done done) = 0;
  // Makes an image of the root file system that a volume holds, whole or in a partition, in the store. Of one that no
  // machine has, and not while it is removed. Error(invalid) for a volume that holds none.
  virtual void image_of_volume(const std::string& id, const store::ImageConfig& config, Captured done) = 0;
  // After `adopt`: removes every volume but these.
  virtual void keep_volumes(const std::vector<std::string>& ids) = 0;

  virtual State state(const std::string& id) const = 0;
  virtual std::string console(const std::string& id) const = 0;  // at most the last 64 KiB, as EC2 keeps

  // Called once for each machine that ended without our asking, also if it ended while nobody watched (at `adopt`), and
  // for each that `adopt` was told of and of which nothing is left.
  virtual void on_exit(std::function<void(const Exit&)> listener) = 0;
  // After a restart: finds the machines that `known` names and watches them again; removes whatever else of ours is
  // left (a launch that was under way). Returns the ids that live.
  virtual std::vector<std::string> adopt(const std::vector<Spec>& known) = 0;
};

}  // namespace kiln::machine
