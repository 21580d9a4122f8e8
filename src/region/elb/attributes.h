// Attributes: the named settings of load balancers and target groups, checked and explained as ELBv2 does.
#pragma once

#include <map>
#include <string>

#include "region/elb/model.h"

namespace kiln::region::elb {

using Attributes = std::map<std::string, std::string>;

// Throws ApiError InvalidConfigurationRequest for a key that AWS does not know, a value that it would refuse, and a
// value that the region does not serve (then the message says so). Nothing is changed unless all are good.
void apply_attributes(TargetGroupAttributes& attributes, const Attributes& changes);
Attributes all_attributes(const TargetGroupAttributes& attributes);

void apply_attributes(LoadBalancer& load_balancer, const Attributes& changes);
Attributes all_attributes(const LoadBalancer& load_balancer);
int idle_seconds(const LoadBalancer& load_balancer);
bool deletion_protected(const LoadBalancer& load_balancer);

}  // namespace kiln::region::elb
