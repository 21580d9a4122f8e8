// Simulated volumes: those of simulated machines, in memory. Stricter than the real ones: a volume that two machines
// have, or that is removed while one has it, is a broken invariant and aborts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/time.h"

namespace kiln::machine {

class SimulatedVolumes {
 public:
  struct Volume {
    std::uint64_t gib = 0;
    std::string content;   // a test writes it, and copies have it; of one with a root file system the image's digest
    std::string machine;   // which has it; empty: none
    bool mounted = false;  // in its guest, until a test says otherwise or the machine ends
  };

  // For tests.
  Volume& at(const std::string& id);  // Error(not_found)
  std::vector<std::string> ids() const;
  // So many calls of `make`, `attach` and `remove` fail from now on, and change nothing.
  void fail(int count) { failing_ = count; }

  // What Machines promises, done.
  void make(const std::string& id, std::uint64_t gib, const std::string& origin);
  void grow(const std::string& id, std::uint64_t gib);
  void remove(const std::string& id);
  void attach(const std::string& machine, const std::string& id);
  void detach(const std::string& id);
  Digest root(const std::string& id);
  void keep(const std::vector<std::string>& ids);

  std::string machine_of(const std::string& id) const;  // empty: none has it
  void unmount(const std::string& machine);             // it has stopped
  void release(const std::string& machine);             // it is gone
  void release_all();

 private:
  void fail_if_told();

  std::map<std::string, Volume> volumes_;
  int failing_ = 0;
};

inline constexpr Duration kVolumeTakes{50};  // each call for a volume

}  // namespace kiln::machine
