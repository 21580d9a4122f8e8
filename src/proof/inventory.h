// Inventory: what is in an image: its packages, and the files that are not as a package brought them. Pure.
#pragma once

#include <string>
#include <vector>

#include "proof/contents.h"

namespace kiln::proof {

struct Inventory {
  std::string distribution;  // os-release's ID, "debian"
  std::string release;       // its VERSION_ID, "12"
  std::vector<Package> packages;
  // Files that no package owns, and files of packages that were changed since. Without what differs by its nature: the
  // package database itself (/var/lib/dpkg) and caches (/var/cache).
  struct Loose {
    std::string path;
    FileRecord file;
    std::string changed_from;  // the package that brought another content; empty: nobody's
    bool operator==(const Loose&) const = default;
  };
  std::vector<Loose> files;  // by path
};

Inventory take_inventory(const Contents& contents);
// `layers`, lowest first.
Inventory take_inventory(std::vector<LayerContents> layers);

}  // namespace kiln::proof
