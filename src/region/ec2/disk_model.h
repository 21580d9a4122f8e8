// Disk model: what EC2 keeps of disks: what a block device mapping says, volumes, snapshots. Values only.
//
// There are two kinds. A root volume's content is an image of the store: its snapshot is such an image by its digest,
// the volume is made from one and holds what its instance writes on top. A data volume is a block device that the
// machines' host keeps under the volume's id, its snapshot a copy of that under the snapshot's id.
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

// The last thing that ModifyVolume was asked for.
struct VolumeChange {
  std::int64_t size_gib = 0;  // what it was before, as the others
  std::string type;
  std::int64_t iops = 0;
  std::int64_t throughput = 0;
  Time started{};
  std::optional<Time> ended;  // nothing while the host is at it
};

// As AWS names them, but that a volume whose guest has it mounted is "busy" there.
enum class Attachment { attaching, attached, detaching };
std::string_view to_string(Attachment state);

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
  bool data = false;  // of the second kind
  bool made = true;   // its host has it
  bool deleting = false;
  std::string failure;  // why it could not be made
  Attachment attachment = Attachment::attached;
  Time attached{};
  std::optional<VolumeChange> change;
  std::string client_token;  // of CreateVolume
  Digest token_digest;
  bool kept = false;  // `content` has what the instance has written: it ends, and the volume stays
  Digest content;     // what it was made from, or what was kept
  Time created{};
  Tags tags;

  // Of this process only.
  bool busy = false;     // its host is at work on it
  bool waiting = false;  // a pause before the next try
  Duration retry_in{0};  // the pause after the next failure; 0: the first
};
// "creating", "available", "in-use", "deleting", "error"
std::string_view state_of(const Volume& volume);

enum class SnapshotState { pending, completed, error };
std::string_view to_string(SnapshotState state);

struct Snapshot {
  std::string id;
  std::string volume_id;    // "vol-ffffffff" when it was not made from one of ours, as AWS shows those
  std::string instance_id;  // whose disk is read; empty when no disk had to be
  bool data = false;        // of a data volume
  std::string origin;       // the volume or the snapshot that it is a copy of, as its host names it
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
