// Placing: in which subnet an instance is put, with which groups and addresses; and what is changed of it later.
#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

constexpr std::size_t kUserDataBytesMax = 16 * 1024;  // before Base64

const Subnet* subnet_of(const Ec2& ec2, const std::string& id, const std::optional<std::string>& zone) {
  if (!id.empty()) return &ec2.vpcs().subnet(id);
  const Subnet* subnet = ec2.vpcs().default_subnet(zone.value_or(zones_of(ec2.options().region).front().name));
  if (subnet != nullptr) return subnet;
  throw ApiError("InvalidParameterValue", fmt::format("Invalid availability zone: [{}]", *zone));
}

}  // namespace

Place place_of(const Ec2& ec2, const RunRequest& request, const LaunchData& data) {
  const std::optional<InterfaceData>& interface = data.interface;
  const auto refuse = [](const char* what) {
    throw ApiError(
        "InvalidParameterCombination",
        fmt::format("Network interfaces and an instance-level {} may not be specified on the same request", what));
  };
  if (interface && !request.subnet_id.empty() && interface->subnet_id && request.subnet_id != *interface->subnet_id) {
    refuse("subnet ID");
  }
  if (interface && !(data.security_group_ids.empty() && data.security_groups.empty())) refuse("security groups");
  if (interface && !request.private_address.empty()) refuse("private address");
  Place place;
  const bool inner = interface && interface->subnet_id;
  place.subnet = subnet_of(ec2, inner ? *interface->subnet_id : request.subnet_id, data.zone);
  place.private_address = interface ? interface->private_address.value_or("") : request.private_address;
  if (!place.private_address.empty() && request.max_count > 1) {
    throw ApiError("InvalidParameterCombination",
                   "The parameter 'privateIpAddress' cannot be used to launch more than one instance");
  }
  place.public_address =
      interface ? interface->public_address.value_or(place.subnet->map_public) : place.subnet->map_public;
  place.groups = interface ? interface->security_group_ids : data.security_group_ids;
  for (const std::string& id : place.groups) {
    if (ec2.security_group(id).vpc_id == place.subnet->vpc_id) continue;
    throw ApiError("InvalidParameter",
                   fmt::format("Security group {} and subnet {} belong to different networks.", id, place.subnet->id));
  }
  for (const std::string& name : data.security_groups) {
    if (place.subnet->vpc_id != ec2.vpcs().default_vpc().id) {
      throw ApiError("InvalidParameterCombination", "The parameter groupName cannot be used with the parameter subnet");
    }
    const SecurityGroup* group = ec2.find_security_group(name);
    if (group == nullptr) {
      throw ApiError("InvalidGroup.NotFound",
                     fmt::format("The security group '{}' does not exist in default VPC", name));
    }
    place.groups.push_back(group->id);
  }
  if (place.groups.empty()) place.groups = {ec2.default_security_group_id(place.subnet->vpc_id)};
  return place;
}

void check_user_data(const std::optional<std::string>& user_data) {
  if (!user_data) return;
  try {
    if (base64_decode(*user_data).size() <= kUserDataBytesMax) return;
  } catch (const Error&) {
    throw ApiError("InvalidParameterValue", "Invalid BASE64 encoding of user data");
  }
  throw ApiError("InvalidParameterValue", "User data is limited to 16384 bytes");
}

void Ec2::modify_instance(const std::string& id, const InstanceChanges& changes) {
  State& s = *state_;
  Instance changed = instance(id);
  if ((changes.type || changes.user_data) && changed.state != InstanceState::stopped) {
    throw ApiError("IncorrectInstanceState", fmt::format("The instance '{}' is not in the 'stopped' state.", id));
  }
  if (changes.type) {
    const InstanceType* now = find_instance_type(changed.type);
    const InstanceType* next = find_instance_type(*changes.type);
    if (next == nullptr || (now != nullptr && next->architecture != now->architecture)) {
      throw ApiError(
          "InvalidInstanceAttributeValue",
          fmt::format("The instance type '{}' is not supported by this region for this instance", *changes.type));
    }
    changed.type = *changes.type;
  }
  check_user_data(changes.user_data);
  for (const std::string& group : changes.security_groups) {
    if (security_group(group).vpc_id != changed.vpc_id) {
      throw ApiError("InvalidGroup.NotFound",
                     fmt::format("The security group '{}' does not exist in VPC '{}'", group, changed.vpc_id));
    }
  }
  changed.user_data = changes.user_data.value_or(changed.user_data);
  changed.shutdown_behavior = changes.shutdown_behavior.value_or(changed.shutdown_behavior);
  changed.termination_protected = changes.termination_protected.value_or(changed.termination_protected);
  changed.stop_protected = changes.stop_protected.value_or(changed.stop_protected);
  changed.ebs_optimized = changes.ebs_optimized.value_or(changed.ebs_optimized);
  if (!changes.security_groups.empty()) changed.security_groups = changes.security_groups;
  s.save(s.instances.at(id) = changed);
  s.network_changed();
}

}  // namespace kiln::region::ec2
