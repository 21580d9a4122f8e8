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

w::Volume to_wire(const Volume& volume) {
  w::Volume out;
  out.volume_id = volume.id;
  out.size = volume.size_gib;
  out.snapshot_id = volume.snapshot_id;
  out.availability_zone = volume.zone;
  out.state = volume.instance_id.empty() ? "available" : "in-use";
  out.create_time = volume.created;
  out.volume_type = volume.type;
  if (volume.iops != 0) out.iops = volume.iops;
  if (volume.throughput != 0) out.throughput = volume.throughput;
  out.encrypted = volume.encrypted;
  if (!volume.kms_key.empty()) out.kms_key_id = volume.kms_key;
  out.multi_attach_enabled = false;
  out.tags = kiln::region::ec2::to_wire(volume.tags);
  if (volume.instance_id.empty()) return out;
  w::VolumeAttachment& attachment = out.attachments.emplace_back();
  attachment.volume_id = volume.id;
  attachment.instance_id = volume.instance_id;
  attachment.device = volume.device;
  attachment.state = "attached";
  attachment.attach_time = volume.created;
  attachment.delete_on_termination = volume.delete_on_termination;
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html
std::optional<Values> filter_values(const Volume& one, const std::string& name) {
  if (name.starts_with("attachment.") && one.instance_id.empty() && !one.id.empty()) return Values{};
  if (name == "attachment.attach-time") return Values{format_iso8601(one.created)};
  if (name == "attachment.delete-on-termination") return Values{text_of(one.delete_on_termination)};
  if (name == "attachment.device") return Values{one.device};
  if (name == "attachment.instance-id") return Values{one.instance_id};
  if (name == "attachment.status") return Values{"attached"};
  if (name == "availability-zone") return Values{one.zone};
  if (name == "create-time") return Values{format_iso8601(one.created)};
  if (name == "encrypted") return Values{text_of(one.encrypted)};
  if (name == "fast-restored" || name == "multi-attach-enabled" || name == "operator.managed") return Values{"false"};
  if (name == "operator.principal") return Values{};
  if (name == "size") return Values{std::to_string(one.size_gib)};
  if (name == "snapshot-id") return Values{one.snapshot_id};
  if (name == "status") return Values{one.instance_id.empty() ? "available" : "in-use"};
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
