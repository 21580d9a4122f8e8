// Disk model: what EC2 keeps of disks: what a block device mapping says, volumes, snapshots. Values only.
//
// A disk's content is an image of the store: a snapshot is such an image by its digest, a volume is made from one and
// holds what its instance writes on top.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/time.h"

namespace kiln::region::ec2 {

using Tags = std::map<std::string, std::string>;

// One entry of a BlockDeviceMapping, in a request (what is absent is left to the image) or of an image (all of it
// said).
struct BlockDevice {
  std::string name;         // "/dev/xvda"
  bool none = false;        // NoDevice
  std::string ephemeral;    // VirtualName, "ephemeral0"; no type of this region has such disks
  std::string snapshot_id;  // empty: not said
  std::optional<std::int64_t> size_gib;
  std::optional<std::string> type;  // "gp3"
  std::optional<std::int64_t> iops;
  std::optional<std::int64_t> throughput;  // MiB/s, of gp3 only
  std::optional<bool> delete_on_termination;
  std::optional<bool> encrypted;
  std::string kms_key;  // as it came in a request, an ARN in an image; empty: none said
  bool operator==(const BlockDevice&) const = default;
};

// Not NoDevice, not ephemeral.
inline bool is_disk(const BlockDevice& device) { return !device.none && device.ephemeral.empty(); }

// Who may use an image or a snapshot besides its owner.
struct Sharing {
  std::set<std::string> accounts;
  bool everybody = false;  // the group "all"
  bool with(const std::string& account) const { return everybody || accounts.contains(account); }
};

struct SharingChange {
  std::vector<std::string> add;  // accounts
  std::vector<std::string> remove;
  std::vector<std::string> add_groups;
  std::vector<std::string> remove_groups;
};
// Throws ApiError of that code for what is no account and no group that there is.
void change_sharing(Sharing& sharing, const SharingChange& change, const char* code);

struct Volume {
  std::string id;
  std::string zone;
  std::string snapshot_id;
  std::int64_t size_gib = 8;
  std::string type = "gp3";
  std::int64_t iops = 0;
  std::int64_t throughput = 0;  // 0: its type has none to say
  bool encrypted = false;
  std::string kms_key;
  std::string instance_id;  // empty: available
  std::string device;
  bool delete_on_termination = true;
  bool kept = false;  // `content` has what the instance has written: it ends, and the volume stays
  Digest content;     // what it was made from, or what was kept
  Time created{};
  Tags tags;
};

enum class SnapshotState { pending, completed, error };
std::string_view to_string(SnapshotState state);

struct Snapshot {
  std::string id;
  std::string volume_id;    // "vol-ffffffff" when it was not made from one of ours, as AWS shows those
  std::string instance_id;  // whose disk is read; empty when no disk had to be
  bool power_down = false;  // the instance is shut down for it, and started again
  SnapshotState state = SnapshotState::pending;
  std::string state_message;  // of an error
  std::string description;
  std::int64_t size_gib = 8;
  bool encrypted = false;
  std::string kms_key;
  Digest content;  // of one that is completed
  Time started{};
  std::optional<Time> completed;
  Sharing sharing;
  Tags tags;
};

}  // namespace kiln::region::ec2
