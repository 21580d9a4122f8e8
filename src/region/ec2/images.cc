// Images: how AMIs come to be (placements of images of the store, snapshots, instances, copies), and how they go.
#include <fmt/format.h>

#include <algorithm>

#include "machine/machine.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// A snapshot that was made of no volume of ours has this one, as AWS shows it.
constexpr const char* kNoVolume = "vol-ffffffff";

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RegisterImage.html: 3 to 128 of these.
bool good_name(const std::string& name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ()[]./-'@_";
  return name.size() >= 3 && name.size() <= 128 && name.find_first_not_of(kAllowed) == std::string::npos;
}

void check_name(const std::map<std::string, Image>& images, const std::string& name) {
  if (!good_name(name)) {
    throw ApiError(
        "InvalidAMIName.Malformed",
        "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', "
        "'/' and '_'");
  }
  for (const auto& [id, image] : images) {
    if (image.name == name) {
      throw ApiError("InvalidAMIName.Duplicate", fmt::format("AMI name {} is already in use by AMI {}", name, id));
    }
  }
}

std::string architecture_of(const store::Image& content) {
  return content.config.architecture == "arm64" ? "arm64" : "x86_64";
}

// Of a volume, which says nothing itself: what the request says.
std::string config_architecture(const std::string& asked) {
  if (asked.empty() || asked == "x86_64") return "amd64";
  if (asked == "arm64") return "arm64";
  throw ApiError("InvalidParameterValue", fmt::format("Value ({}) for parameter architecture is invalid: this region "
                                                      "has images of x86_64 and arm64",
                                                      asked));
}

// The mapping that a request makes of the root device; nothing: it says none.
std::optional<BlockDevice> root_in(const std::vector<BlockDevice>& devices, const std::string& root_device) {
  std::optional<BlockDevice> root;
  for (const BlockDevice& device : devices) {
    check_device(device);
    if (device.name == root_device) root = device;
  }
  return root;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html: of what is there already only
// DeleteOnTermination can be changed.
void check_only_deletion(const BlockDevice& asked, const BlockDevice& now) {
  const bool changes = (asked.size_gib && asked.size_gib != now.size_gib) || (asked.type && asked.type != now.type) ||
                       (asked.iops && asked.iops != now.iops) ||
                       (asked.throughput && asked.throughput != now.throughput) ||
                       (asked.encrypted && asked.encrypted != now.encrypted) || !asked.kms_key.empty() ||
                       !asked.snapshot_id.empty() || !is_disk(asked);
  if (!changes) return;
  throw ApiError("InvalidBlockDeviceMapping",
                 fmt::format("Of the device {} only DeleteOnTermination can be changed", now.name));
}

}  // namespace

Image Ec2::State::new_image(const std::string& name, const std::string& description,
                            const std::string& root_device) const {
  Image image;
  image.id = "ami-" + random.hex(17);
  image.owner = options.account;
  image.name = name;
  image.description = description;
  image.location = options.account + "/" + name;
  image.root_device = root_device;
  image.created = loop.now();
  BlockDevice root;
  root.name = root_device;
  root.size_gib = 8;
  root.type = "gp3";
  root.delete_on_termination = true;
  root.encrypted = false;
  image.devices = {root};
  return image;
}

void Ec2::State::give_root_snapshot(Image& image) {
  if (image.root() == nullptr) image.devices = new_image("", "", image.root_device).devices;
  Snapshot snapshot =
      new_snapshot(kNoVolume, image.devices.front(), fmt::format("Created by RegisterImage for {}", image.id));
  snapshot.state = SnapshotState::completed;
  snapshot.completed = snapshot.started;
  snapshot.content = image.digest;
  image.devices.front().snapshot_id = snapshot.id;
  save(snapshots[snapshot.id] = snapshot);
}

const Image& Ec2::register_image(const ImageRequest& request) {
  State& s = *state_;
  check_name(s.images, request.name);
  check_tags(request.tags);
  if (!request.imds_support.empty() && request.imds_support != "v2.0") {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Value ({}) for parameter imdsSupport is invalid.", request.imds_support));
  }
  const std::string root_device = request.root_device.empty() ? "/dev/xvda" : request.root_device;
  const std::optional<BlockDevice> asked = root_in(request.devices, root_device);
  Image image = s.new_image(request.name, request.description, root_device);
  BlockDevice& root = image.devices.front();
  store::Image content;
  if (!request.location.empty()) {
    content = s.placements.resolve(request.location);
    image.location = request.location;
    if (asked && !asked->snapshot_id.empty()) {
      throw ApiError("InvalidParameterCombination", "An image is registered from a location or from a snapshot");
    }
  } else {
    if (!asked || asked->snapshot_id.empty()) {
      throw ApiError("InvalidBlockDeviceMapping",
                     fmt::format("The root device {} needs a block device mapping with a snapshot", root_device));
    }
    const Snapshot& snapshot = s.own_snapshot(asked->snapshot_id);
    if (snapshot.state != SnapshotState::completed) {
      throw ApiError("IncorrectState", fmt::format("The snapshot {} is not completed", snapshot.id));
    }
    root.snapshot_id = snapshot.id;
    root.size_gib = snapshot.size_gib;
    root.encrypted = snapshot.encrypted;
    root.kms_key = snapshot.kms_key;
    if (snapshot.data) {
      image.state = ImageState::pending;  // nobody knows yet what it holds
      content.config.architecture = config_architecture(request.architecture);
    } else {
      content = s.placements.image(snapshot.content);
    }
  }
  image.digest = content.digest;
  image.architecture = architecture_of(content);
  image.imds_support = request.imds_support;
  image.tags = request.tags;
  if (!request.architecture.empty() && request.architecture != image.architecture) {
    throw ApiError("InvalidParameterValue", fmt::format("The image at {} is of architecture {}, not {}",
                                                        request.location.empty() ? root.snapshot_id : request.location,
                                                        image.architecture, request.architecture));
  }
  if (asked) {
    if (asked->encrypted) {
      throw ApiError("InvalidParameterCombination", "The encryption of a snapshot cannot be changed by RegisterImage");
    }
    root = s.root_volume_of(image, {*asked});
  }
  if (root.snapshot_id.empty()) s.give_root_snapshot(image);
  for (const BlockDevice& device : s.data_devices_of(image, request.devices)) image.devices.push_back(device);
  Image& kept = s.images[image.id] = image;
  s.save(kept);
  s.loop.post([&s] { s.read_roots(); });
  return kept;
}

std::vector<BlockDevice> Ec2::State::data_devices_in(const Instance& instance, const std::vector<BlockDevice>& asked) {
  Image as_it_is = new_image("", "", volumes.at(instance.volume_id).device);
  for (const Volume* volume : data_volumes_of(instance.id)) {
    if (volume->attachment == Attachment::attached) as_it_is.devices.push_back(mapping_of(*volume));
  }
  std::vector<BlockDevice> others;  // new ones, and those that go
  for (const BlockDevice& device : asked) {
    const auto known = std::ranges::find_if(as_it_is.devices,
                                            [&](const BlockDevice& one) { return same_device(one.name, device.name); });
    if (known == as_it_is.devices.end() || !is_disk(device)) {
      others.push_back(device);
    } else if (known != as_it_is.devices.begin()) {
      check_only_deletion(device, *known);
      if (device.delete_on_termination) known->delete_on_termination = device.delete_on_termination;
    }
  }
  return data_devices_of(as_it_is, others);
}

const Image& Ec2::create_image(const std::string& instance_id, const ImageRequest& request, bool no_reboot) {
  State& s = *state_;
  const Instance& from = instance(instance_id);
  check_name(s.images, request.name);
  check_tags(request.tags);
  check_tags(request.snapshot_tags);
  if (from.state != InstanceState::running && from.state != InstanceState::stopped) {
    throw ApiError("InvalidParameterValue", fmt::format("Instance is not in state 'running' or 'stopped': {} is {}",
                                                        from.id, to_string(from.state)));
  }
  const store::Image content = s.placements.image(from.image);
  if (content.layers.size() >= machine::kLayersMost) {
    throw ApiError("UnsupportedOperation",
                   fmt::format("The image of {} has {} layers already, and an instance runs from at most {}", from.id,
                               content.layers.size(), machine::kLayersMost));
  }
  const Volume& volume = this->volume(from.volume_id);
  Image image = s.new_image(request.name, request.description, volume.device);
  image.state = ImageState::pending;
  image.architecture = architecture_of(content);
  image.source_instance = from.id;
  image.source_image = from.image_id;
  image.source_region = s.options.region;
  image.tags = request.tags;
  BlockDevice& root = image.devices.front();
  root = mapping_of(volume);
  if (const std::optional<BlockDevice> asked = root_in(request.devices, root.name)) {
    check_only_deletion(*asked, root);
    if (asked->delete_on_termination) root.delete_on_termination = asked->delete_on_termination;
  }
  const std::vector<BlockDevice> others = s.data_devices_in(from, request.devices);
  Snapshot snapshot =
      s.new_snapshot(volume.id, root, fmt::format("Created by CreateImage({}) for {}", from.id, image.id));
  snapshot.instance_id = from.id;
  snapshot.power_down = !no_reboot;
  snapshot.tags = request.snapshot_tags;
  root.snapshot_id = snapshot.id;
  s.save(s.snapshots[snapshot.id] = snapshot);
  s.want_capture(snapshot);
  for (BlockDevice device : others) {
    for (const Volume* other : s.data_volumes_of(from.id)) {
      if (other->device != device.name || !device.snapshot_id.empty()) continue;
      Snapshot copy = s.new_snapshot(other->id, device, snapshot.description);
      copy.instance_id = from.id;
      copy.power_down = !no_reboot;
      copy.tags = request.snapshot_tags;
      copy.data = true;
      copy.origin = other->id;
      device.snapshot_id = copy.id;
      s.save(s.snapshots[copy.id] = copy);
      s.want_capture(copy);
    }
    image.devices.push_back(device);
  }
  Image& kept = s.images[image.id] = image;
  s.save(kept);
  return kept;
}

const Image& Ec2::copy_image(const CopyRequest& request) {
  State& s = *state_;
  const Digest asked =
      sha256(fmt::format("{}|{}|{}|{}|{}|{}|{}", request.source_image, request.source_region, request.name,
                         request.description, request.encrypted, request.kms_key, request.copy_tags));
  for (const auto& [id, image] : s.images) {
    if (request.client_token.empty() || image.client_token != request.client_token) continue;
    if (image.token_digest == asked) return image;
    throw ApiError("IdempotentParameterMismatch",
                   "The request uses the same client token as a previous, but non-identical request");
  }
  check_name(s.images, request.name);
  check_tags(request.tags);
  check_tags(request.snapshot_tags);
  const Ec2* from = this;
  if (request.source_region != s.options.region) {
    from = s.other_regions ? s.other_regions(request.source_region) : nullptr;
  }
  if (from == nullptr) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("The source region '{}' is not one of this process", request.source_region));
  }
  const Image& source = from->image(request.source_image);
  if (source.state != ImageState::available) {
    throw ApiError("InvalidAMIID.Unavailable", fmt::format("The image ID '{}' is not available", source.id));
  }
  if (!request.kms_key.empty() && !request.encrypted) {
    throw ApiError("InvalidParameterDependency",
                   "The parameter KmsKeyId requires the parameter Encrypted to be set to true.");
  }
  Image image = source;
  const Image fresh = s.new_image(request.name, request.description, source.root_device);
  image.id = fresh.id;
  image.owner = fresh.owner;
  image.owner_alias.clear();
  image.name = fresh.name;
  image.description = fresh.description;
  image.location = fresh.location;
  image.created = fresh.created;
  image.sharing = Sharing();
  image.deprecation.reset();
  image.protected_from_deregistration = image.protection_cools_down = false;
  image.protected_until.reset();
  image.source_instance.clear();
  image.source_image = source.id;
  image.source_region = request.source_region;
  image.client_token = request.client_token;
  image.token_digest = asked;
  image.tags = request.copy_tags ? source.tags : Tags();
  std::erase_if(image.tags, [](const auto& tag) { return tag.first.starts_with("aws:"); });
  for (const auto& [key, value] : request.tags) image.tags[key] = value;
  for (BlockDevice& device : image.devices) {
    if (!is_disk(device) || device.snapshot_id.empty()) continue;
    const std::string source_snapshot = device.snapshot_id;
    if (request.encrypted || device.encrypted.value_or(false)) {
      device.encrypted = true;
      device.kms_key = s.key_arn(request.kms_key);
    }
    Snapshot snapshot = s.new_snapshot(
        kNoVolume, device,
        fmt::format("Copied for DestinationAmi {} from SourceAmi {} for SourceSnapshot {}. Task created on {}.",
                    image.id, source.id, source_snapshot, s.loop.now().time_since_epoch().count()));
    snapshot.tags = request.snapshot_tags;
    device.snapshot_id = snapshot.id;
    if (device.name == image.root_device) {
      snapshot.state = SnapshotState::completed;
      snapshot.completed = snapshot.started;
      snapshot.content = image.digest;
    } else {
      snapshot.data = true;
      snapshot.origin = source_snapshot;
      image.state = ImageState::pending;
      s.loop.post([&s, id = snapshot.id] { s.copy_snapshot(id); });
    }
    s.save(s.snapshots[snapshot.id] = snapshot);
  }
  Image& kept = s.images[image.id] = image;
  s.save(kept);
  return kept;
}

void Ec2::verify_image(const std::string& location) const { state_->placements.resolve(location); }

std::vector<Ec2::DeletedSnapshot> Ec2::deregister_image(const std::string& id, bool delete_snapshots) {
  State& s = *state_;
  const Image gone = s.own_image(id);
  if (gone.protected_from_deregistration || (gone.protected_until && s.loop.now() < *gone.protected_until)) {
    throw ApiError("OperationNotPermitted",
                   fmt::format("The image '{}' is protected from deregistration; disable its deregistration protection "
                               "first, and wait for its cooldown to end",
                               id));
  }
  s.images.erase(id);
  s.journal.erase(kImageTable, id);
  std::vector<DeletedSnapshot> out;
  for (const BlockDevice& device : gone.devices) {
    if (!delete_snapshots || device.snapshot_id.empty()) continue;
    try {
      delete_snapshot(device.snapshot_id);
      out.push_back({device.snapshot_id, "success"});
    } catch (const ApiError& error) {
      out.push_back({device.snapshot_id, error.code() == "InvalidSnapshot.InUse" ? "skipped" : "client-error"});
    }
  }
  return out;
}

void Ec2::set_image_parameter(std::function<std::string(const std::string& parameter)> value) {
  state_->image_parameter = std::move(value);
}

std::string Ec2::resolved_image(const std::string& image_id) const {
  constexpr std::string_view kResolve = "resolve:ssm:";
  if (!image_id.starts_with(kResolve)) return image_id;
  const std::string parameter = image_id.substr(kResolve.size());
  try {
    if (state_->image_parameter) return state_->image_parameter(parameter);
  } catch (const ApiError& error) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("The Systems Manager parameter {} cannot be resolved: {}", parameter, error.message()));
  }
  throw ApiError("InvalidParameterValue", fmt::format("There is no Systems Manager parameter {}", parameter));
}

const std::map<std::string, Image>& Ec2::images() const { return state_->images; }

bool Ec2::images_settled(const std::vector<std::string>& ids) const {
  return std::ranges::none_of(state_->images, [&](const auto& entry) {
    return entry.second.state == ImageState::pending && std::ranges::find(ids, entry.first) != ids.end();
  });
}

}  // namespace kiln::region::ec2
