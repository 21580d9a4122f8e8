// Layer: what is in one layer of an image, read without running anything of it.
//
// A layer is walked once, ever: what was found is kept as a file by the layer's digest, and everybody who asks what is
// in an image starts from there. Those files may be deleted at any time.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "host/file.h"
#include "store/store.h"

namespace kiln::proof {

struct FileRecord {
  std::uint64_t size_bytes = 0;  // of a file, like the digests
  // Hex. Of a disk that was read from afar the first two are empty where a package vouches for the bytes.
  std::string md5, sha1, sha256;
  char type = 'f';    // f file, d folder, l link, c b p s: device, pipe, socket
  unsigned mode = 0;  // without the type's bits
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string target;  // where a link leads
  bool operator==(const FileRecord&) const = default;
};

struct LayerContents {
  // By absolute path, byte for byte; also the folders on the way, but not the layer's root.
  std::map<std::string, FileRecord> files;
  std::set<std::string> removed;  // of the layers below, with all that is in it
  std::set<std::string> opaque;   // folders that hide what the layers below have in them
  // What has to be read of the files themselves: the package database, os-release, and the licences instead of
  // copyright files.
  std::map<std::string, std::string> texts;
  bool operator==(const LayerContents&) const = default;
};

// As root, for what only root may read. Does not follow links, and stays in the folder.
LayerContents read_layer(const host::Path& root);
std::string write_layer(const LayerContents& contents);
LayerContents parse_layer(std::string_view text);  // Error(corrupt)

// What `kept`, a folder that is made, has of the layer; else the layer is verified, mounted, walked, and kept there.
// Only that needs root: Error(denied). Throws Error(not_found) and Error(corrupt) about the layer.
LayerContents layer_contents(const store::Store& store, const Digest& layer, const host::Path& kept);

}  // namespace kiln::proof
