// Secrets: values that a step's commands may read, and keeping them out of all else. Private to this room.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "host/file.h"
#include "spec/app.h"

namespace kiln::bake {

// Name and value of those that the step asks for. A line's end at the end of a value is not part of it. Throws
// Error(usage) that quotes the secret's line in kiln.yaml when it cannot be had, never its value.
std::map<std::string, std::string> read_secrets(const spec::App& app, const host::Path& app_folder,
                                                const std::vector<std::string>& names);

// The first file below `tree` that has one of the values in it, relative to `tree`; empty when there is none.
std::string file_with_a_secret(const host::Path& tree, const std::map<std::string, std::string>& secrets);

}  // namespace kiln::bake
