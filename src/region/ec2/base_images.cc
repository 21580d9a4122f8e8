// BaseImages: public images in EC2's lists, and the instances that wait until theirs is made.
#include "region/ec2/base_images.h"

#include <fmt/format.h>

#include "base/error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {

BaseImage debian_12() {
  BaseImage out;
  out.name = "debian-12-amd64-20251103-2285";
  out.description = "Debian 12 (20251103-2285)";
  out.architecture = "x86_64";
  out.owner = "136693071363";
  out.root_device = "/dev/xvda";
  out.parameter = "/aws/service/debian/release/12/latest/amd64";
  out.created = parse_iso8601("2025-11-03T00:03:23Z");
  return out;
}

void EmptyBaseImages::make(const std::string& name, Done done) {
  store::ImageConfig config;
  config.app = name;
  config.read_only_root = false;
  config.history = {"nothing"};
  // An image has at least one layer; nobody mounts this one.
  const store::Blob layer{store_.put(name), name.size(), std::string(store::kErofsLayerType)};
  loop_.post([digest = store_.add_image(config, {layer}), done = std::move(done)] { done(nullptr, digest); });
}

void Ec2::State::list_base_images() {
  if (options.base_images == nullptr) return;
  for (const BaseImage& base : options.base_images->list()) {
    Image image;
    // As on AWS, the same for all accounts, and another one in each region.
    image.id = "ami-" + sha256(options.region + "/" + base.owner + "/" + base.name).hex().substr(0, 17);
    image.name = base.name;
    image.description = base.description;
    image.owner = base.owner;
    image.sharing.everybody = true;
    image.location = base.owner + "/" + base.name;
    image.architecture = base.architecture;
    image.root_device = base.root_device;
    image.created = base.created;
    public_images[image.id] = image;
  }
}

const std::map<std::string, Image>& Ec2::public_images() const { return state_->public_images; }

std::map<std::string, std::string> Ec2::public_parameters() const {
  std::map<std::string, std::string> out;
  if (state_->options.base_images == nullptr) return out;
  for (const BaseImage& base : state_->options.base_images->list()) {
    for (const auto& [id, image] : state_->public_images) {
      if (image.name == base.name && image.owner == base.owner) out[base.parameter] = id;
    }
  }
  return out;
}

void Ec2::State::await_image(const Instance& instance) {
  const bool asked = awaiting_image.contains(instance.image_id);
  awaiting_image[instance.image_id].insert(instance.id);
  if (asked) return;
  const auto image = public_images.find(instance.image_id);
  if (image == public_images.end()) {
    // It was listed when the instance was asked for, by an earlier version.
    return image_made(instance.image_id,
                      std::make_exception_ptr(Error(
                          ErrorCode::not_found, fmt::format("the image {} is no longer offered", instance.image_id))),
                      {});
  }
  options.say(fmt::format("the image {} ({}) is made for {}", instance.image_id, image->second.name, instance.id));
  options.base_images->make(image->second.name,
                            [this, id = instance.image_id](const std::exception_ptr& failure, const Digest& digest) {
                              image_made(id, failure, digest);
                            });
}

void Ec2::State::image_made(const std::string& image_id, const std::exception_ptr& failure, const Digest& digest) {
  std::string why;
  try {
    if (failure) std::rethrow_exception(failure);
    public_images.at(image_id).digest = digest;
    options.say(fmt::format("the image {} is {}", image_id, digest.str()));
  } catch (const std::exception& error) {
    why = error.what();
    options.say(fmt::format("the image {} cannot be made: {}", image_id, why));
  }
  const auto waited = awaiting_image.extract(image_id);
  for (const std::string& id : waited.mapped()) {
    const auto it = instances.find(id);
    if (it == instances.end() || it->second.state != InstanceState::pending) continue;
    if (failure) {
      set_state(it->second, InstanceState::terminated, "Server.InternalError",
                fmt::format("Server.InternalError: the image {} cannot be made: {}", image_id, why));
      continue;
    }
    it->second.image = digest;
    save(it->second);
    loop.post([this, id] { advance(id); });  // after this turn, which writes the image down
  }
}

}  // namespace kiln::region::ec2
