// Dpkg: Debian's package database and its versions, read as text. Pure: nothing of it is ever run.
//
// https://manpages.debian.org/bookworm/dpkg-dev/deb-version.7.en.html and deb-control(5).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::proof {

inline constexpr std::string_view kDpkgStatus = "/var/lib/dpkg/status";

struct Package {
  std::string name;
  std::string version;
  std::string architecture;
  std::string source;          // the source package's name; `name` unless it says otherwise
  std::string source_version;  // `version` unless it says otherwise
  std::string maintainer;
  std::string homepage;
  std::string summary;
  std::map<std::string, std::string> conffiles;  // absolute path → MD5
  std::string licence;                           // an SPDX expression; empty: unknown
  bool operator==(const Package&) const = default;
};

// Of kDpkgStatus: the packages that are installed, sorted by name and architecture. What cannot be understood is
// left out; Error(corrupt) only for a text that is too long.
std::vector<Package> read_dpkg_status(std::string_view text);

// info/<package>.md5sums: absolute path → MD5.
std::map<std::string, std::string> read_md5sums(std::string_view text);

// Of a machine-readable debian/copyright: an SPDX expression, names that SPDX does not know as LicenseRef-..; empty
// when the file is not machine-readable.
std::string read_licence(std::string_view copyright);

// Negative, zero or positive, as dpkg --compare-versions orders them.
int compare_versions(std::string_view a, std::string_view b);
// What a person means by a version: "3.0.11" matches 3.0.11-1~deb12u2 and not 3.0.110; an empty wish matches all.
bool version_matches(std::string_view version, std::string_view wish);

}  // namespace kiln::proof
