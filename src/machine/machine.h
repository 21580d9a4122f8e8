// Machines: how a computer is run from an image. Real ones are systemd-nspawn containers that boot the image's own
// init; simulated ones are timers.
//
// A machine lives on when the process that started it dies; `adopt` finds it again. All calls are made on the loop's
// thread and return at once; what takes time ends in a callback or an event on that thread. A call for an id that is
// unknown is an Error(not_found).
#pragma once

#include <cstdint>
#include <functional>
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

struct Spec {
  std::string id;        // "i-0abc..."; names its folder, its namespace, its cgroup
  std::string hostname;  // "ip-172-31-0-10"
  store::Image image;
  Interface interface;
  Limits limits;
  std::string type;  // "t3.micro"; simulated machines may take their start time from it
};

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
