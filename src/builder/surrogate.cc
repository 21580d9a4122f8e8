// Surrogate: see internal/surrogate.h. In the order of Packer's amazon-ebssurrogate, and with its rules: what is said
// of a volume at the builder's launch holds in the image too, but for what is said of its root device.
#include "builder/internal/surrogate.h"

#include <fmt/format.h>

#include <algorithm>

#include "builder/disk.h"

namespace kiln::builder {
namespace {

namespace ec2 = wire::ec2;

ec2::BlockDeviceMapping mapping_of(const spec::Volume& volume) {
  ec2::BlockDeviceMapping mapping;
  mapping.device_name = volume.device;
  ec2::EbsBlockDevice& ebs = mapping.ebs.emplace();
  if (!volume.type.empty()) ebs.volume_type = volume.type;
  ebs.volume_size = volume.size_gib;
  ebs.iops = volume.iops;
  ebs.throughput = volume.throughput;
  if (!volume.snapshot.empty()) ebs.snapshot_id = volume.snapshot;
  ebs.encrypted = volume.encrypted;
  if (!volume.kms_key.empty()) ebs.kms_key_id = volume.kms_key;
  ebs.delete_on_termination = volume.delete_on_termination.value_or(true);
  return mapping;
}

// Of a snapshot that was made: encrypted as that is.
ec2::BlockDeviceMapping mapping_of(spec::Volume volume, const std::string& snapshot) {
  volume.snapshot = snapshot;
  volume.encrypted.reset();
  volume.kms_key.clear();
  return mapping_of(volume);
}

const spec::Volume& source_of(const spec::Surrogate& surrogate) {
  return *std::ranges::find(surrogate.launched, surrogate.source, &spec::Volume::device);
}

bool is_apart(const spec::Surrogate& surrogate, const std::string& device) {
  return std::ranges::find(surrogate.apart, device) != surrogate.apart.end();
}

// By the volume's id where there are such links, as for NVMe disks; else by its name.
constexpr const char* kMount = R"(
set -e
id=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{0}
root=/run/kiln-root
mkdir -p $root
found=
for one in $id $id-part* {1} {1}[0-9]*; do
  [ -b "$one" ] || continue
  mount -o ro "$one" $root 2>/dev/null || mount "$one" $root 2>/dev/null || continue
  for init in sbin/init usr/sbin/init usr/lib/systemd/systemd; do
    if [ -e $root/$init ] || [ -L $root/$init ]; then found=$one; fi
  done
  [ -z "$found" ] || break
  umount $root
done
if [ -z "$found" ]; then
  echo 'the volume {1} holds no root file system, whole or in a partition: none with /sbin/init' >&2
  exit 1
fi
)";

}  // namespace

std::vector<ec2::BlockDeviceMapping> launch_mappings(const spec::Surrogate& surrogate) {
  std::vector<ec2::BlockDeviceMapping> mappings;
  for (spec::Volume volume : surrogate.launched) {
    volume.delete_on_termination = true;
    mappings.push_back(mapping_of(volume));
  }
  return mappings;
}

std::vector<std::string> snapshot_devices(const spec::Surrogate& surrogate) {
  std::vector<std::string> devices;
  for (const spec::Volume& volume : surrogate.launched) {
    if (!is_apart(surrogate, volume.device)) devices.push_back(volume.device);
  }
  return devices;
}

ec2::RegisterImageRequest registration(const spec::Surrogate& surrogate,
                                       const std::map<std::string, std::string>& snapshots) {
  ec2::RegisterImageRequest request;
  request.architecture = surrogate.architecture;
  request.virtualization_type = "hvm";
  request.ena_support = true;
  request.root_device_name = surrogate.root.device;
  spec::Volume root = surrogate.root;
  const spec::Volume& source = source_of(surrogate);
  if (root.type.empty()) {
    root.type = source.type;
    if (!root.iops) root.iops = source.iops;
    if (!root.throughput) root.throughput = source.throughput;
  }
  if (!root.size_gib) root.size_gib = source.size_gib;
  request.block_device_mappings = {mapping_of(root, snapshots.at(surrogate.source))};
  std::map<std::string, ec2::BlockDeviceMapping> others;
  for (const spec::Volume& volume : surrogate.more) others[volume.device] = mapping_of(volume);
  for (const spec::Volume& volume : surrogate.launched) {
    if (volume.device == surrogate.source || is_apart(surrogate, volume.device)) continue;
    others[volume.device] = mapping_of(volume, snapshots.at(volume.device));
  }
  others.erase(surrogate.root.device);
  for (const auto& [device, mapping] : others) request.block_device_mappings.push_back(mapping);
  return request;
}

std::string volume_question(const std::string& volume, const std::string& device) {
  std::string serial = volume;
  std::erase(serial, '-');
  std::string mount = kMount;
  for (const auto& [field, value] : std::map<std::string, std::string>{{"{0}", serial}, {"{1}", device}}) {
    for (std::size_t at = 0; (at = mount.find(field, at)) != std::string::npos; at += value.size())
      mount.replace(at, field.size(), value);
  }
  return mount + "(" + disk_question("/run/kiln-root") + ")\numount /run/kiln-root\n";
}

}  // namespace kiln::builder
