// kiln deprecate: an image that should be left.
#include "cli/command.h"
#include "cli/standing.h"

namespace kiln::cli {

int run_deprecate(Context& context, const std::vector<std::string>& words) {
  return run_standing(context, words, "deprecate", catalog::Standing::deprecated);
}

}  // namespace kiln::cli
