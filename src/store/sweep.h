// Sweep: what of a store nobody needs any more, by mark and sweep from index.json.
//
// Safe beside bakes: nothing that was written or used within `young` goes. A layer's note is read by a bake only after
// its time was renewed, and a file is moved out of the way first and looked at again before it is deleted, so that a
// renewal meanwhile brings it back. Interrupted anywhere, the next sweep goes on.
#pragma once

#include <map>
#include <set>

#include "base/time.h"
#include "store/store.h"

namespace kiln::store {

struct SweepRequest {
  // Manifests that index.json shall not name any more; what has one of them as its subject goes too. One that is young
  // stays named: somebody has just baked or pulled it again, and has not told the catalog yet.
  std::set<Digest> gone;
  host::Path layer_notes;     // a folder of files "<digest> <size>": a bake's notes of layers; empty: none
  host::Path layer_contents;  // a folder of files named by a layer's digest, which go with it; empty: none
  Time now{};
  Duration young = std::chrono::hours(2);
  Duration young_notes = std::chrono::hours(2);  // a layer that no image has, but a bake may use again; >= `young`
  bool act = false;                              // false: only count
};

struct Swept {
  std::uint64_t blobs = 0;
  std::uint64_t bytes = 0;
  std::uint64_t young_bytes = 0;            // that nobody needs, and that are too young to go
  std::map<Digest, std::uint64_t> of_gone;  // bytes that only this manifest needs; shared ones count for the first
};

Swept sweep(const Store& store, const SweepRequest& request);

// index.json names these manifests, and what speaks about them, no more; their bytes go with a later sweep.
void unname(const Store& store, const std::set<Digest>& manifests);

}  // namespace kiln::store
