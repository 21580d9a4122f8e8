// AWS's regions, by name, and how the ids of their availability zones begin.
// https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html
#pragma once

#include <span>
#include <string_view>

namespace kiln::region {

struct AwsRegion {
  std::string_view name;         // "us-east-1"
  std::string_view zone_prefix;  // "use1": its zone ids are use1-az1, use1-az2, ...
  bool opt_in = false;           // an account has it only after opting in
};

std::span<const AwsRegion> aws_regions();                 // by name
const AwsRegion* find_aws_region(std::string_view name);  // null: there is none of that name

}  // namespace kiln::region
