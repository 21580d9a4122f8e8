// Snapshots: the contents of disks, and who may use them.
#include <fmt/format.h>

#include <algorithm>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {

Snapshot Ec2::State::new_snapshot(const std::string& volume_id, const BlockDevice& device,
                                  const std::string& description) const {
  Snapshot snapshot;
  snapshot.id = "snap-" + random.hex(17);
  snapshot.volume_id = volume_id;
  snapshot.description = description;
  snapshot.size_gib = *device.size_gib;
  snapshot.encrypted = device.encrypted.value_or(false);
  snapshot.kms_key = device.kms_key;
  snapshot.started = loop.now();
  return snapshot;
}

Snapshot& Ec2::State::own_snapshot(const std::string& id) {
  const auto found = snapshots.find(id);
  if (found != snapshots.end()) return found->second;
  if (!well_formed(id, "snap-")) {
    throw ApiError("InvalidSnapshotID.Malformed", fmt::format("Invalid id: \"{}\" (expecting \"snap-...\")", id));
  }
  throw ApiError("InvalidSnapshot.NotFound", fmt::format("The snapshot '{}' does not exist.", id));
}

const Snapshot& Ec2::create_snapshot(const std::string& volume_id, const std::string& description, const Tags& tags) {
  State& s = *state_;
  const Volume& from = volume(volume_id);
  check_tags(tags);
  BlockDevice device;
  device.size_gib = from.size_gib;
  device.encrypted = from.encrypted;
  device.kms_key = from.kms_key;
  Snapshot snapshot = s.new_snapshot(volume_id, device, description);
  snapshot.tags = tags;
  const auto instance = s.instances.find(from.instance_id);
  if (instance != s.instances.end()) snapshot.instance_id = instance->first;
  if (from.data) {
    if (!from.made) {
      throw ApiError("IncorrectState", fmt::format("The volume '{}' is '{}'", volume_id, state_of(from)));
    }
    snapshot.data = true;
    snapshot.origin = volume_id;
  }
  Snapshot& kept = s.snapshots[snapshot.id] = snapshot;
  if (from.data && kept.instance_id.empty()) {
    s.save(kept);
    s.loop.post([&s, volume_id] { s.advance_volume(volume_id); });
  } else if (!kept.instance_id.empty()) {
    s.save(kept);
    s.want_capture(kept);
  } else {
    s.settle(kept.id, nullptr, from.content);
  }
  return kept;
}

void Ec2::delete_snapshot(const std::string& id) {
  State& s = *state_;
  const Snapshot& snapshot = s.own_snapshot(id);
  for (const auto& [image_id, image] : s.images) {
    const auto has = [&](const BlockDevice& device) { return device.snapshot_id == id; };
    if (std::ranges::none_of(image.devices, has) || image.state == ImageState::failed) continue;
    throw ApiError("InvalidSnapshot.InUse", fmt::format("The snapshot {} is currently in use by {}", id, image_id));
  }
  if (snapshot.state == SnapshotState::pending) {
    throw ApiError("IncorrectState", fmt::format("The snapshot {} is pending and cannot be deleted now", id));
  }
  const bool waited_for = std::ranges::any_of(s.volumes, [&](const auto& entry) {
    return entry.second.snapshot_id == id && !entry.second.made && entry.second.failure.empty();
  });
  if (waited_for) throw ApiError("IncorrectState", fmt::format("A volume is being made of the snapshot {}", id));
  if (std::ranges::any_of(s.reading, [&](const auto& entry) { return entry.second == id; })) {
    throw ApiError("IncorrectState", fmt::format("An image is being made of the snapshot {}", id));
  }
  const bool data = snapshot.data;
  s.journal.erase(kSnapshotTable, id);
  s.snapshots.erase(id);
  if (data) s.loop.post([&s, id] { s.remove_from_host(id); });
}

const std::map<std::string, Snapshot>& Ec2::snapshots() const { return state_->snapshots; }
const Snapshot& Ec2::snapshot(const std::string& id) const { return state_->own_snapshot(id); }

namespace {

void check_account(const char* code, const std::string& account) {
  if (account.size() == 12 && account.find_first_not_of("0123456789") == std::string::npos) return;
  throw ApiError(code, fmt::format("Invalid attribute item value \"{}\" for userId item type.", account));
}

}  // namespace

void change_sharing(Sharing& sharing, const SharingChange& change, const char* code) {
  for (const auto* list : {&change.add, &change.remove}) {
    for (const std::string& account : *list) check_account(code, account);
  }
  for (const auto* list : {&change.add_groups, &change.remove_groups}) {
    for (const std::string& group : *list) {
      if (group == "all") continue;
      throw ApiError(code, fmt::format("Invalid attribute item value \"{}\" for userGroup item type.", group));
    }
  }
  sharing.accounts.insert(change.add.begin(), change.add.end());
  for (const std::string& account : change.remove) sharing.accounts.erase(account);
  if (!change.add_groups.empty()) sharing.everybody = true;
  if (!change.remove_groups.empty()) sharing.everybody = false;
}

void Ec2::share_snapshot(const std::string& id, const SharingChange& change) {
  Snapshot& snapshot = state_->own_snapshot(id);
  Sharing changed = snapshot.sharing;
  change_sharing(changed, change, "InvalidAttributeItemValue");
  if (changed.everybody && snapshot.encrypted) {
    throw ApiError("InvalidParameter", "Encrypted snapshots cannot be shared publicly");
  }
  snapshot.sharing = changed;
  state_->save(snapshot);
}

void Ec2::reset_snapshot_sharing(const std::string& id) {
  Snapshot& snapshot = state_->own_snapshot(id);
  snapshot.sharing = Sharing();
  state_->save(snapshot);
}

bool Ec2::snapshots_settled(const std::vector<std::string>& ids) const {
  return std::ranges::none_of(state_->snapshots, [&](const auto& entry) {
    return entry.second.state == SnapshotState::pending && std::ranges::find(ids, entry.first) != ids.end();
  });
}

}  // namespace kiln::region::ec2
