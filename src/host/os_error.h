// os_error: what the kernel refused, as an Error with the code that callers match on.
#pragma once

#include <string>

#include "base/error.h"

namespace kiln::host {

// "writing /x: No space left on device" with the code that `number`, an errno, means: not_found, denied, disk_full,
// already_exists, else io.
Error os_error(std::string attempted, int number);

}  // namespace kiln::host
