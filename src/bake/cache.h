// Cache: which blob of the store is the layer of a key. Private to this room.
//
// layers/<key>  one small file each, written whole or not at all; a broken one, or one whose blob is gone, is a miss
// locks/<xxxx>  by the key's first four digits: two bakes do not make the same layer at once
// apart/<key>   two layers that were found to write no path in common
// apt/<release> package lists and archives, under apt/<release>.lock
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "host/file.h"
#include "host/lock.h"
#include "store/store.h"

namespace kiln::bake {

class Cache {
 public:
  using Print = std::function<void(std::string_view)>;

  // `store` must outlive the cache. Makes the folder.
  Cache(const host::Path& folder, const store::Store& store);

  std::optional<store::Blob> find(const Digest& key) const;
  void put(const Digest& key, const store::Blob& blob) const;
  // Held while the layer is made; waits for another bake that makes it, unless `cancelled`: Error(cancelled).
  // `print` gets a line that says for whom we wait.
  host::FileLock lock(const Digest& key, Time now, const std::function<bool()>& cancelled, const Print& print) const;
  bool is_apart(const Digest& lower, const Digest& upper) const;
  void note_apart(const Digest& lower, const Digest& upper) const;
  host::FileLock lock_apt(const std::string& release, Time now, const std::function<bool()>& cancelled,
                          const Print& print) const;
  host::Path apt_folder(const std::string& release) const;

 private:
  host::Path folder_;
  const store::Store& store_;
};

}  // namespace kiln::bake
