// Layout: images in a folder: an OCI image layout, as `skopeo copy … oci:FOLDER:NAME` writes and reads it.
//
// A name stands in the annotation org.opencontainers.image.ref.name of the folder's index.json. What is said about an
// image travels too, when the index names it. Nothing of a folder is trusted: what comes from it is checked against its
// digest. A name appears when all of its bytes are there; the folder is nobody else's meanwhile.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "registry/transfer.h"

namespace kiln::registry {

struct Layout {
  host::Path folder;
  std::string name;  // empty: the only image that is there

  std::string str() const;  // "oci:FOLDER:NAME"
};

// "oci:FOLDER" or "oci:FOLDER:NAME", the folder seen from `base`; nullopt for anything else. Throws Error(usage) when
// there is no folder in it.
std::optional<Layout> parse_layout(std::string_view text, const host::Path& base);

// From a folder into a registry, and back. The store holds what is half there, and notes; the image does not stay.
Moved push(const Layout& from, Client& client, const Reference& to, const store::Store& store, const Options& options);
Moved pull(Client& client, const Reference& from, const Layout& to, const store::Store& store, const Options& options);
// From a folder into the store, named in its index; and from the store into a folder. The folder is made when it is not
// there; one with something else in it is an Error(usage).
Moved pull(const Layout& from, store::Store& store, const Options& options);
Moved push(const store::Store& store, const Digest& root, const Layout& to, const Options& options);

}  // namespace kiln::registry
