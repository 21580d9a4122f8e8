// Listing: what is in a layer, without running anything of it.
//
// A layer is mounted read-only in a mount namespace of a process of its own, which goes with the process, however it
// dies: nothing is left on the machine. That needs root. What was read is kept as a file by the layer's digest; those
// files may be deleted at any time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "store/store.h"

namespace kiln::store {

struct ListedFile {
  char type = 'f';  // f file, d folder, l link, c b p s: device, pipe, socket
  unsigned mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size_bytes = 0;
  std::string content;  // of a file: "sha256:.."; of a link: where it leads
  bool operator==(const ListedFile&) const = default;
};

struct Listing {
  std::map<std::string, ListedFile> files;  // by absolute path; the layer's root is not among them
  std::set<std::string> removed;            // of the layers below
  std::set<std::string> opaque;             // folders whose content of the layers below is hidden
  std::optional<std::string> dpkg_status;   // the text of /var/lib/dpkg/status
};

// Verifies the layer first. `kept` is the folder of the files named above; it is made. Throws Error(denied) without
// root, Error(corrupt), Error(not_found).
Listing list_layer(const Store& store, const Digest& layer, const host::Path& kept);

std::string write_listing(const Listing& listing);
Listing read_listing(std::string_view text);  // Error(corrupt)

// The hidden command's word and its whole program: prints the listing of argv[1], an erofs file.
inline constexpr std::string_view kListingCommand = "layer-listing";
int listing_main(int argc, char** argv);

}  // namespace kiln::store
