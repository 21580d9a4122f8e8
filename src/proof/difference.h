// Difference: what differs between the contents of two images. Pure.
#pragma once

#include <string>
#include <vector>

#include "proof/contents.h"

namespace kiln::proof {

struct Change {
  std::string name;
  std::string before;  // empty: added
  std::string after;   // empty: removed
  bool operator==(const Change&) const = default;
};

struct Difference {
  std::vector<Change> packages;  // versions; one that is there for several architectures is "name:arch"
  std::vector<Change> units;
  std::vector<Change> files;  // "f 0644 0:0 12 sha256:.."; those that packages bring and dpkg's own notes too
};
Difference difference(const Contents& before, const Contents& after);

}  // namespace kiln::proof
