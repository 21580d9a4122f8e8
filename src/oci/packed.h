// Packed: the bytes of a file that gzip, zstd or xz may have packed, in one pass. Private to this room.
//
// They are hashed on their way, so that whoever reads them to the end knows their digest: of a layer's tar it is what
// the image's config names as "diff_id". Memory does not grow with the file.
#pragma once

#include <archive.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/digest.h"
#include "base/error.h"
#include "host/file.h"

namespace kiln::oci {

class Packed {
 public:
  // Throws Error(corrupt) when it is packed in a way that cannot be read.
  explicit Packed(const host::Path& file);

  // The next piece, valid until the next call; empty at the end. Throws Error(corrupt) when the file is cut.
  std::string_view next();
  // Of all bytes; reads what is left of them.
  Digest digest();

 private:
  std::unique_ptr<archive, int (*)(archive*)> reader_;
  bool ended_ = false;
  Sha256 sha_;
};

// "this is no whole tar archive: ..." with what libarchive says of `reader`.
Error unreadable(archive* reader);

}  // namespace kiln::oci
