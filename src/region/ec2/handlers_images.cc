// Handlers of EC2: images.
#include <fmt/format.h>

#include <algorithm>

#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;

w::Image to_wire(const Ec2& ec2, const Image& image) {
  w::Image out;
  out.image_id = image.id;
  out.name = image.name;
  if (!image.description.empty()) out.description = image.description;
  out.image_location = image.location;
  out.state = "available";
  out.owner_id = ec2.options().account;
  out.creation_date = format_iso8601(image.created);
  out.public_ = false;
  out.architecture = image.architecture;
  out.image_type = "machine";
  out.platform_details = "Linux/UNIX";
  out.usage_operation = "RunInstances";
  out.root_device_name = image.root_device;
  out.root_device_type = "ebs";
  out.virtualization_type = "hvm";
  out.hypervisor = "xen";
  out.ena_support = true;
  out.deregistration_protection = "disabled";
  out.tags = kiln::region::ec2::to_wire(image.tags);
  return out;
}

std::optional<std::vector<std::string>> filter_values(const Ec2& ec2, const Image& image, const std::string& name) {
  using Values = std::vector<std::string>;
  if (name == "image-id") return Values{image.id};
  if (name == "name") return Values{image.name};
  if (name == "description") return Values{image.description};
  if (name == "state") return Values{"available"};
  if (name == "architecture") return Values{image.architecture};
  if (name == "owner-id") return Values{ec2.options().account};
  if (name == "is-public") return Values{"false"};
  if (name == "image-type") return Values{"machine"};
  if (name == "manifest-location") return Values{image.location};
  if (name == "root-device-type") return Values{"ebs"};
  if (name == "root-device-name") return Values{image.root_device};
  if (name == "virtualization-type") return Values{"hvm"};
  if (name == "hypervisor") return Values{"xen"};
  if (name == "ena-support") return Values{"true"};
  if (name == "creation-date") return Values{format_iso8601(image.created)};
  if (name == "owner-alias" || name == "platform" || name == "product-code" || name == "kernel-id" ||
      name == "ramdisk-id") {
    return Values{};
  }
  return std::nullopt;
}

w::DescribeImagesResult describe(const Ec2& ec2, const w::DescribeImagesRequest& input) {
  only<w::DescribeImages>(input, {"ImageIds", "Owners", "Filters", "MaxResults", "NextToken", "IncludeDeprecated",
                                  "IncludeDisabled", "ExecutableUsers"});
  // Launch permissions cannot be given here: every image is its owner's, who may always launch it, and none is public.
  auto own = [&](const std::string& user) { return user == "self" || user == ec2.options().account; };
  for (const std::string& user : input.executable_users) {
    if (own(user) || user == "all") continue;
    throw ApiError("InvalidUserID.Malformed",
                   fmt::format("Invalid user id: \"{}\"; this region knows self, all and its own account", user));
  }
  const bool executable =
      input.executable_users.empty() || std::any_of(input.executable_users.begin(), input.executable_users.end(), own);
  static const Image kNone;
  check_names(input.filters, [&](const std::string& name) { return filter_values(ec2, kNone, name); });
  for (const std::string& id : input.image_ids) ec2.image(id);
  auto owned = [&] {
    if (input.owners.empty()) return true;
    return std::any_of(input.owners.begin(), input.owners.end(),
                       [&](const std::string& owner) { return owner == "self" || owner == ec2.options().account; });
  };
  w::DescribeImagesResult answer;
  if (!owned() || !executable) return answer;
  Page page(input.max_results, input.next_token, 1);
  for (const auto& [id, image] : ec2.images()) {
    if (!input.image_ids.empty() &&
        std::find(input.image_ids.begin(), input.image_ids.end(), id) == input.image_ids.end()) {
      continue;
    }
    const Image& one = image;
    if (!matches(input.filters, one.tags, [&](const std::string& name) { return filter_values(ec2, one, name); }))
      continue;
    if (page.takes(id)) answer.images.push_back(to_wire(ec2, one));
  }
  answer.next_token = page.next_token();
  return answer;
}

}  // namespace

void serve_images(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeImages>(
      [&ec2](const Call&, const w::DescribeImagesRequest& input) { return describe(ec2, input); });
  // Hundreds of megabytes: not on the loop.
  handlers.before<w::RegisterImage>([&ec2](const w::RegisterImageRequest& input) {
    if (input.image_location) ec2.verify_image(*input.image_location);
  });
  handlers.on<w::RegisterImage>([&ec2](const Call&, const w::RegisterImageRequest& input) {
    only<w::RegisterImage>(input, {"Name", "ImageLocation", "Description", "Architecture", "TagSpecifications",
                                   "VirtualizationType", "RootDeviceName", "EnaSupport"});
    if (!input.image_location) {
      throw ApiError("MissingParameter",
                     "The request must contain the parameter ImageLocation; images made of snapshots are "
                     "not served by this region");
    }
    w::RegisterImageResult answer;
    answer.image_id = ec2.register_image(input.name.value_or(""), *input.image_location, input.description.value_or(""),
                                         input.architecture.value_or(""), tags_for(input.tag_specifications, "image"))
                          .id;
    return answer;
  });
  handlers.on<w::DeregisterImage>([&ec2](const Call&, const w::DeregisterImageRequest& input) {
    only<w::DeregisterImage>(input, {"ImageId", "DeleteAssociatedSnapshots"});
    ec2.deregister_image(input.image_id.value_or(""));
    w::DeregisterImageResult answer;
    answer.return_ = true;
    return answer;
  });
}

}  // namespace kiln::region::ec2
