// STS: who calls.
#pragma once

#include "region/handlers.h"

namespace kiln::region::sts {

void serve(Handlers& handlers);

}  // namespace kiln::region::sts
