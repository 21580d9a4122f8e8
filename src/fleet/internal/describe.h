// Describe: AWS's describe calls with all their pages, and the little that every answer needs. Private to this room.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/fleet.h"
#include "wire/ec2.h"

namespace kiln::aws {
class Client;
}

namespace kiln::fleet {

// A member that AWS may leave out.
inline std::string str(const std::optional<std::string>& text) { return text.value_or(""); }
inline std::int64_t num(const std::optional<std::int64_t>& number) { return number.value_or(0); }

template <typename Tag>
Tags tags_of(const std::vector<Tag>& tags) {
  Tags out;
  for (const Tag& tag : tags) out[str(tag.key)] = str(tag.value);
  return out;
}
std::string at(const Tags& tags, std::string_view key);  // empty: there is no such tag

wire::ec2::Filter filter(std::string name, std::vector<std::string> values);
// Calls `ask` with filters that name all `ids`, as many at a time as make a small answer. A filter, because an id that
// EC2 does not show yet would fail the whole call.
void for_each_batch(const std::string& name, const std::vector<std::string>& ids,
                    const std::function<void(const std::vector<wire::ec2::Filter>&)>& ask);

std::vector<wire::ec2::Image> describe_images(aws::Client& client, const wire::ec2::DescribeImagesRequest& request);
std::vector<wire::ec2::Instance> describe_instances(aws::Client& client, const std::vector<wire::ec2::Filter>& filters);
std::vector<wire::ec2::LaunchTemplateVersion> describe_versions(aws::Client& client,
                                                                const std::string& launch_template);

}  // namespace kiln::fleet
