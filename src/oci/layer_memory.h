// LayerMemory: which layer of an OCI image became which layer of the store, so that it is not unpacked again. Private
// to this room.
//
// One JSON file a layer, written whole or not at all; one that cannot be read, or whose blob is gone, is not known.
// What a layer becomes also depends on those below it (a folder that it only writes into keeps the mode that it has
// there), so a layer is known by its own digest and those of all below.
#pragma once

#include <optional>

#include "oci/unpack.h"
#include "store/store.h"

namespace kiln::oci {

struct KnownLayer {
  store::Blob blob;
  Unpacked unpacked;
  bool has_init = false;
};

class LayerMemory {
 public:
  // `store` must outlive it. With an empty `folder` nothing is known, and nothing is kept.
  LayerMemory(host::Path folder, const store::Store& store) : folder_(std::move(folder)), store_(store) {}

  // Of the layer with that digest above the layer of key `below`; the lowest has an empty digest below it.
  static Digest key(const Digest& below, const Digest& layer);

  std::optional<KnownLayer> find(const Digest& key) const;
  void put(const Digest& key, const KnownLayer& layer) const;

 private:
  host::Path folder_;
  const store::Store& store_;
};

}  // namespace kiln::oci
