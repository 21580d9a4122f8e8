// Handlers of EC2: what they share.
#include "region/ec2/handlers.h"

#include <fmt/format.h>

#include <algorithm>

#include "region/ec2/state.h"

namespace kiln::region::ec2 {

void serve(Handlers& handlers, Ec2& ec2) {
  serve_instances(handlers, ec2);
  serve_instance_profiles(handlers, ec2);
  serve_images(handlers, ec2);
  serve_image_attributes(handlers, ec2);
  serve_disks(handlers, ec2);
  serve_launch_templates(handlers, ec2);
  serve_security_groups(handlers, ec2);
  serve_network(handlers, ec2);
  serve_metadata_options(handlers, ec2);
  serve_tags_and_keys(handlers, ec2);
  serve_vpcs(handlers, ec2);
  serve_routes(handlers, ec2);
  serve_addresses(handlers, ec2);
  serve_attributes(handlers, ec2);
}

bool listed(const std::vector<std::string>& wanted, const std::string& id) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), id) != wanted.end();
}

std::vector<wire::ec2::Tag> to_wire(const Tags& tags) {
  std::vector<wire::ec2::Tag> out;
  out.reserve(tags.size());
  for (const auto& [key, value] : tags) out.push_back({key, value});
  return out;
}

Tags from_wire(const std::vector<wire::ec2::Tag>& tags) {
  Tags out;
  for (const wire::ec2::Tag& tag : tags) {
    if (!out.emplace(tag.key.value_or(""), tag.value.value_or("")).second) {
      throw ApiError("InvalidParameterValue", fmt::format("Duplicate tag key '{}' specified.", tag.key.value_or("")));
    }
  }
  check_tags(out);
  return out;
}

Tags tags_for(const std::vector<wire::ec2::TagSpecification>& specifications, std::string_view type) {
  Tags out;
  for (const wire::ec2::TagSpecification& specification : specifications) {
    if (specification.resource_type.value_or("") != type) {
      throw ApiError("InvalidParameterValue",
                     fmt::format("'{}' is not a valid taggable resource type for this operation.",
                                 specification.resource_type.value_or("")));
    }
    out.merge(from_wire(specification.tags));
  }
  return out;
}

}  // namespace kiln::region::ec2
