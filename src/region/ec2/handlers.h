// Handlers of EC2: from a decoded request to Ec2 and back into the shape of its answer.
#pragma once

#include "region/ec2/ec2.h"
#include "region/handlers.h"
#include "wire/ec2.h"

namespace kiln::region::ec2 {

// Registers all of them. `ec2` must outlive `handlers`.
void serve(Handlers& handlers, Ec2& ec2);

void serve_instances(Handlers& handlers, Ec2& ec2);
void serve_instance_profiles(Handlers& handlers, Ec2& ec2);
void serve_images(Handlers& handlers, Ec2& ec2);
void serve_image_attributes(Handlers& handlers, Ec2& ec2);
void serve_disks(Handlers& handlers, Ec2& ec2);
void serve_launch_templates(Handlers& handlers, Ec2& ec2);
void serve_security_groups(Handlers& handlers, Ec2& ec2);
void serve_network(Handlers& handlers, Ec2& ec2);
void serve_metadata_options(Handlers& handlers, Ec2& ec2);
void serve_tags_and_keys(Handlers& handlers, Ec2& ec2);
void serve_vpcs(Handlers& handlers, Ec2& ec2);
void serve_routes(Handlers& handlers, Ec2& ec2);
void serve_addresses(Handlers& handlers, Ec2& ec2);
void serve_attributes(Handlers& handlers, Ec2& ec2);

// What they share.
// An instance profile as RunInstances and launch templates name it; one that says nothing is absent.
template <class Specification>
std::optional<ProfileSpec> profile_spec(const std::optional<Specification>& from) {
  if (!from || (!from->arn && !from->name)) return std::nullopt;
  return ProfileSpec{from->arn.value_or(""), from->name.value_or("")};
}
std::string protection_of(const Image& image);  // DeregistrationProtection
std::vector<wire::ec2::Tag> to_wire(const Tags& tags);
// The tags for one type of resource; ApiError InvalidParameterValue when another type is named.
Tags tags_for(const std::vector<wire::ec2::TagSpecification>& specifications, std::string_view type);
Tags from_wire(const std::vector<wire::ec2::Tag>& tags);
// The network interfaces of a request or a template, of which there may be one: the primary, new, and gone with its
// instance. `shape` is what has them as its member NetworkInterfaces.
template <class Specification>
std::optional<InterfaceData> interface_data_of(const wire::Shape& shape,
                                               const std::vector<Specification>& specifications);
// As EC2 takes it: an empty text is none.
inline bool present(const std::optional<std::string>& text) { return text && !text->empty(); }
// Whether a list of ids that narrows an answer lets this one through: an empty list is no list.
bool listed(const std::vector<std::string>& wanted, const std::string& id);
// "ip-172-31-0-10.ec2.internal"
std::string private_name(const Ec2& ec2, const Instance& instance);
std::vector<wire::ec2::GroupIdentifier> groups_of(const Ec2& ec2, const Instance& instance);
std::vector<wire::ec2::InstanceBlockDeviceMapping> block_devices_of(const Ec2& ec2, const Instance& instance);
std::string root_device_of(const Ec2& ec2, const Instance& instance);

template <class Specification>
std::optional<InterfaceData> interface_data_of(const wire::Shape& shape,
                                               const std::vector<Specification>& specifications) {
  if (specifications.empty()) return std::nullopt;
  const Specification& one = specifications.front();
  only_within(shape, "NetworkInterfaces", &one,
              {"DeviceIndex", "NetworkCardIndex", "SubnetId", "AssociatePublicIpAddress", "DeleteOnTermination",
               "Groups", "PrivateIpAddress", "Description", "InterfaceType"});
  if (specifications.size() > 1 || one.device_index.value_or(0) != 0 || one.network_card_index.value_or(0) != 0 ||
      (present(one.interface_type) && *one.interface_type != "interface")) {
    throw ApiError("UnsupportedOperation", "An instance of this region has one network interface, of device index 0");
  }
  if (!one.delete_on_termination.value_or(true)) {
    throw ApiError("UnsupportedOperation", "A network interface of this region goes with its instance");
  }
  InterfaceData data;
  if (present(one.subnet_id)) data.subnet_id = one.subnet_id;
  if (present(one.private_ip_address)) data.private_address = one.private_ip_address;
  if (present(one.description)) data.description = one.description;
  data.public_address = one.associate_public_ip_address;
  data.security_group_ids = one.groups;
  return data;
}

}  // namespace kiln::region::ec2
