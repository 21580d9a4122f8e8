// Lease: a running process's word that it needs an image, so that `kiln gc` beside it lets the image be.
//
//   leases/<process>-<hex of the digest>-XXXXXX/what     what the process does
//
// Who wants to use an image takes a lease first and looks then whether the image may be used. Who removes one says so
// first, in the ledger, and looks for leases then. One of the two always sees the other. A lease of a process that has
// died counts for nothing.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "host/process.h"
#include "store/store.h"

namespace kiln::store {

class Lease {
 public:
  // Until it is destroyed. `what`: "kiln push web@1.4.2".
  Lease(const Store& store, const Digest& image, std::string_view what);

 private:
  std::unique_ptr<host::TemporaryFolder> folder_;
};

struct Leased {
  Digest image;
  host::ProcessRef process;
  std::string what;
};

// Those of living processes; what dead ones left is removed.
std::vector<Leased> leases(const Store& store);

// Whether the blob is here; if so it is from now on as young as if it had just been written, and a sweep lets it be.
bool renew(const Store& store, const Digest& blob);

}  // namespace kiln::store
