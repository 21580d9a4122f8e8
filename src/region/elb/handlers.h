// Handlers of ELBv2: from AWS's requests to Elb and back.
#pragma once

#include "region/elb/elb.h"
#include "region/handlers.h"

namespace kiln::region::elb {

// `elb` must outlive `handlers`.
void serve(Handlers& handlers, Elb& elb);

}  // namespace kiln::region::elb
