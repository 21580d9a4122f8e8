// kiln disable: an image that nobody launches any more.
#include "cli/command.h"
#include "cli/standing.h"

namespace kiln::cli {

int run_disable(Context& context, const std::vector<std::string>& words) {
  return run_standing(context, words, "disable", catalog::Standing::disabled);
}

}  // namespace kiln::cli
