// AWS's regions: see aws_regions.h.
#include "region/aws_regions.h"

namespace kiln::region {
namespace {

constexpr AwsRegion kRegions[] = {
    {"af-south-1", "afs1", true},
    {"ap-east-1", "ape1", true},
    {"ap-east-2", "ape2", true},
    {"ap-northeast-1", "apne1"},
    {"ap-northeast-2", "apne2"},
    {"ap-northeast-3", "apne3"},
    {"ap-south-1", "aps1"},
    {"ap-south-2", "aps2", true},
    {"ap-southeast-1", "apse1"},
    {"ap-southeast-2", "apse2"},
    {"ap-southeast-3", "apse3", true},
    {"ap-southeast-4", "apse4", true},
    {"ap-southeast-5", "apse5", true},
    {"ap-southeast-7", "apse7", true},
    {"ca-central-1", "cac1"},
    {"ca-west-1", "caw1", true},
    {"eu-central-1", "euc1"},
    {"eu-central-2", "euc2", true},
    {"eu-north-1", "eun1"},
    {"eu-south-1", "eus1", true},
    {"eu-south-2", "eus2", true},
    {"eu-west-1", "euw1"},
    {"eu-west-2", "euw2"},
    {"eu-west-3", "euw3"},
    {"il-central-1", "ilc1", true},
    {"me-central-1", "mec1", true},
    {"me-south-1", "mes1", true},
    {"mx-central-1", "mxc1", true},
    {"sa-east-1", "sae1"},
    {"us-east-1", "use1"},
    {"us-east-2", "use2"},
    {"us-west-1", "usw1"},
    {"us-west-2", "usw2"},
};

}  // namespace

std::span<const AwsRegion> aws_regions() { return kRegions; }

const AwsRegion* find_aws_region(std::string_view name) {
  for (const AwsRegion& region : kRegions) {
    if (region.name == name) return &region;
  }
  return nullptr;
}

}  // namespace kiln::region
