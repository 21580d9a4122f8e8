// Instance profiles: which one an instance has. IAM knows them; here is only who has which.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-roles-for-amazon-ec2.html
#include <fmt/format.h>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {

void Ec2::set_instance_profiles(FindProfile find) { state_->find_profile = std::move(find); }

ProfileAssociation Ec2::State::associate(const ProfileSpec& spec) {
  if (!spec.arn.empty() && !spec.name.empty()) {
    throw ApiError(
        "InvalidParameterCombination",
        "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'");
  }
  const std::optional<InstanceProfile> found = find_profile ? find_profile(spec) : std::nullopt;
  if (!found) {
    const bool by_name = spec.arn.empty();
    throw ApiError(
        "InvalidParameterValue",
        fmt::format("Value ({}) for parameter iamInstanceProfile.{} is invalid. Invalid IAM Instance Profile {}",
                    by_name ? spec.name : spec.arn, by_name ? "name" : "arn", by_name ? "name" : "ARN"));
  }
  if (!found->has_role) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("IAM Instance Profile \"{}\" has no associated IAM Roles", found->arn));
  }
  return {new_id("iip-assoc-"), found->arn, found->id, loop.now()};
}

const Instance& Ec2::associate_profile(const std::string& instance_id, const ProfileSpec& profile) {
  State& s = *state_;
  const InstanceState now = instance(instance_id).state;
  if (now == InstanceState::terminated || now == InstanceState::shutting_down) {
    throw ApiError("IncorrectInstanceState",
                   fmt::format("The instance '{}' is not in the 'running' or 'stopped' states.", instance_id));
  }
  Instance& one = s.instances.at(instance_id);
  if (one.profile) {
    throw ApiError("IncorrectState", fmt::format("There is an existing association for instance {}", instance_id));
  }
  one.profile = s.associate(profile);
  s.save(one);
  return one;
}

std::pair<ProfileAssociation, std::string> Ec2::disassociate_profile(const std::string& association_id) {
  State& s = *state_;
  for (auto& [id, one] : s.instances) {
    if (one.gone() || !one.profile || one.profile->id != association_id) continue;
    const ProfileAssociation was = *one.profile;
    one.profile.reset();
    s.save(one);
    return {was, id};
  }
  throw ApiError("InvalidAssociationID.NotFound",
                 fmt::format("An invalid association-id of '{}' was given", association_id));
}

}  // namespace kiln::region::ec2
