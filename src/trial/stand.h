// Stand: where one image is tried: a machine of its own. `builder` has one that is an instance of an AMI.
//
// A real stand is a machine on this host, in a network that nobody else is in, without a region. It is a folder below
// `trials`, with a slot of this host. Whatever ends the process, nothing stays: the folder is locked while the process
// lives, and the next stand removes all whose process is gone. One that was kept stays until `end_kept`, or until its
// machine has ended.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/clock.h"
#include "host/random.h"
#include "http/message.h"
#include "machine/machine.h"
#include "store/store.h"

namespace kiln::trial {

// All calls block. `cancelled` of the real one is asked while they wait: then Error(cancelled).
class Stand {
 public:
  virtual ~Stand() = default;
  // Starts a machine of the image that the stand is for. Returns when init has been started, or when it can be asked.
  // Throws with what failed.
  virtual void boot() = 0;
  // Throws Error(conflict) when the machine does not run any more.
  virtual machine::CommandEnd ask(const machine::Command& command) = 0;
  // By an address that others have too. Throws Error(unavailable), Error(timeout).
  virtual http::Response fetch(int port, const http::Request& request, Duration timeout) = 0;
  // What the image holds of secrets (secrets.h), before anything ran; at most as many lines as are worth reading.
  virtual std::vector<std::string> secrets(const std::vector<std::string>& except) const = 0;
  virtual std::string console() const = 0;
};

struct StandOptions {
  host::Path trials;  // the folder of all stands
  std::string what;   // for whoever finds it: "web@1.4.2"
  store::Image image;
  machine::Limits limits{};  // of the machine
  std::function<bool()> cancelled{};
};

class RealStand final : public Stand {
 public:
  // Removes what dead processes have left, and takes a slot. Throws Error(denied) without root.
  RealStand(host::Clock& clock, host::Random& random, store::Store& store, StandOptions options);
  ~RealStand() override;  // ends and removes everything, unless it is kept

  void boot() override;
  machine::CommandEnd ask(const machine::Command& command) override;
  http::Response fetch(int port, const http::Request& request, Duration timeout) override;
  std::vector<std::string> secrets(const std::vector<std::string>& except) const override;
  std::string console() const override;

  // Leaves the machine running when this goes. Returns its name, for `shell_into` and `end_kept`.
  std::string keep();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

struct Kept {
  std::string name;
  std::string what;
  std::string address;
};
// Those whose machine still runs.
std::vector<Kept> kept(const host::Path& trials);
// The arguments of a program that is a shell in it. Throws Error(not_found).
std::vector<std::string> shell_into(const host::Path& trials, const std::string& name);
// Ends it and removes all of it. Throws Error(not_found).
void end_kept(const host::Clock& clock, const host::Path& trials, const std::string& name);
// The folders of stands whose process is gone, and which were not kept: the next stand removes them.
std::vector<host::Path> dead(const host::Path& trials);
// Removes what dead processes have left; returns how many stands that were.
int sweep(const host::Clock& clock, const host::Path& trials);

}  // namespace kiln::trial
