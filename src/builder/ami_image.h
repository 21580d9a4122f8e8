// AmiImage: what the store has of an image whose bytes only AWS has: which AMI it is, and what is on its disk.
//
// An artifact of its own in the store, whose digest is the image's: of account, region, AMI, snapshot and the disk's
// description. SBOMs, provenance and signatures lie beside it as beside any image.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/store.h"

namespace kiln::builder {

inline constexpr std::string_view kAmiImageType = "application/vnd.kiln.ami.v1";
inline constexpr std::string_view kDiskType = "application/vnd.kiln.disk.v1.tar+gzip";

struct AmiImage {
  std::string account;
  std::string region;
  std::string ami;
  std::string snapshot;
  std::string base;  // the AMI that it was made from
};

Digest keep_ami(store::Store& store, const AmiImage& image, std::string_view disk);
// Nullopt when the store has nothing of it, or has the bytes of an image.
std::optional<AmiImage> find_ami(const store::Store& store, const Digest& image);
// The disk's description, checked. Throws Error(not_found), Error(corrupt).
std::string disk_of(const store::Store& store, const Digest& image);

}  // namespace kiln::builder
