// Handlers of Systems Manager: from AWS's messages to commands and parameters, and back.
#pragma once

#include "region/handlers.h"
#include "region/ssm/commands.h"
#include "region/ssm/parameters.h"

namespace kiln::region::ssm {

// Both must outlive the handlers.
void serve(Handlers& handlers, Commands& commands);
void serve(Handlers& handlers, Parameters& parameters);

// SSM's MaxResults is refused by its own code when it is out of bounds.
void check_max_results(const std::optional<std::int64_t>& max_results, std::int64_t minimum, std::int64_t maximum);

}  // namespace kiln::region::ssm
