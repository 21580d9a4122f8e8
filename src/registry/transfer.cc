// Transfer: between a store and registries, and between two registries.
#include "registry/transfer.h"

#include <fmt/format.h>

#include "base/error.h"
#include "registry/internal/ends.h"
#include "store/lease.h"

namespace kiln::registry {
namespace {

std::string place(const Client& client, const Reference& reference) {
  return client.registry() + "/" + reference.repository;
}

}  // namespace

Moved push(const store::Store& store, const Digest& root, Client& client, const Reference& to, const Options& options) {
  const Waypoints waypoints(store);
  Ends ends;
  read_from_store(ends, store, options);
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    return send(client, to, blob, store.path_of(blob.digest), waypoints, on_bytes);
  };
  write_to_registry(ends, client, to);
  return with_context(fmt::format("pushing {} to {}", root.str(), place(client, to)),
                      [&] { return transfer(ends, root.str(), options); });
}

Moved pull(Client& client, const Reference& from, store::Store& store, const Options& options) {
  const Waypoints waypoints(store);
  std::size_t left_out = 0;
  Ends ends;
  read_from_registry(ends, client, from);
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    Outcome outcome = Outcome::there;
    if (!renew(store, blob.digest)) {
      host::FileLock lock = waypoints.lock(blob.digest);
      if (!renew(store, blob.digest)) {
        const host::Path file = waypoints.incoming(blob.digest);
        fetch(client, from, blob, file, store, on_bytes);
        store.put_file(file, blob.media_type);
        outcome = Outcome::moved;
      }
      lock.remove();
    }
    waypoints.know(client.registry(), from.repository, blob.digest);
    return outcome;
  };
  write_to_store(ends, store, left_out);
  return with_context(fmt::format("pulling {}", from.str()), [&] {
    Moved moved = transfer(ends, from.manifest(), options);
    moved.referrers_left_out = left_out;
    return moved;
  });
}

Moved mirror(Client& from_client, const Reference& from, Client& to_client, const Reference& to, store::Store& store,
             const Options& options) {
  const Waypoints waypoints(store);
  const bool one_registry = from_client.registry() == to_client.registry();
  Ends ends;
  read_from_registry(ends, from_client, from);
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    if (to_client.has_blob(to.repository, blob.digest)) return Outcome::there;
    if (one_registry && to_client.mount_blob(to.repository, blob, from.repository)) return Outcome::mounted;
    host::FileLock lock = waypoints.lock(blob.digest);
    Upload upload{blob, store.path_of(blob.digest),
                  waypoints.outgoing(to_client.registry(), to.repository, blob.digest),
                  one_registry ? "" : waypoints.known_in(to_client.registry(), blob.digest)};
    const bool passes_through = !store.has(blob.digest);
    if (passes_through) {
      upload.file = waypoints.incoming(blob.digest);
      fetch(from_client, from, blob, upload.file, store, {});
    }
    const Pushed pushed = to_client.push_blob(to.repository, upload, on_bytes);
    std::error_code ignored;
    if (passes_through) std::filesystem::remove(upload.file, ignored);
    lock.remove();
    waypoints.know(to_client.registry(), to.repository, blob.digest);
    return pushed == Pushed::mounted ? Outcome::mounted : Outcome::moved;
  };
  write_to_registry(ends, to_client, to);
  return with_context(fmt::format("mirroring {} to {}", from.str(), place(to_client, to)),
                      [&] { return transfer(ends, from.manifest(), options); });
}

}  // namespace kiln::registry
