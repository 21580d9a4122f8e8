// Notifications: sd_notify(3)'s socket, from one sender only.
//
// Its address is abstract: a path would be too long for a socket in a deep state folder. Such an address has no owner
// and every user of the host can send to it, so each message's sender is looked at: the kernel says who it was.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "host/file.h"

namespace kiln::machine {

class Notifications {
 public:
  // `address` begins with '@'. Throws Error(io) when it is taken.
  explicit Notifications(const std::string& address);
  int fd() const { return socket_.get(); }
  // The next message, empty when it is not from process `sender` under our own user; nothing when there is none.
  std::optional<std::string> take(pid_t sender);

 private:
  host::FileDescriptor socket_;
};

}  // namespace kiln::machine
