// Handlers of ELBv2's target groups and targets. Private to this folder.
#pragma once

#include "region/elb/elb.h"
#include "region/handlers.h"

namespace kiln::region::elb {

void serve_targets(Handlers& handlers, Elb& elb);

}  // namespace kiln::region::elb
