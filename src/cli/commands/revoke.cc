// kiln revoke: an image that must not run.
#include "cli/command.h"
#include "cli/standing.h"

namespace kiln::cli {

int run_revoke(Context& context, const std::vector<std::string>& words) {
  return run_standing(context, words, "revoke", catalog::Standing::revoked);
}

}  // namespace kiln::cli
