// Describe: requests, and their pages put together.
#include "fleet/internal/describe.h"

#include <algorithm>

#include "aws/client.h"
#include "aws/paginate.h"

namespace kiln::fleet {
namespace {

namespace ec2 = wire::ec2;

// AWS takes at most 1,000 ids a call; fewer keep the answer small.
constexpr std::size_t kIdsPerCall = 200;

}  // namespace

std::string at(const Tags& tags, std::string_view key) {
  const auto found = tags.find(std::string(key));
  return found == tags.end() ? std::string() : found->second;
}

ec2::Filter filter(std::string name, std::vector<std::string> values) {
  ec2::Filter made;
  made.name = std::move(name);
  made.values = std::move(values);
  return made;
}

void for_each_batch(const std::string& name, const std::vector<std::string>& ids,
                    const std::function<void(const std::vector<ec2::Filter>&)>& ask) {
  for (std::size_t begin = 0; begin < ids.size(); begin += kIdsPerCall) {
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto size = static_cast<std::ptrdiff_t>(std::min(ids.size() - begin, kIdsPerCall));
    ask({filter(name, {first, first + size})});
  }
}

std::vector<ec2::Image> describe_images(aws::Client& client, const ec2::DescribeImagesRequest& request) {
  return aws::collect<ec2::DescribeImages>(client, request, &ec2::DescribeImagesResult::images);
}

std::vector<ec2::Instance> describe_instances(aws::Client& client, const std::vector<ec2::Filter>& filters) {
  ec2::DescribeInstancesRequest request;
  request.filters = filters;
  std::vector<ec2::Instance> instances;
  aws::for_each_page<ec2::DescribeInstances>(client, request, [&](ec2::DescribeInstancesResult& page) {
    for (auto& reservation : page.reservations) {
      std::ranges::move(reservation.instances, std::back_inserter(instances));
    }
  });
  return instances;
}

std::vector<ec2::LaunchTemplateVersion> describe_versions(aws::Client& client, const std::string& launch_template) {
  ec2::DescribeLaunchTemplateVersionsRequest request;
  request.launch_template_id = launch_template;
  return aws::collect<ec2::DescribeLaunchTemplateVersions>(
      client, request, &ec2::DescribeLaunchTemplateVersionsResult::launch_template_versions);
}

}  // namespace kiln::fleet
