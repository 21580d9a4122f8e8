// os_error: an Error from errno, with the code that callers match on.
#pragma once

#include <string>

#include "base/error.h"

namespace kiln::host {

// "writing /x: No space left on device" with the code that `number` means.
Error os_error(std::string attempted, int number);

}  // namespace kiln::host
