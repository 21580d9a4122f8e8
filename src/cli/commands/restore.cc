// kiln restore: takes the others back.
#include "cli/command.h"
#include "cli/standing.h"

namespace kiln::cli {

int run_restore(Context& context, const std::vector<std::string>& words) {
  return run_standing(context, words, "restore", catalog::Standing::usable);
}

}  // namespace kiln::cli
