// Standing: what deprecate, disable, revoke and restore have in common.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "catalog/catalog.h"
#include "cli/context.h"

namespace kiln::cli {

// Writes the standing down, brings it to every AMI that can be reached, and says who uses the image. `command` is the
// word that the user typed.
int run_standing(Context& context, const std::vector<std::string>& words, std::string_view command,
                 catalog::Standing standing);

}  // namespace kiln::cli
