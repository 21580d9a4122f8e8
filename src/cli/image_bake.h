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

// What is baked, and the other file that it was read from, if there is one.
struct BakeRecipe {
  spec::App app;
  std::optional<PackerBake> packer;
  std::optional<spec::DockerfileSource> dockerfile;
};

// Returns the exit code.
int bake_image(Context& context, const BakeRecipe& recipe, const ImageBake& asked);

}  // namespace kiln::cli
