// Contents: what an image holds: its layers laid over one another as overlayfs does it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proof/dpkg.h"
#include "proof/layer.h"

namespace kiln::proof {

using Layers = std::vector<std::shared_ptr<const LayerContents>>;  // lowest first

struct Contents {
  Layers layers;                                        // that the paths, files and texts below are in
  std::map<std::string_view, const FileRecord*> files;  // by absolute path
  std::map<std::string_view, std::string_view> texts;   // see LayerContents
  std::map<std::string, std::string> units;             // enabled: "nginx.service" → "multi-user.target.wants"

  // Empty: there is no such text.
  std::string_view text(std::string_view path) const;
  // Those of Debian's that are installed, without their licences.
  std::vector<Package> packages() const { return read_dpkg_status(text(kDpkgStatus)); }
};

// Pure.
Contents stack(Layers layers);

// Reads images of one store, which must outlive it; see layer_contents for `kept`. Layers that an image shares with the
// one before are not read again. For one thread.
class ContentsReader {
 public:
  ContentsReader(const store::Store& store, host::Path kept) : store_(store), kept_(std::move(kept)) {}
  Contents of(const Digest& image);

 private:
  const store::Store& store_;
  host::Path kept_;
  std::map<Digest, std::shared_ptr<const LayerContents>> last_;  // of the image that was read last
};

}  // namespace kiln::proof
