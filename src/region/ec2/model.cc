// Model: names of states, the table of instance types, and how launch data is laid over a template's.
#include "region/ec2/model.h"

#include <algorithm>

namespace kiln::region::ec2 {

std::string_view to_string(InstanceState state) {
  switch (state) {
    case InstanceState::pending:
      return "pending";
    case InstanceState::running:
      return "running";
    case InstanceState::shutting_down:
      return "shutting-down";
    case InstanceState::terminated:
      return "terminated";
    case InstanceState::stopping:
      return "stopping";
    case InstanceState::stopped:
      return "stopped";
  }
  return "";
}

std::string_view to_string(Attachment state) {
  switch (state) {
    case Attachment::attaching:
      return "attaching";
    case Attachment::attached:
      return "attached";
    case Attachment::detaching:
      return "detaching";
  }
  return "?";
}

std::string_view state_of(const Volume& volume) {
  if (!volume.failure.empty()) return "error";
  if (volume.deleting) return "deleting";
  if (!volume.made) return "creating";
  return volume.instance_id.empty() ? "available" : "in-use";
}

std::string_view to_string(SnapshotState state) {
  switch (state) {
    case SnapshotState::pending:
      return "pending";
    case SnapshotState::completed:
      return "completed";
    case SnapshotState::error:
      return "error";
  }
  return "";
}

std::string_view to_string(ImageState state) {
  switch (state) {
    case ImageState::pending:
      return "pending";
    case ImageState::available:
      return "available";
    case ImageState::failed:
      return "failed";
    case ImageState::disabled:
      return "disabled";
  }
  return "";
}

const BlockDevice* Image::root() const {
  const auto found = std::find_if(devices.begin(), devices.end(),
                                  [&](const BlockDevice& device) { return device.name == root_device; });
  return found == devices.end() ? nullptr : &*found;
}

LaunchData merge(const LaunchData& base, const LaunchData& over) {
  LaunchData out = base;
  auto take = [](auto& to, const auto& from) {
    if (from) to = from;
  };
  take(out.image_id, over.image_id);
  take(out.instance_type, over.instance_type);
  take(out.key_name, over.key_name);
  take(out.user_data, over.user_data);
  take(out.shutdown_behavior, over.shutdown_behavior);
  take(out.zone, over.zone);
  take(out.profile, over.profile);
  take(out.ebs_optimized, over.ebs_optimized);
  take(out.monitoring, over.monitoring);
  take(out.interface, over.interface);
  take(out.termination_protected, over.termination_protected);
  take(out.stop_protected, over.stop_protected);
  if (!over.security_group_ids.empty() || !over.security_groups.empty()) {
    out.security_group_ids = over.security_group_ids;
    out.security_groups = over.security_groups;
  }
  for (const auto& [type, tags] : over.tags) out.tags[type] = tags;
  for (const BlockDevice& device : over.devices) {
    std::erase_if(out.devices, [&](const BlockDevice& below) { return below.name == device.name; });
    out.devices.push_back(device);
  }
  take(out.metadata.tokens, over.metadata.tokens);
  take(out.metadata.endpoint, over.metadata.endpoint);
  take(out.metadata.tags, over.metadata.tags);
  take(out.metadata.hop_limit, over.metadata.hop_limit);
  return out;
}

std::string text_of(const BlockDevice& device) {
  const auto number = [](const std::optional<std::int64_t>& value) { return value ? std::to_string(*value) : "-"; };
  const auto flag = [](const std::optional<bool>& value) { return value ? (*value ? "yes" : "no") : "-"; };
  std::string text;
  for (const std::string& part :
       {device.name, std::string(device.none ? "none" : ""), device.ephemeral, device.snapshot_id,
        number(device.size_gib), device.type.value_or("-"), number(device.iops), number(device.throughput),
        std::string(flag(device.delete_on_termination)), std::string(flag(device.encrypted)), device.kms_key}) {
    text += part + "|";
  }
  return text;
}

std::string text_of(const LaunchData& data) {
  std::string text;
  auto add = [&](const std::string& part) { text += std::to_string(part.size()) + ":" + part + ","; };
  for (const auto& field :
       {data.image_id, data.instance_type, data.key_name, data.user_data, data.shutdown_behavior, data.zone}) {
    add(field.value_or("-"));
  }
  if (data.profile) {
    add(data.profile->arn);
    add(data.profile->name);
  }
  const auto add_flag = [&](const std::optional<bool>& flag) { add(flag ? (*flag ? "yes" : "no") : "-"); };
  for (const auto& flag : {data.ebs_optimized, data.monitoring}) add_flag(flag);
  // What came later changes no text of before: tokens of then are still the same request's.
  if (data.termination_protected || data.stop_protected) {
    add_flag(data.termination_protected);
    add_flag(data.stop_protected);
  }
  if (data.metadata != MetadataWish()) {
    for (const auto& field : {data.metadata.tokens, data.metadata.endpoint, data.metadata.tags})
      add(field.value_or("-"));
    add(std::to_string(data.metadata.hop_limit.value_or(0)));
  }
  if (data.interface) {
    for (const auto& field :
         {data.interface->subnet_id, data.interface->private_address, data.interface->description}) {
      add(field.value_or("-"));
    }
    add_flag(data.interface->public_address);
    for (const std::string& group : data.interface->security_group_ids) add(group);
  }
  for (const auto& list : {data.security_group_ids, data.security_groups}) {
    add(std::to_string(list.size()));
    for (const std::string& one : list) add(one);
  }
  for (const auto& [type, tags] : data.tags) {
    for (const auto& [key, value] : tags) {
      add(type);
      add(key);
      add(value);
    }
  }
  for (const BlockDevice& device : data.devices) add(text_of(device));
  return text;
}

const std::vector<InstanceType>& instance_types() {
  // https://docs.aws.amazon.com/ec2/latest/instancetypes/gp.html
  static const std::vector<InstanceType> kTypes = {
      {"t2.micro", 1, 1024, "x86_64", true},   {"t2.small", 1, 2048, "x86_64", true},
      {"t2.medium", 2, 4096, "x86_64", true},  {"t3.nano", 2, 512, "x86_64", true},
      {"t3.micro", 2, 1024, "x86_64", true},   {"t3.small", 2, 2048, "x86_64", true},
      {"t3.medium", 2, 4096, "x86_64", true},  {"t3.large", 2, 8192, "x86_64", true},
      {"t3.xlarge", 4, 16384, "x86_64", true}, {"t3.2xlarge", 8, 32768, "x86_64", true},
      {"m5.large", 2, 8192, "x86_64", false},  {"m5.xlarge", 4, 16384, "x86_64", false},
      {"c5.large", 2, 4096, "x86_64", false},  {"c5.xlarge", 4, 8192, "x86_64", false},
      {"r5.large", 2, 16384, "x86_64", false},
  };
  return kTypes;
}

const InstanceType* find_instance_type(std::string_view name) {
  for (const InstanceType& type : instance_types()) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

}  // namespace kiln::region::ec2
