// Client: the verbs of the OCI distribution protocol 1.1 with one registry
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md).
//
// Whatever comes is checked against the digest that it was asked by; what was checked is all that is kept. Blobs pass
// through in pieces: memory stays the same whatever their size. A connection that is cut is taken up where it was, in
// both directions. Every error names registry and repository. Safe to use from several threads.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "registry/document.h"
#include "registry/session.h"

namespace kiln::registry {

struct Manifest {
  std::string bytes;
  std::string media_type;
  Digest digest;
};

using OnBytes = std::function<void(std::int64_t bytes)>;  // how many more; less than 0: so many were for nothing

// A blob that is on its way up, and a note of it that outlives this process.
struct Upload {
  store::Blob blob;
  host::Path file;         // its bytes
  host::Path note;         // where the registry's address for the rest is written down; empty: nowhere
  std::string mount_from;  // a repository of this registry that may have it; empty: none
};
enum class Pushed { sent, mounted };

class Client {
 public:
  Client(std::string registry, Connect connect, host::Clock& clock, host::Random& random,
         std::uint64_t chunk_bytes = kChunkBytes);
  // Cloud registries want parts of 5 to 20 MiB; each costs one round trip.
  static constexpr std::uint64_t kChunkBytes = std::uint64_t{16} << 20;

  const std::string& registry() const { return session_.registry(); }

  // `reference` is a tag or a digest. Throws Error(not_found), Error(corrupt).
  Manifest manifest(const std::string& repository, const std::string& reference);
  // The digest behind it, when the registry has it and says so.
  std::optional<Digest> has_manifest(const std::string& repository, const std::string& reference);
  // True: the registry has noted its subject by itself; false: it has none, or the registry knows no referrers.
  bool put_manifest(const std::string& repository, const std::string& reference, const Manifest& manifest);

  bool has_blob(const std::string& repository, const Digest& digest);
  // Into `file`, going on after what is in it already. After an Error(corrupt) the file is gone; after any other it
  // holds what has come so far.
  void fetch_blob(const std::string& repository, const store::Blob& blob, const host::Path& file,
                  const OnBytes& on_bytes);
  // Lets the registry take it from a neighbouring repository; false when it will not.
  bool mount_blob(const std::string& repository, const store::Blob& blob, const std::string& from);
  Pushed push_blob(const std::string& repository, const Upload& upload, const OnBytes& on_bytes);

  std::vector<std::string> tags(const std::string& repository);
  // What is said about that manifest: by the referrers API, else by the tag that stands for it.
  std::vector<Referrer> referrers(const std::string& repository, const Digest& subject);
  // Adds one to the tag that stands for the API; for registries whose `put_manifest` said false.
  void note_referrer(const std::string& repository, const Digest& subject, const Referrer& referrer);

 private:
  struct Progress;
  bool fetch_once(const std::string& repository, const store::Blob& blob, Progress& progress);
  void fetch_rest(const std::string& repository, const store::Blob& blob, Progress& progress);
  struct Sending;
  // Asks for an address to send to; false when the registry took the blob from `mount_from` instead.
  bool begin_upload(Sending& sending, const std::string& mount_from);
  bool find_upload(Sending& sending);  // does the address still hold, and how much has arrived?
  bool send_chunk(Sending& sending);   // false: this registry takes no chunks
  void send_chunks(Sending& sending);
  void send_whole(Sending& sending);
  bool take_location(Sending& sending, const http::Response& answer);
  std::string finishing_url(const Sending& sending) const;

  Session session_;
  std::uint64_t chunk_bytes_;
};

}  // namespace kiln::registry
