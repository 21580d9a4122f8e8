// Disk: what is on the root volume of a builder before it becomes an image: every file, the package database, secrets.
//
// Asked by one script, which an instance answers with an archive of a few hundred KiB: no file's content is in it but
// the package database's, os-release's and the licences. What it finds stands beside the AMI in the store
// (ami_image.h).
#pragma once

#include <string>
#include <string_view>

#include "proof/layer.h"

namespace kiln::builder {

// For /bin/sh as root; writes a gzipped tar archive to stdout. Needs what Debian and Amazon Linux have: GNU find, tar,
// coreutils, grep, awk. `root` is the folder of the disk; other file systems below it are left out, and what is gone
// with a boot.
std::string disk_question(const std::string& root = "/");

struct Disk {
  proof::LayerContents contents;  // MD5 and SHA-1 only of files whose bytes no package vouches for
  std::string secrets;            // the answer to trial::secrets_question
};
Disk read_disk(std::string_view answer);  // Error(corrupt)

}  // namespace kiln::builder
