// Inventory: what is in an image: its packages, and the files that are not as a package brought them.
//
// Read from the layers, without running anything of them. Each layer is read once (`read_layer`, on its mounted root;
// as text it is kept by the caller), and `take_inventory` lays them over one another as overlayfs does. Pure but for
// read_layer, which reads the folder it is given.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "proof/dpkg.h"

namespace kiln::proof {

// A regular file; the path begins with '/'.
struct FileRecord {
  std::uint64_t size_bytes = 0;
  std::string md5, sha1, sha256;  // hex
  bool operator==(const FileRecord&) const = default;
};

struct LayerContents {
  std::map<std::string, FileRecord> files;
  std::set<std::string> folders;
  std::set<std::string> opaque;              // folders that hide what lower layers have in them
  std::map<std::string, std::string> links;  // symbolic: path → target
  std::set<std::string> others;              // devices, sockets, pipes
  std::set<std::string> removed;             // overlayfs's marks
  // What the inventory needs of the contents: the package database, os-release, and licences instead of copyright
  // files.
  std::map<std::string, std::string> texts;
  bool operator==(const LayerContents&) const = default;
};

// As root, for what only root may read. Does not follow links, and stays in the folder.
LayerContents read_layer(const host::Path& root);
std::string write_layer(const LayerContents& contents);
LayerContents parse_layer(std::string_view text);  // Error(corrupt)

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

// `layers`, lowest first.
Inventory take_inventory(const std::vector<LayerContents>& layers);

}  // namespace kiln::proof
