// Image attributes: who sees and may launch an AMI, for how long, and what protects it.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

constexpr Duration kMinute{60'000};
constexpr Duration kDay{24 * 3'600'000};
constexpr int kDeprecationYears = 10;
constexpr int kPublicDeprecationYears = 2;

Time years_after(Time time, int years) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  auto later = date + std::chrono::years(years);
  if (!later.ok()) later = later.year() / later.month() / std::chrono::last;
  return Time(std::chrono::duration_cast<Duration>(std::chrono::sys_days(later).time_since_epoch() + (time - day)));
}

// Those that can be changed: neither being made nor failed.
void require_available(const Image& image) {
  if (image.state == ImageState::available) return;
  throw ApiError("InvalidAMIID.Unavailable",
                 fmt::format("The image ID '{}' is not available: it is {}", image.id, to_string(image.state)));
}

}  // namespace

const Image& Ec2::image(const std::string& id) const {
  const auto own = state_->images.find(id);
  if (own != state_->images.end()) return own->second;
  for (const Image* other : visible_images()) {
    if (other->id == id) return *other;
  }
  if (!well_formed(id, "ami-")) throw ApiError("InvalidAMIID.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidAMIID.NotFound", fmt::format("The image id '[{}]' does not exist", id));
}

Image& Ec2::State::own_image(const std::string& id) {
  const auto own = images.find(id);
  if (own != images.end()) return own->second;
  for (const Image* other : others_images()) {
    if (other->id == id) throw ApiError("AuthFailure", fmt::format("Not authorized for image:{}", id), 403);
  }
  if (!well_formed(id, "ami-")) throw ApiError("InvalidAMIID.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidAMIID.NotFound", fmt::format("The image id '[{}]' does not exist", id));
}

std::vector<const Image*> Ec2::State::others_images() const {
  std::vector<const Image*> all;
  for (const auto& [id, image] : public_images) all.push_back(&image);
  if (!foreign_images) return all;
  for (const Image* image : foreign_images()) all.push_back(image);
  return all;
}

std::vector<const Image*> Ec2::visible_images() const {
  std::vector<const Image*> all;
  for (const auto& [id, image] : state_->images) all.push_back(&image);
  for (const Image* image : state_->others_images()) all.push_back(image);
  std::ranges::sort(all, {}, &Image::id);
  return all;
}

std::vector<const Image*> Ec2::images_shared_with(const std::string& account) const {
  std::vector<const Image*> shared;
  for (const auto& [id, image] : state_->images) {
    if (image.state == ImageState::available && image.sharing.with(account)) shared.push_back(&image);
  }
  return shared;
}

void Ec2::set_foreign_images(std::function<std::vector<const Image*>()> visible) {
  state_->foreign_images = std::move(visible);
}

void Ec2::set_other_regions(std::function<const Ec2*(const std::string&)> of_this_account) {
  state_->other_regions = std::move(of_this_account);
}

void Ec2::describe_image_as(const std::string& id, const std::string& description) {
  Image& image = state_->own_image(id);
  image.description = description;
  state_->save(image);
}

void Ec2::share_image(const std::string& id, const SharingChange& change) {
  Image& image = state_->own_image(id);
  require_available(image);
  Sharing changed = image.sharing;
  change_sharing(changed, change, "InvalidAMIAttributeItemValue");
  const bool encrypted =
      std::ranges::any_of(image.devices, [](const BlockDevice& device) { return device.encrypted.value_or(false); });
  if (changed.everybody && encrypted) {
    throw ApiError("InvalidParameter", "An image with encrypted snapshots cannot be shared publicly");
  }
  // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deprecate.html: a public AMI is deprecated two years after
  // it was made, at the latest.
  if (changed.everybody) {
    const Time last = years_after(image.created, kPublicDeprecationYears);
    image.deprecation = std::min(image.deprecation.value_or(last), last);
  }
  image.sharing = changed;
  state_->save(image);
}

void Ec2::reset_image_sharing(const std::string& id) {
  Image& image = state_->own_image(id);
  image.sharing = Sharing();
  state_->save(image);
}

void Ec2::require_tokens_of(const std::string& id) {
  Image& image = state_->own_image(id);
  image.imds_support = "v2.0";
  state_->save(image);
}

void Ec2::disable_image(const std::string& id) {
  Image& image = state_->own_image(id);
  if (image.state == ImageState::disabled) return;
  require_available(image);
  image.state = ImageState::disabled;
  image.sharing = Sharing();
  state_->save(image);
}

void Ec2::enable_image(const std::string& id) {
  Image& image = state_->own_image(id);
  if (image.state != ImageState::disabled) return require_available(image);
  image.state = ImageState::available;
  state_->save(image);
}

void Ec2::deprecate_image(const std::string& id, const std::optional<Time>& at) {
  State& s = *state_;
  Image& image = s.own_image(id);
  if (!at) {
    image.deprecation.reset();
    if (image.sharing.everybody) image.deprecation = years_after(image.created, kPublicDeprecationYears);
    return s.save(image);
  }
  const Time now = s.loop.now();
  // To the nearest minute.
  const Time rounded(std::chrono::floor<std::chrono::minutes>(at->time_since_epoch() + kMinute / 2));
  const Time last = image.sharing.everybody ? years_after(image.created, kPublicDeprecationYears)
                                            : years_after(now, kDeprecationYears);
  if (*at < now || rounded > last) {
    throw ApiError("InvalidParameterValue", fmt::format("The deprecation time {} is not between now and {}",
                                                        format_iso8601(*at), format_iso8601(last)));
  }
  image.deprecation = rounded;
  s.save(image);
}

void Ec2::protect_image(const std::string& id, bool cools_down) {
  Image& image = state_->own_image(id);
  image.protected_from_deregistration = true;
  image.protection_cools_down = cools_down;
  image.protected_until.reset();
  state_->save(image);
}

void Ec2::unprotect_image(const std::string& id) {
  Image& image = state_->own_image(id);
  if (!image.protected_from_deregistration) return;
  image.protected_from_deregistration = false;
  if (image.protection_cools_down) image.protected_until = state_->loop.now() + kDay;
  state_->save(image);
}

}  // namespace kiln::region::ec2
