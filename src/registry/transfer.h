// Transfer: whole images between the store and registries: what hangs on a manifest, and what is said about it.
//
// Only what is missing moves, several blobs side by side. A manifest is written after everything that it names, so that
// whoever finds it finds all of it. Killed at any moment, the same transfer goes on from what has arrived: pieces of
// downloads and the addresses of uploads lie in the store's transfers/ (waypoints.h). Nothing is named in the store's
// index before every byte of it was checked.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "registry/client.h"
#include "registry/reference.h"
#include "store/store.h"

namespace kiln::registry {

struct Tally {
  std::uint64_t bytes_total = 0;  // of all blobs that belong to it
  std::uint64_t bytes_there = 0;  // of those that need not move
  std::uint64_t bytes_moved = 0;
  std::size_t blobs_total = 0;
  std::size_t blobs_there = 0;
  std::size_t blobs_mounted = 0;  // taken from another repository by the registry itself
  std::size_t blobs_moved = 0;
};

struct Options {
  std::size_t parallel = 4;  // blobs at once
  bool referrers = true;     // also SBOM, provenance, signatures: whatever names the image as its subject
  std::function<bool(const store::Artifact&)> goes;  // a push's: false leaves an artifact out; null: all go
  std::function<void(const Tally&)> on_progress;     // from any of the threads, one at a time
};

struct Moved {
  Digest digest;
  std::string media_type;
  std::string artifact_type;
  std::map<std::string, std::string> annotations;
  std::vector<Digest> referrers;
  std::size_t referrers_left_out = 0;  // a pull's: without a type, so that the store could not tell what they are
  Tally tally;
};

// The image `root` of the store, tagged `to.tag` unless that is empty. Error(not_found) when a part of it is missing.
Moved push(const store::Store& store, const Digest& root, Client& client, const Reference& to, const Options& options);
// Into the store, named in its index. An image of a machine is read whole before it is named.
Moved pull(Client& client, const Reference& from, store::Store& store, const Options& options);
// From registry to registry; blobs pass through the store's transfers/ and do not stay. Within one registry nothing
// passes at all. `from` and `to` may be one client.
Moved mirror(Client& from_client, const Reference& from, Client& to_client, const Reference& to, store::Store& store,
             const Options& options);

}  // namespace kiln::registry
