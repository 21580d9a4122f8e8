// Handlers of EC2: what can be said of an image after it was made.
#include <fmt/format.h>

#include "region/ec2/handlers_disks.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;

w::ImageAttribute describe(const Ec2& ec2, const w::DescribeImageAttributeRequest& input) {
  only<w::DescribeImageAttribute>(input, {"ImageId", "Attribute"});
  const Image& image = ec2.image(text_in(input.image_id));
  if (image.owner != ec2.options().account) {
    throw ApiError("AuthFailure", fmt::format("Not authorized for image:{}", image.id), 403);
  }
  const std::string attribute = text_in(input.attribute);
  w::ImageAttribute answer;
  answer.image_id = image.id;
  if (attribute == "description") {
    answer.description.emplace().value = image.description;
  } else if (attribute == "launchPermission") {
    if (image.sharing.everybody) answer.launch_permissions.emplace_back().group = "all";
    for (const std::string& account : image.sharing.accounts)
      answer.launch_permissions.emplace_back().user_id = account;
  } else if (attribute == "blockDeviceMapping") {
    answer.block_device_mappings = mappings_of<w::BlockDeviceMapping>(image.devices);
  } else if (attribute == "imdsSupport") {
    answer.imds_support.emplace();
    if (!image.imds_support.empty()) answer.imds_support->value = image.imds_support;
  } else if (attribute == "deregistrationProtection") {
    answer.deregistration_protection.emplace().value = protection_of(image);
  } else if (attribute == "sriovNetSupport") {
    answer.sriov_net_support.emplace().value = "simple";
  } else if (attribute != "productCodes") {  // of which there are none
    throw ApiError("UnsupportedOperation", fmt::format("The attribute {} is not supported by this region", attribute));
  }
  return answer;
}

void modify(Ec2& ec2, const w::ModifyImageAttributeRequest& input) {
  only<w::ModifyImageAttribute>(input, {"ImageId", "Attribute", "Value", "Description", "LaunchPermission",
                                        "OperationType", "UserIds", "UserGroups", "ImdsSupport"});
  const std::string id = text_in(input.image_id);
  const std::string attribute = text_in(input.attribute);
  const bool permissions = input.launch_permission || !input.user_ids.empty() || !input.user_groups.empty();
  if (input.description || attribute == "description") {
    ec2.describe_image_as(id, text_in(input.description ? input.description->value : input.value));
  } else if (input.imds_support || attribute == "imdsSupport") {
    const std::string value = text_in(input.imds_support ? input.imds_support->value : input.value);
    if (value != "v2.0") {
      throw ApiError("InvalidParameterValue", fmt::format("Value ({}) for parameter imdsSupport is invalid.", value));
    }
    ec2.require_tokens_of(id);
  } else if (permissions && (attribute.empty() || attribute == "launchPermission")) {
    ec2.share_image(
        id, change_of(input.launch_permission, text_in(input.operation_type), input.user_ids, input.user_groups));
  } else {
    throw ApiError("InvalidParameterCombination", fmt::format("No attribute to modify was given for {}", id));
  }
}

}  // namespace

std::string protection_of(const Image& image) {
  if (image.protected_from_deregistration || image.protected_until) {
    return image.protection_cools_down ? "enabled-with-cooldown" : "enabled-without-cooldown";
  }
  return "disabled";
}

void serve_image_attributes(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeImageAttribute>(
      [&ec2](const Call&, const w::DescribeImageAttributeRequest& input) { return describe(ec2, input); });
  handlers.on<w::ModifyImageAttribute>([&ec2](const Call&, const w::ModifyImageAttributeRequest& input) {
    modify(ec2, input);
    return wire::Empty{};
  });
  handlers.on<w::ResetImageAttribute>([&ec2](const Call&, const w::ResetImageAttributeRequest& input) {
    if (text_in(input.attribute) != "launchPermission") {
      throw ApiError("InvalidParameterValue", "Only launchPermission can be reset");
    }
    ec2.reset_image_sharing(text_in(input.image_id));
    return wire::Empty{};
  });
  const auto yes = [](auto answer) {
    answer.return_ = true;
    return answer;
  };
  handlers.on<w::DisableImage>([=, &ec2](const Call&, const w::DisableImageRequest& input) {
    ec2.disable_image(text_in(input.image_id));
    return yes(w::DisableImageResult());
  });
  handlers.on<w::EnableImage>([=, &ec2](const Call&, const w::EnableImageRequest& input) {
    ec2.enable_image(text_in(input.image_id));
    return yes(w::EnableImageResult());
  });
  handlers.on<w::EnableImageDeprecation>([=, &ec2](const Call&, const w::EnableImageDeprecationRequest& input) {
    if (!input.deprecate_at) throw ApiError("MissingParameter", "The request must contain the parameter DeprecateAt");
    ec2.deprecate_image(text_in(input.image_id), input.deprecate_at);
    return yes(w::EnableImageDeprecationResult());
  });
  handlers.on<w::DisableImageDeprecation>([=, &ec2](const Call&, const w::DisableImageDeprecationRequest& input) {
    ec2.deprecate_image(text_in(input.image_id), std::nullopt);
    return yes(w::DisableImageDeprecationResult());
  });
  handlers.on<w::EnableImageDeregistrationProtection>(
      [&ec2](const Call&, const w::EnableImageDeregistrationProtectionRequest& input) {
        ec2.protect_image(text_in(input.image_id), input.with_cooldown.value_or(false));
        w::EnableImageDeregistrationProtectionResult answer;
        answer.return_ = "true";
        return answer;
      });
  handlers.on<w::DisableImageDeregistrationProtection>(
      [&ec2](const Call&, const w::DisableImageDeregistrationProtectionRequest& input) {
        ec2.unprotect_image(text_in(input.image_id));
        w::DisableImageDeregistrationProtectionResult answer;
        answer.return_ = "true";
        return answer;
      });
}

}  // namespace kiln::region::ec2
