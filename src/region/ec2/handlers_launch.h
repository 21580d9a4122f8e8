// Launch data: what RunInstances and a launch template both say of an instance, read by one piece.
#pragma once

#include "region/ec2/handlers.h"
#include "region/ec2/handlers_disks.h"
#include "region/ec2/handlers_metadata.h"

namespace kiln::region::ec2 {

// `shape` is that of `from`. Zone and tags are not read: the two have different words for them.
template <class Request>
LaunchData launch_data_of(const wire::Shape& shape, const Request& from) {
  LaunchData data;
  data.image_id = from.image_id;
  data.instance_type = from.instance_type;
  data.key_name = from.key_name;
  data.user_data = from.user_data;
  data.shutdown_behavior = from.instance_initiated_shutdown_behavior;
  data.profile = profile_spec(from.iam_instance_profile);
  data.ebs_optimized = from.ebs_optimized;
  if (from.monitoring) data.monitoring = from.monitoring->enabled;
  if (from.metadata_options) data.metadata = metadata_wish_of(*from.metadata_options);
  data.termination_protected = from.disable_api_termination;
  data.stop_protected = from.disable_api_stop;
  data.security_group_ids = from.security_group_ids;
  data.security_groups = from.security_groups;
  data.interface = interface_data_of(shape, from.network_interfaces);
  data.devices = devices_of(from.block_device_mappings);
  return data;
}

}  // namespace kiln::region::ec2
