// ImageBake: `kiln bake` on this machine: bake, record, test, prove, sign, publish.
#pragma once

#include <optional>
#include <string>

#include "cli/context.h"
#include "cli/packer_bake.h"
#include "spec/app.h"

namespace kiln::cli {

struct ImageBake {
  enum class Aim { image, container, explain, check, shell };
  Aim aim = Aim::image;
  std::size_t shell_step = 0;
  std::string environment;  // where it is published
  std::string key_file;     // that signs it
  bool no_cache = false;
  bool no_publish = false;
  bool update = false;  // of the lock file
  bool keep = false;    // the instance of its tests
  bool json = false;
  bool verbose = false;
};

// Returns the exit code. `from_packer`: the template that `app` was read from.
int bake_image(Context& context, const spec::App& app, const std::optional<PackerBake>& from_packer,
               const ImageBake& asked);

}  // namespace kiln::cli
