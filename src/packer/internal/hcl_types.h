// Types of variables of HCL2. Private to this room.
#pragma once

#include "packer/hcl.h"

namespace kiln::packer {

// A value as a variable's type wants it: "string", "list(string)", "object({..})". Throws Error(usage) at `place`.
Value converted(Value value, const Expression& type, const Place& place, int depth = 0);

}  // namespace kiln::packer
