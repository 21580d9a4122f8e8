// AmiBases: EC2's filters on names that are known here, and DescribeImages of the local region for the rest.
#include "cli/ami_bases.h"

#include <fmt/format.h>

#include <algorithm>

#include "aws/client.h"
#include "base/text.h"
#include "cli/base_images.h"
#include "cli/session.h"
#include "region/ec2/base_images.h"
#include "wire/ec2.h"

namespace kiln::cli {
namespace {

namespace ec2 = wire::ec2;

constexpr std::string_view kOurs = "kiln:";
constexpr const char* kWay = "bake it in an instance, where AWS has it: kiln bake --in-instance";

// What EC2 knows of the image under a filter's name; nullopt for what this one has not.
std::optional<std::string> attribute(const region::ec2::BaseImage& image, const std::string& filter) {
  const std::map<std::string, std::string> known = {{"name", image.name},
                                                    {"description", image.description},
                                                    {"architecture", image.architecture},
                                                    {"owner-id", image.owner},
                                                    {"root-device-name", image.root_device},
                                                    {"root-device-type", "ebs"},
                                                    {"virtualization-type", "hvm"},
                                                    {"image-type", "machine"},
                                                    {"is-public", "true"},
                                                    {"state", "available"},
                                                    {"ena-support", "true"},
                                                    {"hypervisor", "xen"}};
  const auto found = known.find(filter);
  if (found == known.end()) return std::nullopt;
  return found->second;
}

bool matches(const region::ec2::BaseImage& image, const spec::AmiBase& base) {
  if (!base.id.empty() || std::ranges::find(base.owners, image.owner) == base.owners.end()) return false;
  return std::ranges::all_of(base.filters, [&](const auto& filter) {
    const auto value = attribute(image, filter.first);
    return value && std::ranges::any_of(filter.second,
                                        [&](const std::string& wanted) { return wildcard_match(wanted, *value); });
  });
}

std::string described(const spec::AmiBase& base) {
  if (!base.id.empty()) return base.id;
  std::string text = "owners " + join(base.owners, ", ");
  for (const auto& [name, values] : base.filters) text += fmt::format(", {} {}", name, join(values, " or "));
  return text;
}

ec2::DescribeImagesRequest request_of(const spec::AmiBase& base) {
  ec2::DescribeImagesRequest request;
  if (!base.id.empty()) {
    request.image_ids = {base.id};
    return request;
  }
  request.owners = base.owners;
  for (const auto& [name, values] : base.filters) {
    ec2::Filter filter;
    filter.name = name;
    filter.values = values;
    request.filters.push_back(filter);
  }
  return request;
}

}  // namespace

Digest AmiBases::asked(const spec::App& app, const spec::AmiBase& base) {
  const auto record = read_region_record(context_, std::string(kDefaultRegion));
  const auto refuse = [&](const std::string& why) {
    return app.source.error(app.image.where,
                            fmt::format("the AMI ({}) cannot be had on this machine: {}", described(base), why), kWay);
  };
  if (!record || !record->running())
    throw refuse("it is none of the public images that Kiln has, and no region runs here");
  Connection connection(context_, spec::Environment{.name = "local"});
  std::vector<ec2::Image> images;
  try {
    images = connection.client().call<ec2::DescribeImages>(request_of(base)).images;
  } catch (const Error& error) {
    throw refuse(error.message());
  }
  if (images.empty()) throw refuse("the region here has none");
  if (images.size() > 1 && !base.most_recent)
    throw refuse(fmt::format("{} match, and 'most_recent' is not true", images.size()));
  const ec2::Image& newest =
      *std::ranges::max_element(images, {}, [](const ec2::Image& image) { return image.creation_date.value_or(""); });
  found_ = {newest.image_id.value_or(""), newest.name.value_or(""), newest.owner_id.value_or(""),
            newest.creation_date.value_or(""), connection.region()};
  const region::ec2::BaseImage debian = region::ec2::debian_12();
  const std::string location = newest.image_location.value_or("");
  if (location == debian.owner + "/" + debian.name) return bake_debian_12(context_.home, store_, context_.clock, say_);
  if (!location.starts_with(kOurs))
    throw refuse(fmt::format("{} has a disk of its own and no image of the store", found_.id));
  return Digest::parse(location.substr(kOurs.size()));
}

Digest AmiBases::digest_of(const spec::App& app, const spec::AmiBase& base) {
  const region::ec2::BaseImage debian = region::ec2::debian_12();
  if (!matches(debian, base)) return asked(app, base);
  found_ = {"", debian.name, debian.owner, format_iso8601(debian.created), ""};
  return bake_debian_12(context_.home, store_, context_.clock, say_);
}

std::vector<store::Blob> AmiBases::layers_of(const spec::App& app, const std::string& app_folder) {
  const auto* base = std::get_if<spec::AmiBase>(&app.image.base);
  if (base == nullptr) return others_ == nullptr ? std::vector<store::Blob>{} : others_->layers_of(app, app_folder);
  const store::Image image = store_.image(digest_of(app, *base));
  return image.layers;
}

}  // namespace kiln::cli
