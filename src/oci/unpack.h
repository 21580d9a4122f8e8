// Unpack: a tar archive as a folder, whoever made the archive.
//
// The archive is hostile until shown otherwise. Nothing outside the folder is ever written, also when other programs
// would follow a link there: every name is resolved below the folder without following links (openat2). Refused, with
// an Error that names the archive and the entry: absolute names and "..", names that go through a link, links that lead
// out, an entry that comes twice (a folder may: the last one's mode holds), device nodes outside /dev (those in /dev
// are left out: a machine has its own), attributes that would change how layers merge, more than `Limits` allows. A cut
// archive or one that is no tar is Error(corrupt). Memory does not grow with the files' sizes. After an error the
// folder holds part of the archive; whoever made it removes it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/digest.h"
#include "host/file.h"

namespace kiln::oci {

struct Limits {
  std::uint64_t bytes = std::uint64_t{64} << 30;  // of all files together, as they say and as they are
  std::uint64_t entries = 4'000'000;
  std::uint64_t ratio = 500;  // unpacked over packed, once `ratio_from` bytes are unpacked
  std::uint64_t ratio_from = std::uint64_t{1} << 30;
};

struct FolderAttributes {
  unsigned mode = 0755;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t mtime_seconds = 0;
  long mtime_nanoseconds = 0;
};
using Folders = std::map<std::string, FolderAttributes>;  // by name, relative to the root: "usr/lib"

struct UnpackOptions {
  Limits limits{};
  // ".wh.name" and ".wh..wh..opq" of an OCI layer become what overlayfs understands. Else they are refused: a root
  // archive has none.
  bool whiteouts = false;
  // Owners and security.capability as the archive says; needs root. Else the files are ours.
  bool owners = true;
  // Folders of the layers below: a folder that the archive does not name, but whose contents it does, gets the
  // attributes that it has there.
  const Folders* folders = nullptr;
  // A tar ends with blocks of zeros. Without them it was cut between two entries: Error(corrupt). Not for what has a
  // digest that was compared: some programs leave them out.
  bool must_end = false;
  std::function<bool()> cancelled{};  // asked at each entry; once true: Error(cancelled)
};

struct Unpacked {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  Folders folders{};  // this archive's own
  Digest content{};   // of the tar, without its packing
};

// `archive`: tar, also compressed by gzip, zstd or xz. `folder` exists and is empty.
Unpacked unpack(const host::Path& archive, const host::Path& folder, const UnpackOptions& options);

// The name of an entry as a path below the root: "./usr//lib/" is "usr/lib", the root is "". Throws Error(invalid).
std::string entry_name(std::string_view name);

}  // namespace kiln::oci
