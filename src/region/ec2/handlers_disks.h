// Handlers of disks: block device mappings, which several operations have, each in a wire type of its own.
#pragma once

#include <string>
#include <vector>

#include "region/ec2/handlers.h"

namespace kiln::region::ec2 {

// Empty is absent: clients send parameters that they have nothing for.
inline std::string text_in(const std::optional<std::string>& value) { return value.value_or(""); }
inline std::optional<std::string> said(const std::optional<std::string>& value) {
  return value && !value->empty() ? value : std::nullopt;
}

template <class Ebs>
void read_ebs(const Ebs& from, BlockDevice& to) {
  const auto refuse = [](const char* member) {
    throw ApiError("UnsupportedOperation", std::string("This region does not honour Ebs.") + member);
  };
  if (from.volume_initialization_rate) refuse("VolumeInitializationRate");
  if (from.ebs_card_index.value_or(0) != 0) refuse("EbsCardIndex");
  if constexpr (requires { from.outpost_arn; }) {
    if (said(from.outpost_arn)) refuse("OutpostArn");
    if (said(from.availability_zone)) refuse("AvailabilityZone");
    if (said(from.availability_zone_id)) refuse("AvailabilityZoneId");
  }
  to.snapshot_id = text_in(from.snapshot_id);
  to.size_gib = from.volume_size;
  to.type = said(from.volume_type);
  to.iops = from.iops;
  to.throughput = from.throughput;
  to.delete_on_termination = from.delete_on_termination;
  to.encrypted = from.encrypted;
  to.kms_key = text_in(from.kms_key_id);
}

// Throws ApiError for a device that is named twice or not at all.
template <class Mapping>
std::vector<BlockDevice> devices_of(const std::vector<Mapping>& mappings) {
  std::vector<BlockDevice> out;
  for (const Mapping& mapping : mappings) {
    BlockDevice& device = out.emplace_back();
    device.name = text_in(mapping.device_name);
    device.ephemeral = text_in(mapping.virtual_name);
    // NoDevice has no value: a mapping that says nothing else says that.
    device.none = !mapping.ebs && device.ephemeral.empty();
    if (mapping.ebs) read_ebs(*mapping.ebs, device);
    for (std::size_t i = 0; i + 1 < out.size(); ++i) {
      if (out[i].name != device.name) continue;
      throw ApiError("InvalidBlockDeviceMapping", "The device '" + device.name + "' is used in more than one mapping");
    }
  }
  return out;
}

template <class Mapping>
std::vector<Mapping> mappings_of(const std::vector<BlockDevice>& devices) {
  std::vector<Mapping> out;
  for (const BlockDevice& device : devices) {
    Mapping& mapping = out.emplace_back();
    mapping.device_name = device.name;
    if (device.none) mapping.no_device = "";
    if (!device.ephemeral.empty()) mapping.virtual_name = device.ephemeral;
    if (!is_disk(device)) continue;
    auto& ebs = mapping.ebs.emplace();
    if (!device.snapshot_id.empty()) ebs.snapshot_id = device.snapshot_id;
    ebs.volume_size = device.size_gib;
    ebs.volume_type = device.type;
    ebs.iops = device.iops;
    ebs.throughput = device.throughput;
    ebs.delete_on_termination = device.delete_on_termination;
    ebs.encrypted = device.encrypted;
    if (!device.kms_key.empty()) ebs.kms_key_id = device.kms_key;
  }
  return out;
}

// Tags for an image and for its snapshots, which CreateImage and CopyImage take together.
struct ImageTags {
  Tags image;
  Tags snapshot;
};
ImageTags image_tags_of(const std::vector<wire::ec2::TagSpecification>& specifications);

// The change that Add and Remove of a permission ask for, or the older OperationType with lists.
template <class Modifications>
SharingChange change_of(const std::optional<Modifications>& modifications, const std::string& operation,
                        const std::vector<std::string>& accounts, const std::vector<std::string>& groups) {
  SharingChange change;
  if (modifications) {
    for (const auto& one : modifications->add) {
      if (said(one.user_id)) change.add.push_back(*one.user_id);
      if (said(one.group)) change.add_groups.push_back(*one.group);
    }
    for (const auto& one : modifications->remove) {
      if (said(one.user_id)) change.remove.push_back(*one.user_id);
      if (said(one.group)) change.remove_groups.push_back(*one.group);
    }
  }
  if (accounts.empty() && groups.empty()) return change;
  // Packer sends its list of accounts both ways, without an operation.
  if (operation != "add" && operation != "remove" && !(operation.empty() && modifications)) {
    throw ApiError("InvalidParameterValue", "The parameter OperationType is 'add' or 'remove'");
  }
  auto& to = operation == "remove" ? change.remove : change.add;
  auto& groups_to = operation == "remove" ? change.remove_groups : change.add_groups;
  to.insert(to.end(), accounts.begin(), accounts.end());
  groups_to.insert(groups_to.end(), groups.begin(), groups.end());
  return change;
}

}  // namespace kiln::region::ec2
