// Base: which AMI a recipe starts from.
#include <algorithm>

#include <fmt/format.h>

#include "aws/client.h"
#include "builder/internal/instance.h"
#include "builder/internal/words.h"

namespace kiln::builder {
namespace {

namespace ec2 = wire::ec2;

constexpr const char* kDebianOwner = "136693071363";  // https://wiki.debian.org/Cloud/AmazonEC2Image

std::string newest(const std::vector<ec2::Image>& images) {
  const auto found =
      std::ranges::max_element(images, {}, [](const ec2::Image& image) { return str(image.creation_date); });
  return found == images.end() ? std::string() : str(found->image_id);
}

}  // namespace

std::string base_ami(Site& site, const spec::App& app) {
  if (const auto* image = std::get_if<spec::ImageBase>(&app.image.base)) {
    const catalog::Image found = catalog::Catalog(site.ledger).find(image->reference);
    const auto* placed = found.placed_in(site.account, site.region);
    if (placed != nullptr) return placed->ami;
    throw app.source.error(app.image.where,
                           fmt::format("the base {} has no AMI in {} {}", found.name(), site.account, site.region),
                           "Publish it there, by a bake or a deployment of it.");
  }

  ec2::DescribeImagesRequest request;
  bool most_recent = true;
  std::string what;
  if (const auto* debian = std::get_if<spec::DebianBase>(&app.image.base)) {
    const std::string number = debian->release == "bookworm" ? "12" : "13";
    what = fmt::format("of Debian named debian-{}-amd64-*", number);
    request.owners = {kDebianOwner};
    request.filters = {filter("name", {fmt::format("debian-{}-amd64-*", number)}), filter("state", {"available"})};
  } else if (const auto* ami = std::get_if<spec::AmiBase>(&app.image.base)) {
    what = ami->id.empty() ? "that 'ami' describes" : ami->id;
    if (!ami->id.empty()) request.image_ids = {ami->id};
    request.owners = ami->owners;
    for (const auto& [name, values] : ami->filters) request.filters.push_back(filter(name, values));
    most_recent = ami->most_recent || !ami->id.empty();
  } else {
    throw app.source.error(
        app.image.where, "a base that is no AMI cannot be baked in an instance",
        "Begin with 'from: debian:RELEASE' an 'ami', an image of the catalog, or bake offline: kiln bake.");
  }
  const auto images = site.client.call<ec2::DescribeImages>(request).images;
  if (images.empty()) {
    throw Error(ErrorCode::not_found, fmt::format("there is no AMI {} in this region", what),
                "Look for it by: aws ec2 describe-images");
  }
  if (images.size() > 1 && !most_recent) {
    throw app.source.error(app.image.where, fmt::format("{} AMIs match, and one must", images.size()),
                           "Narrow the filters, or say 'most_recent'.");
  }
  return newest(images);
}

}  // namespace kiln::builder
