// Slots: a number from 0 to 199 that a region owns on this host, so that several regions run side by side. All that a
// region makes outside its state folder is named by it: namespaces kiln<slot>..., loopback addresses 127.77.<slot>.<n>.
//
// A slot is held by a file lock while the control plane lives, and stays its owner's after that: an owner file keeps
// others from taking it while machines of a dead control plane still run. Both are below /run, so they go with the
// host's restart.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "host/lock.h"

namespace kiln::machine {

inline constexpr int kSlots = 200;             // fits the third octet of 127.77.<slot>.<n>
inline constexpr int kAddressesPerSlot = 254;  // the fourth octet, without .0 and .255

struct SlotOptions {
  host::Path folder = "/run/kiln/slots";
  host::Path namespaces = "/run/netns";
};

// A slot of which something is on the host, as whoever looks at it finds it.
struct SlotUse {
  int slot = 0;
  host::Path owner;  // as its owner file says; empty: nobody is written down
  bool owner_there = false;
  std::optional<host::LockHolder> holder;  // the process that works with it now
  std::vector<std::string> namespaces;     // the network namespaces that it names, sorted
  // Nobody comes back for it: its owner's folder is gone, or was never written down, and no process holds it.
  bool left() const { return !owner_there && !holder && (!owner.empty() || !namespaces.empty()); }
};
// By number. Changes nothing.
std::vector<SlotUse> slots_in_use(const SlotOptions& options = {});

class Slot {
 public:
  // The slot that `owner` (the region's state folder) had before, else the first that nobody owns. Throws Error(held)
  // when the owner's slot is locked by another process, or when all are taken.
  static Slot take(const host::Path& owner, std::string_view what, Time now, const SlotOptions& options = {});

  // One that is left, to remove what it names and release it; nullopt when it is not left, or not any more.
  static std::optional<Slot> take_left(int slot, std::string_view what, Time now, const SlotOptions& options = {});

  int number() const { return number_; }
  std::string name() const;                        // "kiln7"
  std::string loopback_address(int number) const;  // 127.77.<slot>.<number>; number from 1 to 254, else Error(conflict)
  // Removes what is left of slots that nobody owns: of a process that died between locking a slot and owning it.
  static void tidy(std::string_view what, Time now, const SlotOptions& options = {});

  // Gives the slot back for others and removes its files. Call it when nothing named by it is left.
  void release();

 private:
  static Slot take_in_folder(const host::Path& owner, std::string_view what, Time now, const SlotOptions& options);
  Slot(int number, host::Path owner_file, host::FileLock lock);
  int number_;
  host::Path owner_file_;
  std::optional<host::FileLock> lock_;
};

std::string slot_name(int slot);
std::string vpc_namespaces(int slot);  // "kiln7-": with a VPC's id after it, the name of that VPC's network namespace
std::string slot_loopback_address(int slot, int number);

}  // namespace kiln::machine
