// Store: bytes by digest, as an OCI image layout (oci-layout, index.json, blobs/sha256/...).
//
// Several processes may use one store at once, and several threads one object. A blob appears whole or not at all, also
// after kill -9 or a full disk: it is written under tmp/ and renamed. What is read through `read` and `image` was
// checked against its digest; a mismatch is an Error(corrupt) that names the blob, its path and what to do. Nothing is
// ever changed in place.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "store/image.h"

namespace kiln::store {

struct ManifestHead;

class Store {
 public:
  // Opens the layout at `folder`; makes it when there is none.
  explicit Store(host::Path folder);
  const host::Path& folder() const { return folder_; }

  bool has(const Digest& digest) const;
  host::Path path_of(const Digest& digest) const;  // not checked
  std::string read(const Digest& digest) const;    // checked; Error(not_found), Error(corrupt)
  Digest put(std::string_view bytes);
  // Takes the file over by renaming it (same file system: make it in `temporary()`), after hashing it.
  Blob put_file(const host::Path& file, std::string media_type);
  // A new empty folder below tmp/ on the store's file system; what a dead process left there goes when the store is
  // opened.
  std::unique_ptr<host::TemporaryFolder> temporary() const;

  // Reads every byte of the blob and compares. Remembers what it has verified by inode, size, mtime and ctime, so that
  // launching the same image a thousand times reads it once a process.
  void verify(const Digest& digest) const;
  void verify(const Image& image) const;

  // Writes config and manifest, names the image in index.json, returns the manifest's digest. Same input, same digest.
  Digest add_image(const ImageConfig& config, const std::vector<Blob>& layers);
  Image image(const Digest& manifest) const;
  std::vector<Digest> images() const;  // images of machines that index.json names, sorted

  // Writes an OCI 1.1 manifest whose subject is `subject`, and names it in index.json. The blobs must be here already,
  // at least one. Same input, same digest. Throws Error(not_found) when subject or a blob is missing. An empty
  // `subject`: it stands for itself.
  Digest add_artifact(const Digest& subject, std::string artifact_type, const std::vector<Blob>& blobs,
                      const std::map<std::string, std::string>& annotations);
  // What was added about `subject`, sorted by digest; the manifests are checked, their blobs are not. The first one
  // that is missing, altered or unreadable is an error.
  std::vector<Artifact> artifacts_of(const Digest& subject) const;
  // That manifest, checked; nullopt when it is not here, or is no artifact but an image.
  std::optional<Artifact> artifact(const Digest& manifest) const;
  // Keeps a manifest of any kind as it was written (a pull, an import) and names it in index.json with `annotations`.
  // Throws Error(corrupt) when it is no OCI or Docker manifest.
  Digest add_manifest(std::string_view bytes, const std::string& media_type,
                      const std::map<std::string, std::string>& annotations = {});

 private:
  void name_in_index(Blob manifest, std::string artifact_type);
  // What a manifest says of itself, read and checked; for index entries that others wrote.
  ManifestHead head_of(const Digest& manifest) const;

  host::Path folder_;
  mutable std::mutex mutex_;
  mutable std::map<Digest, std::string> verified_;  // digest → the file's stamp when it was verified
};

}  // namespace kiln::store
