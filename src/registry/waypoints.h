// Waypoints: what a store remembers of transfers: what is half there, and where blobs are known to be.
//
//   transfers/incoming/<hex>        a blob that comes down, and <hex>.lock, which its fetcher holds
//   transfers/outgoing/<sha256>     the address of an upload that is not finished
//   transfers/known/<sha256>        a repository of a registry in which a blob was seen
//
// All of it can be lost: then a blob is fetched or sent from its beginning. Several processes may use it at once.
#pragma once

#include <string>

#include "base/digest.h"
#include "base/time.h"
#include "host/lock.h"
#include "store/store.h"

namespace kiln::registry {

class Waypoints {
 public:
  // What is unfinished goes after a week, which is as long as registries keep uploads; what is known, when nothing has
  // asked for it in a month.
  static constexpr std::chrono::hours kUnfinished{24 * 7};
  static constexpr std::chrono::hours kKnown{24 * 30};

  explicit Waypoints(const store::Store& store);

  host::Path incoming(const Digest& blob) const { return folder_ / "incoming" / blob.hex(); }
  // Of the one that fetches the blob; waits for another.
  host::FileLock lock(const Digest& blob) const;
  host::Path outgoing(const std::string& registry, const std::string& repository, const Digest& blob) const;
  // A repository of that registry in which the blob was seen, so that others there may take it over; empty: none.
  std::string known_in(const std::string& registry, const Digest& blob) const;
  void know(const std::string& registry, const std::string& repository, const Digest& blob) const;

  struct Swept {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
  };
  // Removes what is old and what nobody fetches now; only counts it unless `act`.
  Swept sweep(Time now, bool act) const;

 private:
  host::Path known_file(const std::string& registry, const Digest& blob) const;
  host::Path folder_;
};

}  // namespace kiln::registry
