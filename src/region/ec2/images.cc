// Images: AMIs as placements of images of the store.
#include <fmt/format.h>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RegisterImage.html: 3 to 128 of these.
bool good_name(const std::string& name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ()[]./-'@_";
  return name.size() >= 3 && name.size() <= 128 && name.find_first_not_of(kAllowed) == std::string::npos;
}

}  // namespace

const Image& Ec2::register_image(const std::string& name, const std::string& location, const std::string& description,
                                 const std::string& architecture, const Tags& tags) {
  State& s = *state_;
  if (!good_name(name)) {
    throw ApiError(
        "InvalidAMIName.Malformed",
        "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', "
        "'/' and '_'");
  }
  for (const auto& [id, image] : s.images) {
    if (image.name == name) {
      throw ApiError("InvalidAMIName.Duplicate", fmt::format("AMI name {} is already in use by AMI {}", name, id));
    }
  }
  check_tags(tags);
  store::Image content = s.placements.resolve(location);
  std::string own = content.config.architecture == "arm64" ? "arm64" : "x86_64";
  if (!architecture.empty() && architecture != own) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("The image at {} is of architecture {}, not {}", location, own, architecture));
  }
  Image image;
  image.id = s.new_id("ami-");
  image.name = name;
  image.description = description;
  image.location = location;
  image.digest = content.digest;
  image.architecture = own;
  image.created = s.loop.now();
  image.tags = tags;
  Image& kept = s.images[image.id] = image;
  s.save(kept);
  return kept;
}

void Ec2::verify_image(const std::string& location) const { state_->placements.resolve(location); }

void Ec2::deregister_image(const std::string& id) {
  if (!image(id).owner.empty()) {
    throw ApiError("AuthFailure", fmt::format("Not authorized for image:{}", id), 403);
  }
  state_->images.erase(id);
  state_->journal.erase(kImageTable, id);
}

const std::map<std::string, Image>& Ec2::images() const { return state_->images; }

const Image& Ec2::image(const std::string& id) const {
  auto it = state_->images.find(id);
  if (it != state_->images.end()) return it->second;
  it = state_->public_images.find(id);
  if (it != state_->public_images.end()) return it->second;
  if (!well_formed(id, "ami-")) throw ApiError("InvalidAMIID.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidAMIID.NotFound", fmt::format("The image id '[{}]' does not exist", id));
}

}  // namespace kiln::region::ec2
