// Ends: what a transfer asks of the side that has an image, and of the side that shall have it: a store, a registry or
// a folder. Each of `read_from_..` and `write_to_..` is one side; what moves a blob depends on both.
//
// What they are given must outlive them. `read` and `about` are called by one thread, `move` by several at once.
#pragma once

#include <functional>

#include "registry/transfer.h"
#include "registry/waypoints.h"

namespace kiln::registry {

enum class Outcome { there, mounted, moved };

struct Ends {
  std::function<Manifest(const std::string& reference)> read;
  std::function<std::vector<Digest>(const Digest& subject)> about;
  std::function<bool(const Digest& manifest)> has_manifest;  // and so everything that hangs on it
  std::function<Outcome(const store::Blob& blob, const OnBytes& on_bytes)> move;
  // Children before `root`s; those are the image and each artifact about it.
  std::function<void(const Manifest& manifest, const Document& document, bool root)> write;
};

// Moves the image that `reference` names on the side that has it.
Moved transfer(const Ends& ends, const std::string& reference, const Options& options);

void read_from_store(Ends& ends, const store::Store& store, const Options& options);
void read_from_registry(Ends& ends, Client& client, const Reference& from);
void write_to_registry(Ends& ends, Client& client, const Reference& to);
// `left_out` counts artifacts without a type, which the store could not tell apart.
void write_to_store(Ends& ends, store::Store& store, std::size_t& left_out);

// A blob goes from a file to the registry, unless that has it.
Outcome send(Client& client, const Reference& to, const store::Blob& blob, const host::Path& file,
             const Waypoints& waypoints, const OnBytes& on_bytes);
// A blob comes into a file of the store's transfers/, which may hold a part of it; the caller holds its lock.
void fetch(Client& client, const Reference& from, const store::Blob& blob, const host::Path& file,
           const store::Store& store, const OnBytes& on_bytes);

}  // namespace kiln::registry
