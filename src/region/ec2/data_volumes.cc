// Data volumes: those besides the root's: what callers ask for. What the machines' host does then is volume_work.cc.
#include <fmt/format.h>

#include <algorithm>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html: /dev/sd[b-z], /dev/xvd[b-z][a-z], with a
// number perhaps. What comes after "/dev/sd" or "/dev/xvd"; nothing when it is none.
std::optional<std::string> place_of_device(const std::string& name) {
  for (const std::string prefix : {"/dev/sd", "/dev/xvd", "xvd"}) {
    if (!name.starts_with(prefix)) continue;
    const std::string place = name.substr(prefix.size());
    const std::size_t letters = std::min(place.find_first_not_of("abcdefghijklmnopqrstuvwxyz"), place.size());
    const std::string number = place.substr(letters);
    const bool good = letters >= 1 && letters <= 2 && number.size() <= 2 &&
                      number.find_first_not_of("0123456789") == std::string::npos;
    return good ? std::optional(place) : std::nullopt;
  }
  return std::nullopt;
}

void check_device_name(const std::string& name) {
  if (place_of_device(name)) return;
  throw ApiError("InvalidParameterValue",
                 fmt::format("Value ({0}) for parameter device is invalid. {0} is not a valid EBS device name.", name));
}

std::string full_name(const std::string& device) { return device.starts_with("/dev/") ? device : "/dev/" + device; }

[[noreturn]] void refuse_state(const Volume& volume, const char* wish) {
  throw ApiError("IncorrectState",
                 fmt::format("The volume '{}' is '{}' and cannot be {}", volume.id, state_of(volume), wish));
}

[[noreturn]] void too_many(const std::string& instance) {
  throw ApiError("AttachmentLimitExceeded", fmt::format("{} would have more than {} volumes", instance, kVolumesMost));
}

}  // namespace

bool same_device(const std::string& one, const std::string& other) {
  const auto place = place_of_device(one);
  return one == other || (place && place == place_of_device(other));
}

BlockDevice mapping_of(const Volume& volume) {
  BlockDevice device;
  device.name = volume.device;
  device.size_gib = volume.size_gib;
  device.type = volume.type;
  if (volume.type != "gp2" && volume.iops != 0) device.iops = volume.iops;
  if (volume.throughput != 0) device.throughput = volume.throughput;
  device.delete_on_termination = volume.delete_on_termination;
  device.encrypted = volume.encrypted;
  device.kms_key = volume.kms_key;
  return device;
}

BlockDevice Ec2::State::data_device_of(const BlockDevice& asked) {
  check_disk(asked);
  BlockDevice device = asked;
  if (!asked.snapshot_id.empty()) {
    const Snapshot& snapshot = own_snapshot(asked.snapshot_id);
    if (snapshot.state != SnapshotState::completed) {
      throw ApiError("IncorrectState", fmt::format("The snapshot {} is not completed", snapshot.id));
    }
    if (!snapshot.data) {
      throw ApiError("UnsupportedOperation",
                     fmt::format("The snapshot {} is of a root volume, whose content is layers: register an image from "
                                 "it. No other volume can be made of it",
                                 snapshot.id));
    }
    if (!device.size_gib) device.size_gib = snapshot.size_gib;
    if (*device.size_gib < snapshot.size_gib) {
      throw ApiError(asked.name.empty() ? "InvalidParameterValue" : "InvalidBlockDeviceMapping",
                     fmt::format("Volume of size {}GB is smaller than snapshot '{}', expect size>= {}GB",
                                 *device.size_gib, snapshot.id, snapshot.size_gib));
    }
    if (snapshot.encrypted && asked.encrypted == false) {
      throw ApiError("InvalidParameterValue", "A volume of an encrypted snapshot cannot be made unencrypted");
    }
    if (snapshot.encrypted) device.encrypted = true;
    if (device.kms_key.empty()) device.kms_key = snapshot.kms_key;
  }
  if (!device.size_gib) {
    throw ApiError("MissingParameter", "The request must contain the parameter size or snapshotId");
  }
  if (!device.type) device.type = "gp2";
  if (!device.encrypted) device.encrypted = false;
  if (!device.delete_on_termination) device.delete_on_termination = true;
  check_disk(device);
  device.kms_key = *device.encrypted ? key_arn(device.kms_key) : "";
  return device;
}

std::vector<BlockDevice> Ec2::State::data_devices_of(const Image& image, const std::vector<BlockDevice>& asked) {
  std::vector<BlockDevice> wanted;
  for (const BlockDevice& device : image.devices) {
    if (is_disk(device) && device.name != image.root_device) wanted.push_back(device);
  }
  for (const BlockDevice& device : asked) {
    if (device.name == image.root_device || !device.ephemeral.empty()) continue;
    check_device_name(device.name);
    const auto known =
        std::ranges::find_if(wanted, [&](const BlockDevice& one) { return same_device(one.name, device.name); });
    if (device.none && known != wanted.end()) wanted.erase(known);
    if (device.none) continue;
    if (same_device(device.name, image.root_device)) {
      throw ApiError("InvalidBlockDeviceMapping",
                     fmt::format("{} is the root device {}", device.name, image.root_device));
    }
    if (known == wanted.end()) {
      wanted.push_back(data_device_of(device));
      continue;
    }
    BlockDevice merged = *known;
    lay_over(merged, device);
    if (!device.snapshot_id.empty()) merged.snapshot_id = device.snapshot_id;
    if (!device.kms_key.empty()) merged.kms_key = device.kms_key;
    *known = data_device_of(merged);
  }
  if (wanted.size() + 1 > kVolumesMost) too_many("The instance");
  return wanted;
}

Volume& Ec2::State::make_data_volume(const BlockDevice& device, const std::string& zone, const Tags& tags) {
  Volume volume;
  volume.id = new_id("vol-");
  volume.zone = zone;
  volume.snapshot_id = device.snapshot_id;
  volume.size_gib = *device.size_gib;
  volume.type = *device.type;
  volume.iops = iops_of(volume.type, volume.size_gib, device.iops);
  volume.throughput = throughput_of(volume.type, device.throughput);
  volume.encrypted = *device.encrypted;
  volume.kms_key = device.kms_key;
  volume.delete_on_termination = *device.delete_on_termination;
  volume.data = true;
  volume.made = false;
  volume.created = loop.now();
  volume.tags = tags;
  Volume& kept = volumes[volume.id] = volume;
  save(kept);
  loop.post([this, id = kept.id] { advance_volume(id); });
  return kept;
}

void Ec2::State::put_into(Volume& volume, const Instance& instance, const std::string& device) {
  volume.instance_id = instance.id;
  volume.device = full_name(device);
  volume.attachment = Attachment::attaching;
  volume.attached = loop.now();
  save(volume);
}

const Volume& Ec2::create_volume(const VolumeRequest& request) {
  State& s = *state_;
  check_tags(request.tags);
  const Digest asked = sha256(text_of(request.device) + "|" + request.zone);
  for (const auto& [id, volume] : s.volumes) {
    if (request.client_token.empty() || volume.client_token != request.client_token) continue;
    if (volume.token_digest == asked) return volume;
    throw ApiError("IdempotentParameterMismatch",
                   "The request uses the same client token as a previous, but non-identical request");
  }
  if (request.zone.empty()) throw ApiError("MissingParameter", "The request must contain the parameter zone");
  const auto zones = zones_of(s.options.region);
  if (std::ranges::none_of(zones, [&](const Zone& zone) { return zone.name == request.zone; })) {
    throw ApiError("InvalidZone.NotFound", fmt::format("The zone '{}' does not exist.", request.zone));
  }
  Volume& volume = s.make_data_volume(s.data_device_of(request.device), request.zone, request.tags);
  volume.client_token = request.client_token;
  volume.token_digest = asked;
  s.save(volume);
  return volume;
}

const Volume& Ec2::attach_volume(const std::string& id, const std::string& instance_id, const std::string& device) {
  State& s = *state_;
  volume(id);
  Volume& wanted = s.volumes.at(id);
  const Instance& to = instance(instance_id);
  if (!wanted.instance_id.empty()) {
    throw ApiError("VolumeInUse", fmt::format("{} is already attached to an instance", id));
  }
  if (state_of(wanted) != "available") {
    throw ApiError("IncorrectState", fmt::format("{} is not 'available'.", id));
  }
  if (!wanted.data) {
    throw ApiError("UnsupportedOperation",
                   fmt::format("{} was the root volume of an instance, whose content is layers: make a snapshot and "
                               "an image of it. It cannot be attached",
                               id));
  }
  if (to.state != InstanceState::running && to.state != InstanceState::stopped) {
    throw ApiError("IncorrectState", fmt::format("Instance '{}' is not 'running'.", to.id));
  }
  if (to.zone != wanted.zone) {
    throw ApiError("InvalidVolume.ZoneMismatch",
                   fmt::format("The volume '{}' is not in the same availability zone as instance '{}'", id, to.id));
  }
  if (device.empty()) throw ApiError("MissingParameter", "The request must contain the parameter device");
  check_device_name(device);
  const std::vector<const Volume*> has = volumes_of(to.id);
  for (const Volume* other : has) {
    if (!same_device(other->device, full_name(device))) continue;
    throw ApiError("InvalidParameterValue",
                   fmt::format("Invalid value '{0}' for unixDevice. Attachment point {0} is already in use", device));
  }
  if (has.size() >= kVolumesMost) too_many(to.id);
  wanted.delete_on_termination = false;  // AWS's default of what is attached after the launch
  s.put_into(wanted, to, device);
  s.loop.post([&s, instance = to.id] { s.advance(instance); });
  return wanted;
}

const Volume& Ec2::detach_volume(const std::string& id, const std::string& instance_id, const std::string& device) {
  State& s = *state_;
  volume(id);
  if (!instance_id.empty()) instance(instance_id);
  Volume& wanted = s.volumes.at(id);
  if (wanted.instance_id.empty()) {
    throw ApiError("IncorrectState", fmt::format("Volume '{}' is in the '{}' state.", id, state_of(wanted)));
  }
  if ((!instance_id.empty() && instance_id != wanted.instance_id) ||
      (!device.empty() && !same_device(device, wanted.device))) {
    throw ApiError("InvalidAttachment.NotFound",
                   fmt::format("The volume '{}' is attached to '{}' as {}", id, wanted.instance_id, wanted.device));
  }
  const Instance& from = instance(wanted.instance_id);
  if (!wanted.data) {
    throw ApiError("OperationNotPermitted",
                   fmt::format("Unable to detach root volume '{}' from instance '{}'", id, from.id));
  }
  if (wanted.attachment == Attachment::attaching || !wanted.made ||
      (from.state != InstanceState::running && from.state != InstanceState::stopped &&
       from.state != InstanceState::stopping)) {
    throw ApiError("IncorrectState", fmt::format("Volume '{}' is in the '{}' state, and its instance is {}", id,
                                                 to_string(wanted.attachment), to_string(from.state)));
  }
  wanted.attachment = Attachment::detaching;
  s.save(wanted);
  s.loop.post([&s, instance = from.id] { s.advance(instance); });
  return wanted;
}

void Ec2::delete_volume(const std::string& id) {
  State& s = *state_;
  volume(id);
  Volume& gone = s.volumes.at(id);
  if (!gone.instance_id.empty()) {
    throw ApiError("VolumeInUse", fmt::format("Volume {} is currently attached to {}", id, gone.instance_id));
  }
  if (!gone.made && gone.failure.empty()) refuse_state(gone, "deleted");
  gone.deleting = true;
  s.save(gone);
  s.loop.post([&s, id] { s.advance_volume(id); });
}

const Volume& Ec2::modify_volume(const std::string& id, const BlockDevice& wish) {
  State& s = *state_;
  volume(id);
  Volume& changed = s.volumes.at(id);
  if (state_of(changed) != "available" && state_of(changed) != "in-use") refuse_state(changed, "modified");
  if (changed.change && !changed.change->ended) {
    throw ApiError("IncorrectModificationState",
                   fmt::format("Cannot modify volume {} in modification state MODIFYING", id));
  }
  if (wish.size_gib && *wish.size_gib < changed.size_gib) {
    throw ApiError("InvalidParameterValue", "New size cannot be smaller than existing size");
  }
  const bool grows = wish.size_gib && *wish.size_gib > changed.size_gib;
  if (grows && !changed.data) {
    throw ApiError("UnsupportedOperation",
                   fmt::format("{} is a root volume, and those of this region keep the size of their launch", id));
  }
  BlockDevice now = mapping_of(changed);
  lay_over(now, wish);
  check_disk(now);
  changed.change =
      VolumeChange{changed.size_gib, changed.type, changed.iops, changed.throughput, s.loop.now(), std::nullopt};
  changed.size_gib = *now.size_gib;
  changed.type = *now.type;
  changed.iops = iops_of(changed.type, changed.size_gib, now.iops);
  changed.throughput = throughput_of(changed.type, now.throughput);
  if (!grows) changed.change->ended = s.loop.now();
  s.save(changed);
  s.loop.post([&s, id] { s.advance_volume(id); });
  return changed;
}

std::vector<const Volume*> Ec2::volumes_of(const std::string& instance_id) const {
  std::vector<const Volume*> found;
  const Instance* instance = find_instance(instance_id);
  const auto root = state_->volumes.find(instance == nullptr ? "" : instance->volume_id);
  if (root != state_->volumes.end()) found.push_back(&root->second);
  for (const Volume* volume : state_->data_volumes_of(instance_id)) found.push_back(volume);
  return found;
}

bool Ec2::volumes_settled(const std::vector<std::string>& ids) const {
  return std::ranges::none_of(ids, [&](const std::string& id) {
    const auto found = state_->volumes.find(id);
    if (found == state_->volumes.end()) return false;
    const Volume& one = found->second;
    if (one.retry_in > Duration(0) || !one.failure.empty()) return false;  // nobody knows when
    return !one.made || one.deleting || (one.change && !one.change->ended) ||
           (!one.instance_id.empty() && one.attachment != Attachment::attached);
  });
}

std::vector<std::string> Ec2::host_volumes() const {
  std::vector<std::string> ids;
  for (const auto& [id, volume] : state_->volumes) {
    if (volume.data) ids.push_back(id);
  }
  for (const auto& [id, snapshot] : state_->snapshots) {
    if (snapshot.data) ids.push_back(id);
  }
  return ids;
}

}  // namespace kiln::region::ec2
