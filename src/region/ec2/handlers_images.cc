// Handlers of EC2: how images are made, found and removed.
#include <fmt/format.h>

#include <algorithm>

#include "region/ec2/filters.h"
#include "region/ec2/handlers_disks.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;
using Values = std::vector<std::string>;

const char* text_of(bool value) { return value ? "true" : "false"; }
std::optional<std::string> shown(const std::string& text) { return text.empty() ? std::nullopt : std::optional(text); }

w::Image to_wire(const Image& image, Time now) {
  w::Image out;
  out.image_id = image.id;
  out.name = image.name;
  out.description = shown(image.description);
  out.image_location = image.location;
  out.state = std::string(to_string(image.state));
  if (!image.state_message.empty()) out.state_reason = w::StateReason{"Server.InternalError", image.state_message};
  out.owner_id = image.owner;
  out.image_owner_alias = shown(image.owner_alias);
  out.creation_date = format_iso8601(image.created);
  out.public_ = image.sharing.everybody;
  out.architecture = image.architecture;
  out.image_type = "machine";
  out.platform_details = "Linux/UNIX";
  out.usage_operation = "RunInstances";
  out.root_device_name = image.root_device;
  out.root_device_type = "ebs";
  out.virtualization_type = "hvm";
  out.hypervisor = "xen";
  out.ena_support = true;
  out.sriov_net_support = "simple";
  out.block_device_mappings = mappings_of<w::BlockDeviceMapping>(image.devices);
  if (image.deprecation) out.deprecation_time = format_iso8601(*image.deprecation);
  const bool cooled = !image.protected_from_deregistration && (!image.protected_until || *image.protected_until <= now);
  out.deregistration_protection = cooled ? "disabled" : protection_of(image);
  out.source_instance_id = shown(image.source_instance);
  out.source_image_id = shown(image.source_image);
  out.source_image_region = shown(image.source_region);
  out.imds_support = shown(image.imds_support);
  out.tags = kiln::region::ec2::to_wire(image.tags);
  return out;
}

std::optional<Values> device_values(const Image& image, const std::string& name) {
  const auto all = [&](auto&& value) {
    Values out;
    for (const BlockDevice& device : image.devices) out.push_back(value(device));
    return out;
  };
  if (name == "device-name") return all([](const BlockDevice& one) { return one.name; });
  if (name == "snapshot-id") return all([](const BlockDevice& one) { return one.snapshot_id; });
  if (name == "volume-size")
    return all([](const BlockDevice& one) { return std::to_string(one.size_gib.value_or(0)); });
  if (name == "volume-type") return all([](const BlockDevice& one) { return one.type.value_or(""); });
  if (name == "encrypted") return all([](const BlockDevice& one) { return text_of(one.encrypted.value_or(false)); });
  if (name == "delete-on-termination") {
    return all([](const BlockDevice& one) { return text_of(one.delete_on_termination.value_or(false)); });
  }
  return std::nullopt;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html
std::optional<Values> filter_values(const Image& image, const std::string& name) {
  constexpr std::string_view kDevices = "block-device-mapping.";
  if (name.starts_with(kDevices)) return device_values(image, name.substr(kDevices.size()));
  const auto some = [](const std::string& value) { return value.empty() ? Values{} : Values{value}; };
  if (name == "image-id") return Values{image.id};
  if (name == "name") return Values{image.name};
  if (name == "description") return Values{image.description};
  if (name == "state") return Values{std::string(to_string(image.state))};
  if (name == "state-reason-code") return some(image.state_message.empty() ? "" : "Server.InternalError");
  if (name == "state-reason-message") return some(image.state_message);
  if (name == "architecture") return Values{image.architecture};
  if (name == "owner-id") return Values{image.owner};
  if (name == "owner-alias") return some(image.owner_alias);
  if (name == "is-public") return Values{text_of(image.sharing.everybody)};
  if (name == "image-type") return Values{"machine"};
  if (name == "manifest-location") return Values{image.location};
  if (name == "root-device-type") return Values{"ebs"};
  if (name == "root-device-name") return Values{image.root_device};
  if (name == "virtualization-type") return Values{"hvm"};
  if (name == "hypervisor") return Values{"xen"};
  if (name == "ena-support" || name == "image-allowed") return Values{"true"};
  if (name == "free-tier-eligible") return Values{"false"};
  if (name == "sriov-net-support") return Values{"simple"};
  if (name == "creation-date") return Values{format_iso8601(image.created)};
  if (name == "source-instance-id") return some(image.source_instance);
  if (name == "source-image-id") return some(image.source_image);
  if (name == "source-image-region") return some(image.source_region);
  if (name == "platform" || name == "product-code" || name == "product-code.type" || name == "kernel-id" ||
      name == "ramdisk-id") {
    return Values{};
  }
  return std::nullopt;
}

void check_users(const std::vector<std::string>& users, std::initializer_list<std::string_view> names) {
  for (const std::string& user : users) {
    const bool account = user.size() == 12 && user.find_first_not_of("0123456789") == std::string::npos;
    if (account || std::ranges::find(names, user) != names.end()) continue;
    throw ApiError("InvalidUserID.Malformed", fmt::format("Invalid user id: \"{}\"", user));
  }
}

w::DescribeImagesResult describe(const Call& call, const Ec2& ec2, const w::DescribeImagesRequest& input) {
  only<w::DescribeImages>(input, {"ImageIds", "Owners", "Filters", "MaxResults", "NextToken", "IncludeDeprecated",
                                  "IncludeDisabled", "ExecutableUsers"});
  check_users(input.owners, {"self", "amazon", "aws-marketplace", "aws-backup-vault"});
  check_users(input.executable_users, {"self", "all"});
  static const Image kNone;
  check_names(input.filters, [&](const std::string& name) { return filter_values(kNone, name); });
  for (const std::string& id : input.image_ids) ec2.image(id);
  const std::string& own = ec2.options().account;
  const auto wanted = [&](const Image& image) {
    const bool named = std::ranges::find(input.image_ids, image.id) != input.image_ids.end();
    if (!input.image_ids.empty() && !named) return false;
    if (!input.owners.empty() && std::ranges::none_of(input.owners, [&](const std::string& owner) {
          return owner == image.owner || owner == image.owner_alias || (owner == "self" && image.owner == own);
        })) {
      return false;
    }
    // Only explicit permissions: an owner needs none.
    if (!input.executable_users.empty() && std::ranges::none_of(input.executable_users, [&](const std::string& user) {
          return user == "all" ? image.sharing.everybody : image.sharing.accounts.contains(user == "self" ? own : user);
        })) {
      return false;
    }
    if (image.state == ImageState::disabled && !input.include_disabled.value_or(false)) return false;
    const bool deprecated = image.deprecation && *image.deprecation <= call.now;
    if (deprecated && image.owner != own && !named && !input.include_deprecated.value_or(false)) return false;
    return matches(input.filters, image.tags, [&](const std::string& name) { return filter_values(image, name); });
  };
  std::map<std::string, const Image*> all;
  for (const auto* images : {&ec2.images(), &ec2.public_images()}) {
    for (const auto& [id, image] : *images) all.emplace(id, &image);
  }
  w::DescribeImagesResult answer;
  Page page(input.max_results, input.next_token, 1);
  for (const Image* image : ec2.visible_images()) {
    if (wanted(*image) && page.takes(image->id)) answer.images.push_back(to_wire(*image, call.now));
  }
  answer.next_token = page.next_token();
  return answer;
}

void make_images(Handlers& handlers, Ec2& ec2) {
  // Hundreds of megabytes: not on the loop.
  handlers.before<w::RegisterImage>([&ec2](const w::RegisterImageRequest& input) {
    if (said(input.image_location)) ec2.verify_image(*input.image_location);
  });
  handlers.on<w::RegisterImage>([&ec2](const Call&, const w::RegisterImageRequest& input) {
    only<w::RegisterImage>(
        input, {"Name", "ImageLocation", "Description", "Architecture", "TagSpecifications", "VirtualizationType",
                "RootDeviceName", "EnaSupport", "SriovNetSupport", "ImdsSupport", "BlockDeviceMappings"});
    if (said(input.virtualization_type).value_or("hvm") != "hvm") {
      throw ApiError("UnsupportedOperation", "This region has images of VirtualizationType hvm only");
    }
    if (!said(input.image_location) && input.block_device_mappings.empty()) {
      throw ApiError("MissingParameter",
                     "The request must contain the parameter ImageLocation or BlockDeviceMapping with a snapshot");
    }
    ImageRequest request;
    request.name = text_in(input.name);
    request.location = text_in(input.image_location);
    request.description = text_in(input.description);
    request.architecture = text_in(input.architecture);
    request.root_device = text_in(input.root_device_name);
    request.imds_support = text_in(input.imds_support);
    request.devices = devices_of(input.block_device_mappings);
    request.tags = tags_for(input.tag_specifications, "image");
    w::RegisterImageResult answer;
    answer.image_id = ec2.register_image(request).id;
    return answer;
  });
  handlers.on<w::CreateImage>([&ec2](const Call&, const w::CreateImageRequest& input) {
    only<w::CreateImage>(input,
                         {"InstanceId", "Name", "Description", "NoReboot", "BlockDeviceMappings", "TagSpecifications"});
    const ImageTags tags = image_tags_of(input.tag_specifications);
    ImageRequest request;
    request.name = text_in(input.name);
    request.description = text_in(input.description);
    request.devices = devices_of(input.block_device_mappings);
    request.tags = tags.image;
    request.snapshot_tags = tags.snapshot;
    w::CreateImageResult answer;
    answer.image_id = ec2.create_image(text_in(input.instance_id), request, input.no_reboot.value_or(false)).id;
    return answer;
  });
  handlers.on<w::CopyImage>([&ec2](const Call&, const w::CopyImageRequest& input) {
    only<w::CopyImage>(input, {"Name", "SourceImageId", "SourceRegion", "Description", "Encrypted", "KmsKeyId",
                               "CopyImageTags", "ClientToken", "TagSpecifications"});
    const ImageTags tags = image_tags_of(input.tag_specifications);
    CopyRequest request;
    request.source_image = text_in(input.source_image_id);
    request.source_region = text_in(input.source_region);
    request.name = text_in(input.name);
    request.description = text_in(input.description);
    request.encrypted = input.encrypted.value_or(false);
    request.kms_key = text_in(input.kms_key_id);
    request.copy_tags = input.copy_image_tags.value_or(false);
    request.client_token = text_in(input.client_token);
    request.tags = tags.image;
    request.snapshot_tags = tags.snapshot;
    w::CopyImageResult answer;
    answer.image_id = ec2.copy_image(request).id;
    return answer;
  });
}

}  // namespace

ImageTags image_tags_of(const std::vector<w::TagSpecification>& specifications) {
  ImageTags out;
  for (const w::TagSpecification& specification : specifications) {
    const bool of_snapshots = specification.resource_type == "snapshot";
    (of_snapshots ? out.snapshot : out.image).merge(tags_for({specification}, of_snapshots ? "snapshot" : "image"));
  }
  return out;
}

void serve_images(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeImages>(
      [&ec2](const Call& call, const w::DescribeImagesRequest& input) { return describe(call, ec2, input); });
  handlers.when<w::DescribeImages>(
      [&ec2](const w::DescribeImagesRequest& input) { return ec2.images_settled(input.image_ids); });
  make_images(handlers, ec2);
  handlers.on<w::DeregisterImage>([&ec2](const Call&, const w::DeregisterImageRequest& input) {
    only<w::DeregisterImage>(input, {"ImageId", "DeleteAssociatedSnapshots"});
    w::DeregisterImageResult answer;
    for (const auto& deleted :
         ec2.deregister_image(text_in(input.image_id), input.delete_associated_snapshots.value_or(false))) {
      answer.delete_snapshot_results.push_back({deleted.id, deleted.outcome});
    }
    answer.return_ = true;
    return answer;
  });
}

}  // namespace kiln::region::ec2
