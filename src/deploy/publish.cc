// Publish: RegisterImage once, found again by its tags.
#include "deploy/publish.h"

#include <fmt/format.h>

#include <algorithm>

#include "aws/client.h"
#include "aws/wait.h"
#include "fleet/names.h"
#include "fleet/observe.h"
#include "wire/ec2.h"

namespace kiln::deploy {
namespace {

namespace ec2 = wire::ec2;

// As botocore's ImageAvailable waiter: 15 s, 40 times.
constexpr Duration kAvailableBudget = std::chrono::minutes(10);
constexpr std::size_t kNameMax = 128;

// EC2 takes 3 to 128 characters: letters, digits, and ()[] ./-'@_ .
std::string own_name(const PlacementRequest& request) {
  std::string name = fmt::format("{}-{}", request.app, request.version).substr(0, kNameMax);
  std::ranges::replace_if(
      name,
      [](char c) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        return !plain && std::string_view("()[]./-'@_").find(c) == std::string_view::npos;
      },
      '-');
  while (name.size() < 3) name += '-';
  return name;
}

[[noreturn]] void refuse(const PlacementRequest& request, const fleet::Image& taken) {
  throw Error(ErrorCode::already_exists,
              fmt::format("{} {} is {} in {}, and cannot become {}", request.app, request.version,
                          taken.digest().empty() ? "an image of unknown content" : taken.digest(), taken.ami,
                          request.digest.str()),
              "Give the new image a version of its own.");
}

std::string architecture_of(const std::string& name) {
  if (name == "amd64") return "x86_64";
  return name;
}

ec2::TagSpecification tags_of(const PlacementRequest& request) {
  std::map<std::string, std::string> all = request.tags;
  all[std::string(fleet::kTagApp)] = request.app;
  all[std::string(fleet::kTagVersion)] = request.version;
  all[std::string(fleet::kTagDigest)] = request.digest.str();
  all.try_emplace("Name", fmt::format("{} {}", request.app, request.version));
  ec2::TagSpecification specification;
  specification.resource_type = "image";
  for (const auto& [key, value] : all) {
    ec2::Tag tag;
    tag.key = key;
    tag.value = value;
    specification.tags.push_back(tag);
  }
  return specification;
}

ec2::RegisterImageRequest registration(const PlacementRequest& request, const std::string& name) {
  ec2::RegisterImageRequest call;
  call.name = name;
  call.image_location = "kiln:" + request.digest.str();
  call.architecture = architecture_of(request.architecture);
  if (!request.description.empty()) call.description = request.description;
  call.tag_specifications = {tags_of(request)};
  return call;
}

// nullptr when there is none yet.
const fleet::Image* find(const std::vector<fleet::Image>& images, const PlacementRequest& request) {
  for (const fleet::Image& image : images) {
    if (image.version() != request.version) continue;
    if (image.digest() != request.digest.str()) refuse(request, image);
    if (image.state == "available" || image.state == "pending") return &image;
  }
  return nullptr;
}

void wait_until_available(aws::Client& client, host::Clock& clock, const std::string& ami) {
  aws::Wait wait;
  wait.what = ami + " to be available";
  wait.budget = kAvailableBudget;
  aws::wait_until(clock, wait, [&] {
    ec2::DescribeImagesRequest request;
    ec2::Filter id;
    id.name = "image-id";
    id.values = {ami};
    request.filters = {id};
    aws::Seen seen;
    for (const auto& image : client.call<ec2::DescribeImages>(request).images) seen.state = image.state.value_or("");
    if (seen.state == "failed" || seen.state == "error" || seen.state == "invalid") {
      throw Error(ErrorCode::conflict, fmt::format("the AMI {} is {}", ami, seen.state),
                  "Why is in StateReason of `aws ec2 describe-images --image-ids " + ami +
                      "`; deregister it and publish again: kiln bake");
    }
    seen.done = seen.state == "available";
    return seen;
  });
}

}  // namespace

std::string RegionPlacements::place(const PlacementRequest& request) {
  return with_context(fmt::format("publishing {}@{}", request.app, request.version), [&] {
    return ensure(request, [&](const std::string& name) {
      return client_.call<ec2::RegisterImage>(registration(request, name)).image_id.value_or("");
    });
  });
}

std::string RegionPlacements::copy(const PlacementRequest& request, const std::string& ami, const std::string& from) {
  return with_context(fmt::format("copying {}@{} from {}", request.app, request.version, from), [&] {
    return ensure(request, [&](const std::string& name) {
      ec2::CopyImageRequest call;
      call.name = name;
      call.source_image_id = ami;
      call.source_region = from;
      if (!request.description.empty()) call.description = request.description;
      call.tag_specifications = {tags_of(request)};
      return client_.call<ec2::CopyImage>(call).image_id.value_or("");
    });
  });
}

std::string RegionPlacements::ensure(const PlacementRequest& request,
                                     const std::function<std::string(const std::string& name)>& make) {
  const auto known = [&] {
    const auto images = fleet::look_at_images(client_, request.app);
    const fleet::Image* image = find(images, request);
    return image == nullptr ? std::string() : image->ami;
  };
  std::string ami = known();
  const std::string own = own_name(request);
  for (const std::string& name : {request.name.empty() ? own : request.name, own}) {
    if (!ami.empty()) break;
    try {
      ami = make(name);
    } catch (const aws::AwsError& error) {
      if (error.aws_code() != "InvalidAMIName.Duplicate") throw;
      // An attempt before this one got through unseen, or the name is somebody else's.
      ami = known();
      if (ami.empty() && name == own) throw;
    }
  }
  wait_until_available(client_, clock_, ami);
  share(request, ami);
  return ami;
}

// Each time: whoever died before it left an AMI that nobody else may launch.
void RegionPlacements::share(const PlacementRequest& request, const std::string& ami) {
  if (request.users.empty() && request.groups.empty()) return;
  ec2::ModifyImageAttributeRequest call;
  call.image_id = ami;
  auto& added = call.launch_permission.emplace().add;
  for (const std::string& user : request.users) added.emplace_back().user_id = user;
  for (const std::string& group : request.groups) added.emplace_back().group = group;
  client_.call<ec2::ModifyImageAttribute>(call);
}

}  // namespace kiln::deploy
