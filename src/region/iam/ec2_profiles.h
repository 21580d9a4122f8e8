// What EC2 sees of IAM: instance profiles by name or ARN.
#pragma once

#include "region/ec2/ec2.h"
#include "region/iam/iam.h"

namespace kiln::region::iam {

// `iam` must outlive it.
ec2::Ec2::FindProfile ec2_profiles(const Iam& iam);

}  // namespace kiln::region::iam
