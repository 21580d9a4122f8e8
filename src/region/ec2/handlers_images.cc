// Handlers of EC2: images.
#include <fmt/format.h>

#include <algorithm>

#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;

const std::string& owner_of(const Ec2& ec2, const Image& image) {
  return image.owner.empty() ? ec2.options().account : image.owner;
}

w::Image to_wire(const Ec2& ec2, const Image& image) {
  w::Image out;
  out.image_id = image.id;
  out.name = image.name;
  if (!image.description.empty()) out.description = image.description;
  out.image_location = image.location;
  out.state = "available";
  out.owner_id = owner_of(ec2, image);
  out.creation_date = format_iso8601(image.created);
  out.public_ = !image.owner.empty();
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
  if (name == "owner-id") return Values{owner_of(ec2, image)};
  if (name == "is-public") return Values{image.owner.empty() ? "false" : "true"};
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
  // Launch permissions cannot be given here: an image is its owner's, who may always launch it, or everybody's.
  auto own = [&](const std::string& user) { return user == "self" || user == ec2.options().account; };
  for (const std::string& user : input.executable_users) {
    if (own(user) || user == "all") continue;
    throw ApiError("InvalidUserID.Malformed",
                   fmt::format("Invalid user id: \"{}\"; this region knows self, all and its own account", user));
  }
  static const Image kNone;
  check_names(input.filters, [&](const std::string& name) { return filter_values(ec2, kNone, name); });
  for (const std::string& id : input.image_ids) ec2.image(id);
  auto wanted = [&](const Image& image) {
    const bool is_public = !image.owner.empty();
    const auto executable = [&](const std::string& user) { return user == "all" ? is_public : !is_public; };
    const auto owned = [&](const std::string& owner) {
      return owner == owner_of(ec2, image) || (owner == "self" && !is_public);
    };
    auto one_of = [](const std::vector<std::string>& some, const auto& holds) {
      return some.empty() || std::any_of(some.begin(), some.end(), holds);
    };
    return one_of(input.image_ids, [&](const std::string& id) { return id == image.id; }) &&
           one_of(input.executable_users, executable) && one_of(input.owners, owned) &&
           matches(input.filters, image.tags, [&](const std::string& name) { return filter_values(ec2, image, name); });
  };
  std::map<std::string, const Image*> all;
  for (const auto* images : {&ec2.images(), &ec2.public_images()}) {
    for (const auto& [id, image] : *images) all.emplace(id, &image);
  }
  w::DescribeImagesResult answer;
  Page page(input.max_results, input.next_token, 1);
  for (const auto& [id, image] : all) {
    if (wanted(*image) && page.takes(id)) answer.images.push_back(to_wire(ec2, *image));
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
