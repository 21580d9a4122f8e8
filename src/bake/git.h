// Git: what the app's folder is in git.
#pragma once

#include <string>

#include "host/file.h"

namespace kiln::bake {

// The commit that is checked out, 40 hex digits; empty without git, a repository or a commit.
std::string git_commit(const host::Path& folder);

}  // namespace kiln::bake
