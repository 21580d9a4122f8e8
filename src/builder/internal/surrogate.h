// Surrogate: what an image that is a volume of its builder is made of: requests to EC2, and a question. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "spec/surrogate.h"
#include "wire/ec2.h"

namespace kiln::builder {

// The builder's volumes besides its root. They go with it, whatever the recipe says.
std::vector<wire::ec2::BlockDeviceMapping> launch_mappings(const spec::Surrogate& surrogate);
// Devices of those that the image has: a snapshot is made of each.
std::vector<std::string> snapshot_devices(const spec::Surrogate& surrogate);
// The image of those snapshots, by device: the root's volume first.
wire::ec2::RegisterImageRequest registration(const spec::Surrogate& surrogate,
                                             const std::map<std::string, std::string>& snapshots);
// disk_question of the root file system on one of the builder's volumes, whole or in a partition; for its shell.
std::string volume_question(const std::string& volume, const std::string& device);

}  // namespace kiln::builder
