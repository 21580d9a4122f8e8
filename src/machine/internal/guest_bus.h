// GuestBus: the few things that a machine's systemd is asked: run a command as a transient unit, how is it, kill it.
// org.freedesktop.systemd1(5) over the socket that systemd itself listens on, so no D-Bus daemon is needed inside.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "host/file.h"
#include "host/process.h"
#include "machine/machine.h"

struct sd_bus;

namespace kiln::machine {

// Connects to /run/systemd/private of the machine that `init` is the first process of. Follows no link of the machine's
// and takes no peer but init itself. Throws Error(unavailable) when nobody listens there yet, Error(denied) when what
// is there is not init's.
host::FileDescriptor connect_to_init(const host::ProcessRef& init);

// What the command's shell has for stdin, stdout, stderr.
struct CommandFiles {
  int in = -1;
  int out = -1;
  int err = -1;
};

class GuestBus {
 public:
  // Of a connection that `connect_to_init` made; waits for the handshake. Throws Error(unavailable).
  explicit GuestBus(host::FileDescriptor socket);
  ~GuestBus();

  // Throws Error(conflict) when init refuses (it has not begun), Error(unavailable) when it does not answer.
  void start(const std::string& unit, const Command& command, const CommandFiles& files);
  struct UnitState {
    bool running = false;  // its process has been started
    bool ended = false;
    int status = 0;  // once ended: exit status, 128 + signal
  };
  // Empty: there is no such unit. Throws Error(unavailable) when init does not answer.
  std::optional<UnitState> state(const std::string& unit);
  void kill(const std::string& unit);    // all of its processes; never throws
  void remove(const std::string& unit);  // never throws

  int descriptor() const;  // readable: call `drain`, as after each call that was answered
  // Takes what init tells everybody, a bounded number of messages; empty: the connection is gone.
  std::optional<int> drain();

 private:
  struct Close {
    void operator()(sd_bus* bus) const;
  };
  std::unique_ptr<sd_bus, Close> bus_;
};

}  // namespace kiln::machine
