// Sbom: an inventory as SPDX 2.3 and as CycloneDX 1.5, both in JSON.
//
// Deterministic: the same image and name give the same bytes; the time in them is the one that all of Kiln's files
// have. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "proof/inventory.h"

namespace kiln::proof {

inline constexpr std::string_view kSpdxType = "application/spdx+json";
inline constexpr std::string_view kCycloneDxType = "application/vnd.cyclonedx+json";

struct SbomSubject {
  std::string app;
  std::string version;
  Digest digest;
  std::string kiln;  // "0.1.0": the tool that writes it
};

std::string write_spdx(const SbomSubject& subject, const Inventory& inventory);
std::string write_cyclonedx(const SbomSubject& subject, const Inventory& inventory);

// "pkg:deb/debian/nginx@1.22.1-9?arch=amd64&distro=debian-12".
std::string package_url(const Inventory& inventory, const Package& package);

// Which image an SBOM of either kind says it is about: its digest, empty when it names none. Error(corrupt).
Digest sbom_subject(std::string_view text);
// The packages that it lists, by name; of several architectures the oldest version. Error(corrupt).
std::map<std::string, std::string> sbom_packages(std::string_view text);

}  // namespace kiln::proof
