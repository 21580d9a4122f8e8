// Flaws: what index.json names and the store does not have as it is named. Sizes are looked at, no blob but manifests
// is read: `kiln verify` reads every byte.
#pragma once

#include <string>
#include <vector>

#include "base/digest.h"
#include "host/file.h"

namespace kiln::store {

struct Flaw {
  Digest manifest;   // that index.json names
  host::Path blob;   // the file concerned
  std::string what;  // "a layer of 12 bytes is missing"
};

// In the order of index.json; a blob that several manifests name is a flaw of each. `folder` is the store's; nothing in
// it is changed or made, and no folder has no flaw. Of an index of manifests only those that are here are looked into:
// a pull takes the platform that it needs. Throws Error(corrupt) for an index.json that cannot be read.
std::vector<Flaw> find_flaws(const host::Path& folder);

}  // namespace kiln::store
