// Pieces: files that may be larger than memory, read one piece after another. Errors as in host/file.h.
#pragma once

#include <functional>
#include <string_view>

#include "base/digest.h"
#include "host/file.h"

namespace kiln::host {

using UsePiece = std::function<void(std::string_view)>;

// Whether a path may be a link to the file that is meant. Where somebody else may change the folder meanwhile, not.
enum class Links { follow, refuse };

void read_pieces(const Path& path, Links links, const UsePiece& use);
Digest digest_of_file(const Path& path, Links links);
// From where `fd` stands to the file's end; `path` is for errors.
Digest digest_of_file(int fd, const Path& path);

}  // namespace kiln::host
