// What EC2 sees of IAM.
#include "region/iam/ec2_profiles.h"

namespace kiln::region::iam {

ec2::Ec2::FindProfile ec2_profiles(const Iam& iam) {
  return [&iam](const ec2::ProfileSpec& spec) -> std::optional<ec2::InstanceProfile> {
    const InstanceProfile* found = nullptr;
    if (!spec.arn.empty()) {
      found = iam.find_instance_profile_by_arn(spec.arn);
    } else if (auto it = iam.instance_profiles().find(spec.name); it != iam.instance_profiles().end()) {
      found = &it->second;
    }
    if (found == nullptr) return std::nullopt;
    return ec2::InstanceProfile{found->arn, found->id, !found->role.empty()};
  };
}

}  // namespace kiln::region::iam
