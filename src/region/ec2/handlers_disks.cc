// Handlers of EC2: volumes and snapshots.
#include "region/ec2/handlers_disks.h"

#include <fmt/format.h>

#include <algorithm>

#include "region/ec2/filters.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;
using Values = std::vector<std::string>;

const char* text_of(bool value) { return value ? "true" : "false"; }

// "busy" while its guest has what is to be detached mounted.
std::string attachment_state(const Volume& volume) {
  const bool held = volume.attachment == Attachment::detaching && volume.retry_in > Duration(0);
  return held ? "busy" : std::string(to_string(volume.attachment));
}

w::VolumeAttachment attachment_of(const Volume& volume) {
  w::VolumeAttachment attachment;
  attachment.volume_id = volume.id;
  attachment.instance_id = volume.instance_id;
  attachment.device = volume.device;
  attachment.state = attachment_state(volume);
  attachment.attach_time = volume.attached;
  attachment.delete_on_termination = volume.delete_on_termination;
  return attachment;
}

w::Volume to_wire(const Volume& volume) {
  w::Volume out;
  out.volume_id = volume.id;
  out.size = volume.size_gib;
  out.snapshot_id = volume.snapshot_id;
  out.availability_zone = volume.zone;
  out.state = std::string(state_of(volume));
  out.create_time = volume.created;
  out.volume_type = volume.type;
  if (volume.iops != 0) out.iops = volume.iops;
  if (volume.throughput != 0) out.throughput = volume.throughput;
  out.encrypted = volume.encrypted;
  if (!volume.kms_key.empty()) out.kms_key_id = volume.kms_key;
  out.multi_attach_enabled = false;
  out.tags = kiln::region::ec2::to_wire(volume.tags);
  if (volume.instance_id.empty()) return out;
  out.attachments.push_back(attachment_of(volume));
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html
std::optional<Values> filter_values(const Volume& one, const std::string& name) {
  if (name.starts_with("attachment.") && one.instance_id.empty() && !one.id.empty()) return Values{};
  if (name == "attachment.attach-time") return Values{format_iso8601(one.attached)};
  if (name == "attachment.delete-on-termination") return Values{text_of(one.delete_on_termination)};
  if (name == "attachment.device") return Values{one.device};
  if (name == "attachment.instance-id") return Values{one.instance_id};
  if (name == "attachment.status") return Values{attachment_state(one)};
  if (name == "availability-zone") return Values{one.zone};
  if (name == "create-time") return Values{format_iso8601(one.created)};
  if (name == "encrypted") return Values{text_of(one.encrypted)};
  if (name == "fast-restored" || name == "multi-attach-enabled" || name == "operator.managed") return Values{"false"};
  if (name == "operator.principal") return Values{};
  if (name == "size") return Values{std::to_string(one.size_gib)};
  if (name == "snapshot-id") return Values{one.snapshot_id};
  if (name == "status") return Values{std::string(state_of(one))};
  if (name == "volume-id") return Values{one.id};
  if (name == "volume-type") return Values{one.type};
  return std::nullopt;
}

w::DescribeVolumesResult describe(const Ec2& ec2, const w::DescribeVolumesRequest& input) {
  only<w::DescribeVolumes>(input, {"VolumeIds", "Filters", "MaxResults", "NextToken"});
  static const Volume kNone;
  check_names(input.filters, [&](const std::string& name) { return filter_values(kNone, name); });
  for (const std::string& id : input.volume_ids) ec2.volume(id);
  w::DescribeVolumesResult answer;
  Page page(input.max_results, input.next_token);
  for (const auto& [id, volume] : ec2.volumes()) {
    const Volume& one = volume;
    if (!input.volume_ids.empty() && std::ranges::find(input.volume_ids, id) == input.volume_ids.end()) continue;
    if (!matches(input.filters, one.tags, [&](const std::string& name) { return filter_values(one, name); })) continue;
    if (page.takes(id)) answer.volumes.push_back(to_wire(one));
  }
  answer.next_token = page.next_token();
  return answer;
}

w::Snapshot to_wire(const Ec2& ec2, const Snapshot& snapshot) {
  w::Snapshot out;
  out.snapshot_id = snapshot.id;
  out.volume_id = snapshot.volume_id;
  out.state = std::string(to_string(snapshot.state));
  if (!snapshot.state_message.empty()) out.state_message = snapshot.state_message;
  out.progress = snapshot.state == SnapshotState::completed ? "100%" : "0%";
  out.start_time = snapshot.started;
  out.completion_time = snapshot.completed;
  out.owner_id = ec2.options().account;
  out.description = snapshot.description;
  out.volume_size = snapshot.size_gib;
  out.encrypted = snapshot.encrypted;
  if (!snapshot.kms_key.empty()) out.kms_key_id = snapshot.kms_key;
  out.storage_tier = "standard";
  out.tags = kiln::region::ec2::to_wire(snapshot.tags);
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html
std::optional<Values> filter_values(const Ec2& ec2, const Snapshot& one, const std::string& name) {
  if (name == "description") return Values{one.description};
  if (name == "encrypted") return Values{text_of(one.encrypted)};
  if (name == "owner-id") return Values{ec2.options().account};
  if (name == "owner-alias" || name == "transfer-type") return Values{};
  if (name == "progress") return Values{one.state == SnapshotState::completed ? "100%" : "0%"};
  if (name == "snapshot-id") return Values{one.id};
  if (name == "start-time") return Values{format_iso8601(one.started)};
  if (name == "status") return Values{std::string(to_string(one.state))};
  if (name == "storage-tier") return Values{"standard"};
  if (name == "volume-id") return Values{one.volume_id};
  if (name == "volume-size") return Values{std::to_string(one.size_gib)};
  return std::nullopt;
}

w::DescribeSnapshotsResult describe(const Ec2& ec2, const w::DescribeSnapshotsRequest& input) {
  only<w::DescribeSnapshots>(input,
                             {"SnapshotIds", "OwnerIds", "RestorableByUserIds", "Filters", "MaxResults", "NextToken"});
  static const Snapshot kNone;
  check_names(input.filters, [&](const std::string& name) { return filter_values(ec2, kNone, name); });
  for (const std::string& id : input.snapshot_ids) ec2.snapshot(id);
  const auto own = [&](const std::string& user) { return user == "self" || user == ec2.options().account; };
  const bool owned = input.owner_ids.empty() || std::ranges::any_of(input.owner_ids, own);
  // One's own can be restored by oneself; by others only what they have an explicit permission for.
  const auto restorable = [&](const Snapshot& one) {
    return input.restorable_by_user_ids.empty() ||
           std::ranges::any_of(input.restorable_by_user_ids, [&](const std::string& user) {
             return own(user) || (user == "all" ? one.sharing.everybody : one.sharing.accounts.contains(user));
           });
  };
  w::DescribeSnapshotsResult answer;
  if (!owned) return answer;
  Page page(input.max_results, input.next_token);
  for (const auto& [id, snapshot] : ec2.snapshots()) {
    const Snapshot& one = snapshot;
    if (!input.snapshot_ids.empty() && std::ranges::find(input.snapshot_ids, id) == input.snapshot_ids.end()) continue;
    if (!restorable(one)) continue;
    if (!matches(input.filters, one.tags, [&](const std::string& name) { return filter_values(ec2, one, name); }))
      continue;
    if (page.takes(id)) answer.snapshots.push_back(to_wire(ec2, one));
  }
  answer.next_token = page.next_token();
  return answer;
}

BlockDevice device_of(const w::CreateVolumeRequest& input) {
  BlockDevice device;
  device.snapshot_id = text_in(input.snapshot_id);
  device.size_gib = input.size;
  device.type = said(input.volume_type);
  device.iops = input.iops;
  device.throughput = input.throughput;
  device.encrypted = input.encrypted;
  device.kms_key = text_in(input.kms_key_id);
  return device;
}

// AWS checks a volume's way to its device; here a device that is there is well.
w::VolumeStatusItem status_of(const Volume& volume) {
  w::VolumeStatusItem out;
  out.volume_id = volume.id;
  out.availability_zone = volume.zone;
  auto& status = out.volume_status.emplace();
  status.status = volume.made ? "ok" : volume.failure.empty() ? "insufficient-data" : "impaired";
  status.details.push_back({"io-enabled", volume.failure.empty() ? "passed" : "failed"});
  status.details.push_back({"io-performance", "not-applicable"});
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumeStatus.html
std::optional<Values> status_values(const Volume& one, const std::string& name) {
  const w::VolumeStatusItem status = status_of(one);
  if (name == "availability-zone") return Values{one.zone};
  if (name == "volume-status.status") return Values{status.volume_status->status.value_or("")};
  if (name == "volume-status.details-name") return Values{"io-enabled", "io-performance"};
  if (name == "volume-status.details-status") return Values{status.volume_status->details[0].status.value_or("")};
  for (const char* of_events : {"action.code", "action.description", "action.event-id", "event.description",
                                "event.event-id", "event.event-type", "event.not-after", "event.not-before"}) {
    if (name == of_events) return Values{};
  }
  return std::nullopt;
}

w::VolumeModification modification_of(const Volume& volume) {
  w::VolumeModification out;
  const VolumeChange& change = *volume.change;
  out.volume_id = volume.id;
  out.modification_state = change.ended ? "completed" : "modifying";
  out.progress = change.ended ? 100 : 0;
  out.start_time = change.started;
  out.end_time = change.ended;
  out.target_size = volume.size_gib;
  out.target_volume_type = volume.type;
  out.target_iops = volume.iops;
  if (volume.throughput != 0) out.target_throughput = volume.throughput;
  out.target_multi_attach_enabled = false;
  out.original_size = change.size_gib;
  out.original_volume_type = change.type;
  out.original_iops = change.iops;
  if (change.throughput != 0) out.original_throughput = change.throughput;
  out.original_multi_attach_enabled = false;
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumesModifications.html
std::optional<Values> modification_values(const Volume& one, const std::string& name) {
  if (name == "volume-id") return Values{one.id};
  const VolumeChange change = one.change.value_or(VolumeChange{});
  if (name == "modification-state") return Values{change.ended ? "completed" : "modifying"};
  if (name == "original-iops") return Values{std::to_string(change.iops)};
  if (name == "original-size") return Values{std::to_string(change.size_gib)};
  if (name == "original-volume-type") return Values{change.type};
  if (name == "originalMultiAttachEnabled" || name == "targetMultiAttachEnabled") return Values{"false"};
  if (name == "start-time") return Values{format_iso8601(change.started)};
  if (name == "target-iops") return Values{std::to_string(one.iops)};
  if (name == "target-size") return Values{std::to_string(one.size_gib)};
  if (name == "target-volume-type") return Values{one.type};
  return std::nullopt;
}

w::DescribeVolumeStatusResult describe(const Ec2& ec2, const w::DescribeVolumeStatusRequest& input) {
  only<w::DescribeVolumeStatus>(input, {"VolumeIds", "Filters", "MaxResults", "NextToken"});
  static const Volume kNone;
  check_names(input.filters, [&](const std::string& name) { return status_values(kNone, name); });
  for (const std::string& id : input.volume_ids) ec2.volume(id);
  w::DescribeVolumeStatusResult answer;
  Page page(input.max_results, input.next_token);
  for (const auto& [id, volume] : ec2.volumes()) {
    const Volume& one = volume;
    if (!listed(input.volume_ids, id)) continue;
    if (!matches(input.filters, one.tags, [&](const std::string& name) { return status_values(one, name); })) continue;
    if (page.takes(id)) answer.volume_statuses.push_back(status_of(one));
  }
  answer.next_token = page.next_token();
  return answer;
}

w::DescribeVolumesModificationsResult describe(const Ec2& ec2, const w::DescribeVolumesModificationsRequest& input) {
  only<w::DescribeVolumesModifications>(input, {"VolumeIds", "Filters", "MaxResults", "NextToken"});
  static const Volume kNone;
  check_names(input.filters, [&](const std::string& name) { return modification_values(kNone, name); });
  for (const std::string& id : input.volume_ids) {
    if (ec2.volume(id).change) continue;
    throw ApiError("InvalidVolumeModification.NotFound",
                   fmt::format("Modification for volume '{}' does not exist.", id));
  }
  w::DescribeVolumesModificationsResult answer;
  Page page(input.max_results, input.next_token);
  for (const auto& [id, volume] : ec2.volumes()) {
    const Volume& one = volume;
    if (!one.change || !listed(input.volume_ids, id)) continue;
    const auto values = [&](const std::string& name) { return modification_values(one, name); };
    if (!matches(input.filters, one.tags, values)) continue;
    if (page.takes(id)) answer.volumes_modifications.push_back(modification_of(one));
  }
  answer.next_token = page.next_token();
  return answer;
}

void serve_volumes(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateVolume>([&ec2](const Call&, const w::CreateVolumeRequest& input) {
    only<w::CreateVolume>(
        input, {"AvailabilityZone", "AvailabilityZoneId", "Size", "SnapshotId", "VolumeType", "Iops", "Throughput",
                "Encrypted", "KmsKeyId", "ClientToken", "TagSpecifications", "MultiAttachEnabled"});
    if (input.multi_attach_enabled.value_or(false)) {
      throw ApiError("UnsupportedOperation", "A volume of this region is attached to one instance at a time");
    }
    Ec2::VolumeRequest request;
    request.device = device_of(input);
    request.zone = text_in(input.availability_zone);
    for (const Zone& zone : zones_of(ec2.options().region)) {
      if (request.zone.empty() && zone.id == text_in(input.availability_zone_id)) request.zone = zone.name;
    }
    request.client_token = text_in(input.client_token);
    request.tags = tags_for(input.tag_specifications, "volume");
    return to_wire(ec2.create_volume(request));
  });
  handlers.on<w::DeleteVolume>([&ec2](const Call&, const w::DeleteVolumeRequest& input) {
    only<w::DeleteVolume>(input, {"VolumeId"});
    ec2.delete_volume(text_in(input.volume_id));
    return wire::Empty{};
  });
  handlers.on<w::AttachVolume>([&ec2](const Call&, const w::AttachVolumeRequest& input) {
    only<w::AttachVolume>(input, {"VolumeId", "InstanceId", "Device"});
    return attachment_of(
        ec2.attach_volume(text_in(input.volume_id), text_in(input.instance_id), text_in(input.device)));
  });
  handlers.on<w::DetachVolume>([&ec2](const Call&, const w::DetachVolumeRequest& input) {
    only<w::DetachVolume>(input, {"VolumeId", "InstanceId", "Device", "Force"});
    if (input.force.value_or(false)) {
      throw ApiError("UnsupportedOperation",
                     "This region takes no volume from a guest that uses it: unmount it, or stop the instance");
    }
    return attachment_of(
        ec2.detach_volume(text_in(input.volume_id), text_in(input.instance_id), text_in(input.device)));
  });
  handlers.on<w::ModifyVolume>([&ec2](const Call&, const w::ModifyVolumeRequest& input) {
    only<w::ModifyVolume>(input, {"VolumeId", "Size", "VolumeType", "Iops", "Throughput"});
    BlockDevice wish;
    wish.size_gib = input.size;
    wish.type = said(input.volume_type);
    wish.iops = input.iops;
    wish.throughput = input.throughput;
    w::ModifyVolumeResult answer;
    answer.volume_modification = modification_of(ec2.modify_volume(text_in(input.volume_id), wish));
    return answer;
  });
  handlers.on<w::DescribeVolumeStatus>(
      [&ec2](const Call&, const w::DescribeVolumeStatusRequest& input) { return describe(ec2, input); });
  handlers.on<w::DescribeVolumesModifications>(
      [&ec2](const Call&, const w::DescribeVolumesModificationsRequest& input) { return describe(ec2, input); });
  handlers.when<w::DescribeVolumesModifications>(
      [&ec2](const w::DescribeVolumesModificationsRequest& input) { return ec2.volumes_settled(input.volume_ids); });
}

void serve_snapshot_attributes(Handlers& handlers, Ec2& ec2) {
  const auto check_attribute = [](const std::string& attribute) {
    if (attribute.empty() || attribute == "createVolumePermission") return;
    throw ApiError("UnsupportedOperation", fmt::format("The attribute {} is not supported by this region", attribute));
  };
  handlers.on<w::DescribeSnapshotAttribute>([=, &ec2](const Call&, const w::DescribeSnapshotAttributeRequest& input) {
    only<w::DescribeSnapshotAttribute>(input, {"SnapshotId", "Attribute"});
    check_attribute(text_in(input.attribute));
    const Snapshot& snapshot = ec2.snapshot(text_in(input.snapshot_id));
    w::DescribeSnapshotAttributeResult answer;
    answer.snapshot_id = snapshot.id;
    if (snapshot.sharing.everybody) answer.create_volume_permissions.emplace_back().group = "all";
    for (const std::string& account : snapshot.sharing.accounts) {
      answer.create_volume_permissions.emplace_back().user_id = account;
    }
    return answer;
  });
  handlers.on<w::ModifySnapshotAttribute>([=, &ec2](const Call&, const w::ModifySnapshotAttributeRequest& input) {
    only<w::ModifySnapshotAttribute>(
        input, {"SnapshotId", "Attribute", "CreateVolumePermission", "OperationType", "UserIds", "GroupNames"});
    check_attribute(text_in(input.attribute));
    ec2.share_snapshot(
        text_in(input.snapshot_id),
        change_of(input.create_volume_permission, text_in(input.operation_type), input.user_ids, input.group_names));
    return wire::Empty{};
  });
  handlers.on<w::ResetSnapshotAttribute>([=, &ec2](const Call&, const w::ResetSnapshotAttributeRequest& input) {
    check_attribute(text_in(input.attribute));
    ec2.reset_snapshot_sharing(text_in(input.snapshot_id));
    return wire::Empty{};
  });
}

}  // namespace

void serve_disks(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeVolumes>(
      [&ec2](const Call&, const w::DescribeVolumesRequest& input) { return describe(ec2, input); });
  handlers.when<w::DescribeVolumes>(
      [&ec2](const w::DescribeVolumesRequest& input) { return ec2.volumes_settled(input.volume_ids); });
  serve_volumes(handlers, ec2);
  handlers.on<w::DescribeSnapshots>(
      [&ec2](const Call&, const w::DescribeSnapshotsRequest& input) { return describe(ec2, input); });
  handlers.when<w::DescribeSnapshots>(
      [&ec2](const w::DescribeSnapshotsRequest& input) { return ec2.snapshots_settled(input.snapshot_ids); });
  handlers.on<w::CreateSnapshot>([&ec2](const Call&, const w::CreateSnapshotRequest& input) {
    only<w::CreateSnapshot>(input, {"VolumeId", "Description", "TagSpecifications"});
    return to_wire(ec2, ec2.create_snapshot(text_in(input.volume_id), text_in(input.description),
                                            tags_for(input.tag_specifications, "snapshot")));
  });
  handlers.on<w::DeleteSnapshot>([&ec2](const Call&, const w::DeleteSnapshotRequest& input) {
    ec2.delete_snapshot(text_in(input.snapshot_id));
    return wire::Empty{};
  });
  serve_snapshot_attributes(handlers, ec2);
}

}  // namespace kiln::region::ec2
