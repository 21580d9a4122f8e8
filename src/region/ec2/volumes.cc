// Volumes: what EBS has of them, and the root disks of instances: how large, of which kind, and what becomes of them.
#include <fmt/format.h>

#include <algorithm>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EbsBlockDevice.html
struct VolumeType {
  std::string_view name;
  std::int64_t smallest_gib;
  std::int64_t largest_gib;
  bool boots;
  std::int64_t iops_least;  // 0: they cannot be chosen
  std::int64_t iops_most;
};
constexpr VolumeType kVolumeTypes[] = {
    {"gp3", 1, 65536, true, 3000, 80000}, {"gp2", 1, 16384, true, 0, 0},     {"io1", 4, 16384, true, 100, 64000},
    {"io2", 4, 65536, true, 100, 256000}, {"standard", 1, 1024, true, 0, 0}, {"st1", 125, 16384, false, 0, 0},
    {"sc1", 125, 16384, false, 0, 0},
};
constexpr std::int64_t kThroughputLeast = 125;  // of gp3, MiB/s
constexpr std::int64_t kThroughputMost = 2000;
// A volume is one file of the host: more than this, file systems of the host may not hold.
constexpr std::int64_t kLargestGib = 4096;

const VolumeType& type_named(const std::string& name) {
  const auto* found = std::find_if(std::begin(kVolumeTypes), std::end(kVolumeTypes),
                                   [&](const VolumeType& type) { return type.name == name; });
  if (found != std::end(kVolumeTypes)) return *found;
  throw ApiError("InvalidParameterValue",
                 fmt::format("Value ({}) for parameter volumeType is invalid. Unknown volume type.", name));
}

[[noreturn]] void bad_mapping(const std::string& message) { throw ApiError("InvalidBlockDeviceMapping", message); }

}  // namespace

std::int64_t iops_of(const std::string& type, std::int64_t size_gib, const std::optional<std::int64_t>& asked) {
  if (asked) return *asked;
  if (type == "gp3") return 3000;
  if (type == "gp2") return std::clamp<std::int64_t>(size_gib * 3, 100, 16000);
  return 0;
}

std::int64_t throughput_of(const std::string& type, const std::optional<std::int64_t>& asked) {
  return type == "gp3" ? asked.value_or(kThroughputLeast) : 0;
}

void lay_over(BlockDevice& device, const BlockDevice& over) {
  if (over.type && over.type != device.type) {
    device.type = over.type;
    device.iops.reset();
    device.throughput.reset();
  }
  if (over.size_gib) device.size_gib = over.size_gib;
  if (over.iops) device.iops = over.iops;
  if (over.throughput) device.throughput = over.throughput;
  if (over.delete_on_termination) device.delete_on_termination = over.delete_on_termination;
  if (over.encrypted) device.encrypted = over.encrypted;
}

void check_device(const BlockDevice& device) {
  if (device.name.empty()) bad_mapping("A block device mapping needs a device name");
  if (is_disk(device)) check_disk(device);
}

void check_disk(const BlockDevice& device) {
  if (!device.kms_key.empty() && !device.encrypted.value_or(false)) {
    throw ApiError("InvalidParameterDependency",
                   "The parameter KmsKeyId requires the parameter Encrypted to be set to true.");
  }
  const VolumeType& type = type_named(device.type.value_or("gp3"));
  if (device.size_gib && *device.size_gib > kLargestGib && *device.size_gib <= type.largest_gib) {
    throw ApiError("UnsupportedOperation", fmt::format("This region's volumes have at most {} GiB", kLargestGib));
  }
  if (device.size_gib && (*device.size_gib < type.smallest_gib || *device.size_gib > type.largest_gib)) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Volume of {}GiB is {} than the {} of {}GiB for {} volumes.", *device.size_gib,
                               *device.size_gib < type.smallest_gib ? "smaller" : "larger",
                               *device.size_gib < type.smallest_gib ? "minimum" : "maximum",
                               *device.size_gib < type.smallest_gib ? type.smallest_gib : type.largest_gib, type.name));
  }
  if (device.iops && device.type && type.iops_least == 0) {
    throw ApiError("InvalidParameterCombination",
                   fmt::format("The parameter iops is not supported for {} volumes.", type.name));
  }
  if (device.iops && (*device.iops < std::max<std::int64_t>(type.iops_least, 1) || *device.iops > type.iops_most)) {
    throw ApiError("InvalidParameterValue", fmt::format("Volume iops of {} is not between {} and {}", *device.iops,
                                                        type.iops_least, type.iops_most));
  }
  if (!device.iops && device.type && (type.name == "io1" || type.name == "io2")) {
    throw ApiError("MissingParameter", fmt::format("The parameter iops must be specified for {} volumes.", type.name));
  }
  if (!device.throughput) return;
  if (type.name != "gp3") {
    throw ApiError("InvalidParameterCombination",
                   fmt::format("The parameter throughput is not supported for {} volumes.", type.name));
  }
  if (*device.throughput < kThroughputLeast || *device.throughput > kThroughputMost) {
    throw ApiError("InvalidParameterValue", fmt::format("Volume throughput of {} is not between {} and {}",
                                                        *device.throughput, kThroughputLeast, kThroughputMost));
  }
}

BlockDevice Ec2::State::root_volume_of(const Image& image, const std::vector<BlockDevice>& asked) const {
  // One of elsewhere may say nothing of its disk.
  BlockDevice root = image.root() != nullptr ? *image.root() : new_image("", "", image.root_device).devices.front();
  for (const BlockDevice& device : asked) {
    check_device(device);
    if (device.name != image.root_device) continue;
    if (!is_disk(device)) bad_mapping(fmt::format("The root device {} cannot be left out", device.name));
    if (!device.snapshot_id.empty() && device.snapshot_id != root.snapshot_id) {
      bad_mapping(fmt::format("snapshotId cannot be modified on root device {}", device.name));
    }
    if (device.size_gib && *device.size_gib < *root.size_gib) {
      bad_mapping(fmt::format("Volume of size {}GB is smaller than snapshot '{}', expect size>= {}GB", *device.size_gib,
                              root.snapshot_id, *root.size_gib));
    }
    if (device.encrypted == false && root.encrypted.value_or(false)) {
      bad_mapping("encrypted volumes cannot be made unencrypted");
    }
    lay_over(root, device);
    if (!device.kms_key.empty()) root.kms_key = key_arn(device.kms_key);
  }
  if (!type_named(*root.type).boots) bad_mapping(fmt::format("A {} volume cannot be a root device", *root.type));
  check_device(root);  // what the request says need not fit what the image says
  if (root.encrypted.value_or(false) && root.kms_key.empty()) root.kms_key = key_arn("");
  return root;
}

// Keys are names here: nothing is encrypted, and what was asked for is shown.
std::string Ec2::State::key_arn(const std::string& key) const {
  if (key.starts_with("arn:")) return key;
  const std::string prefix = fmt::format("arn:aws:kms:{}:{}:", options.region, options.account);
  if (key.starts_with("alias/")) return prefix + key;
  const std::string own = key.empty() ? sha256(prefix + "alias/aws/ebs").hex() : std::string();
  if (!key.empty()) return prefix + "key/" + key;
  return fmt::format("{}key/{}-{}-{}-{}-{}", prefix, own.substr(0, 8), own.substr(8, 4), own.substr(12, 4),
                     own.substr(16, 4), own.substr(20, 12));
}

void Ec2::State::make_root_volume(Instance& instance, const Image& image, const BlockDevice& root, const Tags& tags) {
  Volume volume;
  volume.id = instance.volume_id.empty() ? new_id("vol-") : instance.volume_id;
  volume.zone = instance.zone;
  volume.snapshot_id = root.snapshot_id;
  volume.size_gib = *root.size_gib;
  volume.type = *root.type;
  volume.iops = iops_of(volume.type, volume.size_gib, root.iops);
  volume.throughput = throughput_of(volume.type, root.throughput);
  volume.encrypted = root.encrypted.value_or(false);
  volume.kms_key = volume.encrypted ? root.kms_key : "";
  volume.instance_id = instance.id;
  volume.device = root.name;
  volume.delete_on_termination = root.delete_on_termination.value_or(true);
  volume.content = image.digest;
  volume.created = volume.attached = instance.launched;
  volume.tags = tags;
  instance.volume_id = volume.id;
  save(volumes[volume.id] = volume);
}

void Ec2::State::release_volume(const Instance& instance) {
  if (const auto waiting = captures.find(instance.id); waiting != captures.end()) {
    for (const std::string& id : std::vector<std::string>(waiting->second)) {
      settle(id, std::make_exception_ptr(Error(ErrorCode::cancelled, "the instance has ended")), Digest());
    }
  }
  release_data_volumes(instance.id);
  const auto volume = volumes.find(instance.volume_id);
  if (volume == volumes.end()) return;
  if (volume->second.delete_on_termination) {
    journal.erase(kVolumeTable, volume->first);
    volumes.erase(volume);
    return;
  }
  volume->second.instance_id.clear();
  volume->second.device.clear();
  save(volume->second);
}

// Every image has a root snapshot, every instance a volume.
void Ec2::State::complete_disks() {
  for (auto& [id, image] : images) {
    if (image.owner.empty()) image.owner = options.account;
    if (image.root() != nullptr) continue;
    give_root_snapshot(image);
    save(image);
  }
  for (auto& [id, instance] : instances) {
    if (instance.gone() || volumes.contains(instance.volume_id)) continue;
    Image origin;
    if (const auto image = images.find(instance.image_id); image != images.end()) origin = image->second;
    origin.digest = instance.image;
    make_root_volume(instance, origin, root_volume_of(origin, {}), {});
  }
}

const std::map<std::string, Volume>& Ec2::volumes() const { return state_->volumes; }

const Volume& Ec2::volume(const std::string& id) const {
  const auto found = state_->volumes.find(id);
  if (found != state_->volumes.end()) return found->second;
  if (!well_formed(id, "vol-")) throw ApiError("InvalidVolumeID.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidVolume.NotFound", fmt::format("The volume '{}' does not exist.", id));
}

}  // namespace kiln::region::ec2
