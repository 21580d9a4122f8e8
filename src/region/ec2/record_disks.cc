// Record of disks: images, volumes and snapshots as the journal keeps them.
#include <fmt/format.h>

#include "region/ec2/record_json.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

json to_json(const Sharing& sharing) { return {{"accounts", sharing.accounts}, {"everybody", sharing.everybody}}; }
Sharing sharing_of(const json& from) {
  Sharing sharing;
  from.at("accounts").get_to(sharing.accounts);
  from.at("everybody").get_to(sharing.everybody);
  return sharing;
}
json maybe_number(const std::optional<Time>& time) { return time ? number(*time) : json(); }
std::optional<Time> maybe_time_of(const json& value) {
  return value.is_null() ? std::nullopt : std::optional<Time>(time_of(value));
}

json to_json(const VolumeChange& change) {
  return {{"size_gib", change.size_gib},
          {"type", change.type},
          {"iops", change.iops},
          {"throughput", change.throughput},
          {"started", number(change.started)},
          {"ended", maybe_number(change.ended)}};
}
VolumeChange change_of(const json& from) {
  VolumeChange change;
  from.at("size_gib").get_to(change.size_gib);
  from.at("type").get_to(change.type);
  from.at("iops").get_to(change.iops);
  from.at("throughput").get_to(change.throughput);
  change.started = time_of(from.at("started"));
  change.ended = maybe_time_of(from.at("ended"));
  return change;
}

}  // namespace

json to_json(const BlockDevice& device) {
  return {{"name", device.name},
          {"none", device.none},
          {"ephemeral", device.ephemeral},
          {"snapshot_id", device.snapshot_id},
          {"size_gib", maybe(device.size_gib)},
          {"type", maybe(device.type)},
          {"iops", maybe(device.iops)},
          {"throughput", maybe(device.throughput)},
          {"delete_on_termination", maybe(device.delete_on_termination)},
          {"encrypted", maybe(device.encrypted)},
          {"kms_key", device.kms_key}};
}

BlockDevice block_device_of(const json& from) {
  BlockDevice device;
  from.at("name").get_to(device.name);
  from.at("none").get_to(device.none);
  from.at("ephemeral").get_to(device.ephemeral);
  from.at("snapshot_id").get_to(device.snapshot_id);
  device.size_gib = maybe_of<std::int64_t>(from.at("size_gib"));
  device.type = maybe_of<std::string>(from.at("type"));
  device.iops = maybe_of<std::int64_t>(from.at("iops"));
  device.throughput = maybe_of<std::int64_t>(from.at("throughput"));
  device.delete_on_termination = maybe_of<bool>(from.at("delete_on_termination"));
  device.encrypted = maybe_of<bool>(from.at("encrypted"));
  from.at("kms_key").get_to(device.kms_key);
  return device;
}

std::string write_record(const Volume& value) {
  return json{{"id", value.id},
              {"zone", value.zone},
              {"snapshot_id", value.snapshot_id},
              {"size_gib", value.size_gib},
              {"type", value.type},
              {"iops", value.iops},
              {"throughput", value.throughput},
              {"encrypted", value.encrypted},
              {"kms_key", value.kms_key},
              {"instance_id", value.instance_id},
              {"device", value.device},
              {"delete_on_termination", value.delete_on_termination},
              {"kept", value.kept},
              {"data", value.data},
              {"made", value.made},
              {"deleting", value.deleting},
              {"failure", value.failure},
              {"attachment", static_cast<int>(value.attachment)},
              {"attached", number(value.attached)},
              {"change", value.change ? to_json(*value.change) : json()},
              {"client_token", value.client_token},
              {"token_digest", text_of(value.token_digest)},
              {"content", text_of(value.content)},
              {"created", number(value.created)},
              {"tags", value.tags}}
      .dump();
}

Volume read_volume(const std::string& text) {
  return read("a volume", text, [](const json& from) {
    Volume value;
    from.at("id").get_to(value.id);
    from.at("zone").get_to(value.zone);
    from.at("snapshot_id").get_to(value.snapshot_id);
    from.at("size_gib").get_to(value.size_gib);
    from.at("type").get_to(value.type);
    from.at("iops").get_to(value.iops);
    from.at("throughput").get_to(value.throughput);
    from.at("encrypted").get_to(value.encrypted);
    from.at("kms_key").get_to(value.kms_key);
    from.at("instance_id").get_to(value.instance_id);
    from.at("device").get_to(value.device);
    from.at("delete_on_termination").get_to(value.delete_on_termination);
    from.at("kept").get_to(value.kept);
    value.content = digest_of(from.at("content"));
    value.created = time_of(from.at("created"));
    from.at("tags").get_to(value.tags);
    value.attached = value.created;
    if (!from.contains("data")) return value;  // of before there were others than root volumes
    from.at("data").get_to(value.data);
    from.at("made").get_to(value.made);
    from.at("deleting").get_to(value.deleting);
    from.at("failure").get_to(value.failure);
    value.attachment = static_cast<Attachment>(from.at("attachment").get<int>());
    value.attached = time_of(from.at("attached"));
    if (!from.at("change").is_null()) value.change = change_of(from.at("change"));
    from.at("client_token").get_to(value.client_token);
    value.token_digest = digest_of(from.at("token_digest"));
    return value;
  });
}

std::string write_record(const Snapshot& value) {
  return json{{"id", value.id},
              {"volume_id", value.volume_id},
              {"instance_id", value.instance_id},
              {"power_down", value.power_down},
              {"data", value.data},
              {"origin", value.origin},
              {"state", static_cast<int>(value.state)},
              {"state_message", value.state_message},
              {"description", value.description},
              {"size_gib", value.size_gib},
              {"encrypted", value.encrypted},
              {"kms_key", value.kms_key},
              {"content", text_of(value.content)},
              {"started", number(value.started)},
              {"completed", maybe_number(value.completed)},
              {"sharing", to_json(value.sharing)},
              {"tags", value.tags}}
      .dump();
}

Snapshot read_snapshot(const std::string& text) {
  return read("a snapshot", text, [](const json& from) {
    Snapshot value;
    from.at("id").get_to(value.id);
    from.at("volume_id").get_to(value.volume_id);
    from.at("instance_id").get_to(value.instance_id);
    from.at("power_down").get_to(value.power_down);
    value.state = static_cast<SnapshotState>(from.at("state").get<int>());
    from.at("state_message").get_to(value.state_message);
    from.at("description").get_to(value.description);
    from.at("size_gib").get_to(value.size_gib);
    from.at("encrypted").get_to(value.encrypted);
    from.at("kms_key").get_to(value.kms_key);
    value.content = digest_of(from.at("content"));
    value.started = time_of(from.at("started"));
    value.completed = maybe_time_of(from.at("completed"));
    value.sharing = sharing_of(from.at("sharing"));
    from.at("tags").get_to(value.tags);
    value.data = from.value("data", false);
    value.origin = from.value("origin", "");
    return value;
  });
}

std::string write_record(const Image& value) {
  json devices = json::array();
  for (const BlockDevice& device : value.devices) devices.push_back(to_json(device));
  return json{{"id", value.id},
              {"owner", value.owner},
              {"owner_alias", value.owner_alias},
              {"name", value.name},
              {"description", value.description},
              {"location", value.location},
              {"digest", text_of(value.digest)},
              {"architecture", value.architecture},
              {"root_device", value.root_device},
              {"created", number(value.created)},
              {"tags", value.tags},
              {"state", static_cast<int>(value.state)},
              {"state_message", value.state_message},
              {"devices", devices},
              {"sharing", to_json(value.sharing)},
              {"deprecation", maybe_number(value.deprecation)},
              {"protected", value.protected_from_deregistration},
              {"protection_cools_down", value.protection_cools_down},
              {"protected_until", maybe_number(value.protected_until)},
              {"source_instance", value.source_instance},
              {"source_image", value.source_image},
              {"source_region", value.source_region},
              {"imds_support", value.imds_support},
              {"client_token", value.client_token},
              {"token_digest", text_of(value.token_digest)}}
      .dump();
}

Image read_image(const std::string& text) {
  return read("an image", text, [](const json& from) {
    Image value;
    from.at("id").get_to(value.id);
    from.at("name").get_to(value.name);
    from.at("description").get_to(value.description);
    from.at("location").get_to(value.location);
    value.digest = digest_of(from.at("digest"));
    from.at("architecture").get_to(value.architecture);
    from.at("root_device").get_to(value.root_device);
    value.created = time_of(from.at("created"));
    from.at("tags").get_to(value.tags);
    if (!from.contains("devices")) return value;  // of before there were snapshots
    from.at("owner").get_to(value.owner);
    from.at("owner_alias").get_to(value.owner_alias);
    value.state = static_cast<ImageState>(from.at("state").get<int>());
    from.at("state_message").get_to(value.state_message);
    for (const json& device : from.at("devices")) value.devices.push_back(block_device_of(device));
    value.sharing = sharing_of(from.at("sharing"));
    value.deprecation = maybe_time_of(from.at("deprecation"));
    from.at("protected").get_to(value.protected_from_deregistration);
    from.at("protection_cools_down").get_to(value.protection_cools_down);
    value.protected_until = maybe_time_of(from.at("protected_until"));
    from.at("source_instance").get_to(value.source_instance);
    from.at("source_image").get_to(value.source_image);
    from.at("source_region").get_to(value.source_region);
    from.at("imds_support").get_to(value.imds_support);
    from.at("client_token").get_to(value.client_token);
    value.token_digest = digest_of(from.at("token_digest"));
    return value;
  });
}

}  // namespace kiln::region::ec2
