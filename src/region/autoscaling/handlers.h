// Handlers: Auto Scaling's operations, from the wire to Autoscaling and back.
#pragma once

#include "region/autoscaling/autoscaling.h"
#include "region/handlers.h"

namespace kiln::region::autoscaling {

// `autoscaling` must outlive `handlers`.
void serve(Handlers& handlers, Autoscaling& autoscaling);

}  // namespace kiln::region::autoscaling
