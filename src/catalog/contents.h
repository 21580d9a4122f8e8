// Contents: what an image holds, put together from its layers' listings, and what differs between two. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store/listing.h"

namespace kiln::catalog {

using Packages = std::map<std::string, std::string>;  // name → version, of those that are installed

struct Contents {
  std::map<std::string, store::ListedFile> files;  // by absolute path
  Packages packages;
  std::map<std::string, std::string> units;  // enabled: "nginx.service" → "multi-user.target.wants"
};

// /var/lib/dpkg/status; what is removed and only configured is left out. Packages of a foreign architecture are
// "name:arch".
Packages parse_dpkg_status(std::string_view text);

// Lowest first, as overlayfs stacks them.
Contents stack(const std::vector<store::Listing>& layers);

struct Change {
  std::string name;
  std::string before;  // empty: added
  std::string after;   // empty: removed
  bool operator==(const Change&) const = default;
};

struct Difference {
  std::vector<Change> packages;  // versions
  std::vector<Change> units;
  std::vector<Change> files;  // "0644 0:0 12 sha256:.."; those that packages bring and dpkg's own notes too
};
Difference difference(const Contents& before, const Contents& after);

// "3.0.11" matches 3.0.11-1~deb12u2 and not 3.0.110; an empty wish matches all.
bool version_matches(std::string_view version, std::string_view wish);

}  // namespace kiln::catalog
