// Launch: RunInstances, from what was asked to instances that are `pending`. What becomes of them is in instances.cc.
//
// First all of it is read and checked, then the addresses are taken, then every instance is made: a call that is
// refused has changed nothing.
#include <fmt/format.h>

#include <algorithm>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

constexpr int kAtOnceMax = 1000;
constexpr std::size_t kTokenMax = 64;  // characters

// Everything that a second request with the same client token must say again.
Digest digest_of(const RunRequest& request) {
  std::string text = fmt::format("{} {} {} ", request.min_count, request.max_count, request.subnet_id);
  if (request.launch_template) {
    text += request.launch_template->id + request.launch_template->name + request.launch_template->version;
  }
  if (!request.private_address.empty()) text += request.private_address + " ";
  text += "|" + text_of(request.data);
  return sha256(text);
}

void check_form(const RunRequest& request) {
  if (request.min_count < 1 || request.max_count < request.min_count) {
    throw ApiError("InvalidParameterValue", fmt::format("Invalid value for min/max instance count ({}/{})",
                                                        request.min_count, request.max_count));
  }
  if (request.max_count > kAtOnceMax) {
    throw ApiError("InstanceLimitExceeded",
                   fmt::format("At most {} instances can be launched by one request", kAtOnceMax));
  }
  if (request.client_token.size() > kTokenMax) {
    throw ApiError("InvalidParameterValue", fmt::format("A client token has at most {} characters", kTokenMax));
  }
}

const InstanceType& type_for(const std::string& name, const Image& image) {
  const InstanceType* type = find_instance_type(name);
  if (type == nullptr) {
    throw ApiError("InvalidParameterValue", fmt::format("The instance type '{}' is not offered by this region", name));
  }
  if (type->architecture != image.architecture) {
    throw ApiError(
        "InvalidParameterValue",
        fmt::format("The architecture '{}' of the specified instance type does not match the architecture '{}' of "
                    "the specified AMI.",
                    type->architecture, image.architecture));
  }
  return *type;
}

Tags tags_for(const LaunchData& data, const std::string& what) {
  const auto found = data.tags.find(what);
  return found == data.tags.end() ? Tags() : found->second;
}

std::string new_mac(host::Random& random) {
  const std::string tail = random.hex(10);
  return fmt::format("0a:{}:{}:{}:{}:{}", tail.substr(0, 2), tail.substr(2, 2), tail.substr(4, 2), tail.substr(6, 2),
                     tail.substr(8, 2));
}

}  // namespace

// All that the instances of one call have in common.
struct Ec2::State::Launch {
  Instance like;  // without what only one of them has
  LaunchData data;
  const Image* image = nullptr;
  BlockDevice root;
  std::vector<BlockDevice> others;  // the devices besides the root's
  Place place;
};

std::vector<const Instance*> Ec2::State::launched_before(const RunRequest& request, const Digest& asked) const {
  const auto known = request.client_token.empty() ? by_token.end() : by_token.find(request.client_token);
  if (known == by_token.end()) return {};
  std::vector<const Instance*> same;
  for (const std::string& id : known->second) same.push_back(&instances.at(id));
  if (same.front()->token_digest != asked) {
    throw ApiError("IdempotentParameterMismatch",
                   "The request uses the same client token as a previous, but non-identical request");
  }
  return same;
}

Ec2::State::Launch Ec2::State::launch_of(const Ec2& ec2, const RunRequest& request) {
  Launch launch;
  launch.data = request.data;
  Tags from_template;
  if (request.launch_template) {
    const LaunchTemplate& named = ec2.launch_template(request.launch_template->id, request.launch_template->name);
    const TemplateVersion& version = ec2.template_version(*request.launch_template);
    launch.data = merge(version.data, request.data);
    from_template = {{"aws:ec2launchtemplate:id", named.id},
                     {"aws:ec2launchtemplate:version", std::to_string(version.number)}};
  }
  const LaunchData& data = launch.data;
  if (!data.image_id) throw ApiError("MissingParameter", "The request must contain the parameter ImageId");
  const Image& image = ec2.image(ec2.resolved_image(*data.image_id));
  if (image.state != ImageState::available) {
    throw ApiError("InvalidAMIID.Unavailable", fmt::format("The image ID '{}' is not available", image.id));
  }
  launch.image = &image;
  launch.root = root_volume_of(image, data.devices);
  launch.others = data_devices_of(image, data.devices);
  const InstanceType& type = type_for(data.instance_type.value_or("m5.large"), image);  // m1.small is gone
  check_user_data(data.user_data);
  if (data.key_name && !keys.contains(*data.key_name)) {
    throw ApiError("InvalidKeyPair.NotFound", fmt::format("The key pair '{}' does not exist", *data.key_name));
  }
  if (data.profile) associate(*data.profile);  // one that is wrong stops the whole call
  launch.place = place_of(ec2, request, data);

  Instance& like = launch.like;
  like.image_id = image.id;
  like.image = image.digest;
  like.type = type.name;
  like.key_name = data.key_name.value_or("");
  if (data.key_name) like.public_key = keys.at(*data.key_name).public_key;
  like.vpc_id = launch.place.subnet->vpc_id;
  like.subnet_id = launch.place.subnet->id;
  like.zone = launch.place.subnet->zone;
  like.wants_public = launch.place.public_address;
  like.interface_description = data.interface ? data.interface->description.value_or("") : "";
  like.termination_protected = data.termination_protected.value_or(false);
  like.stop_protected = data.stop_protected.value_or(false);
  like.ebs_optimized = data.ebs_optimized.value_or(false);
  like.security_groups = launch.place.groups;
  like.user_data = data.user_data.value_or("");
  like.tags = tags_for(data, "instance");
  apply_metadata(like.metadata, data.metadata, like.tags);
  like.tags.insert(from_template.begin(), from_template.end());
  like.interface_tags = tags_for(data, "network-interface");
  like.shutdown_behavior = data.shutdown_behavior.value_or("stop");
  like.client_token = request.client_token;
  like.launched = loop.now();
  return launch;
}

const Instance& Ec2::State::make_instance(const Launch& launch, const std::string& address, int index) {
  Instance instance = launch.like;
  instance.id = new_id("i-");
  instance.launch_index = index;
  instance.private_address = address;
  instance.mac = new_mac(random);
  give_public(instance);
  if (launch.data.profile) instance.profile = associate(*launch.data.profile);
  instance.interface_id = new_id("eni-");
  const Tags volume_tags = tags_for(launch.data, "volume");
  make_root_volume(instance, *launch.image, launch.root, volume_tags);
  for (const BlockDevice& device : launch.others) {
    put_into(make_data_volume(device, instance.zone, volume_tags), instance, device.name);
  }
  Instance& kept = instances[instance.id] = instance;
  if (!kept.client_token.empty()) by_token[kept.client_token].push_back(kept.id);
  save(kept);
  // After this turn: the launch is in the journal before the machine is begun.
  loop.post([this, id = kept.id] { advance(id); });
  return kept;
}

std::vector<const Instance*> Ec2::run_instances(const RunRequest& request) {
  State& s = *state_;
  const Digest asked = digest_of(request);
  if (auto same = s.launched_before(request, asked); !same.empty()) return same;
  check_form(request);
  State::Launch launch = s.launch_of(*this, request);
  const std::vector<std::string> addresses =
      s.take_addresses(*launch.place.subnet, launch.place.private_address, request.min_count, request.max_count);
  launch.like.reservation_id = s.new_id("r-");
  launch.like.token_digest = asked;
  s.network_changed();  // before the launches, which are posted below
  std::vector<const Instance*> made;
  for (const std::string& address : addresses) {
    made.push_back(&s.make_instance(launch, address, static_cast<int>(made.size())));
  }
  return made;
}

}  // namespace kiln::region::ec2
