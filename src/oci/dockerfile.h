// Dockerfile: built by buildah into an OCI image layout.
//
// Everything that buildah keeps is below `storage`; when Kiln ends, however it ends, what buildah runs and mounts ends
// too. RUN has the host's network and no services. Files and the image have a fixed time, so that building again from
// the same sources gives the same image where the Dockerfile's own commands allow it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "host/file.h"

namespace kiln::oci {

struct Dockerfile {
  host::Path file;
  host::Path context;
  std::string target;  // a stage; empty: the last
  std::vector<std::pair<std::string, std::string>> args;
};

// The image is `layout`:image afterwards. `on_output` sees what buildah prints. Throws Error: usage (the file, context
// or target is not there; what buildah finds wrong in the file), io (a command failed), each quoting the Dockerfile's
// line; unavailable, disk_full, denied, missing_program; cancelled, when `cancelled` has become true.
void build(const Dockerfile& dockerfile, const host::Path& storage, const host::Path& layout,
           const std::function<void(std::string_view)>& on_output, const std::function<bool()>& cancelled = {});

// Digest of all that the build reads here: file, context (all of it, links as links), arguments, and the index of what
// FROM names as "oci:".
Digest inputs_of(const Dockerfile& dockerfile);

// The line (1-based) on which the instruction begins that buildah calls `step`; 0 when none fits.
int line_of_step(std::string_view dockerfile, std::string_view step);
// What buildah said, as an Error about the file.
Error build_error(const host::Path& file, std::string_view text, std::string_view said, int status);

}  // namespace kiln::oci
