// Fleet: questions about one observation.
#include "fleet/fleet.h"

#include <fmt/format.h>

#include <algorithm>

#include "fleet/names.h"

namespace kiln::fleet {
namespace {

std::string tag(const Tags& tags, std::string_view key) {
  auto found = tags.find(std::string(key));
  return found == tags.end() ? std::string() : found->second;
}

}  // namespace

const TemplateVersion* LaunchTemplate::version(std::int64_t number) const {
  auto found = std::ranges::find(versions, number, &TemplateVersion::number);
  return found == versions.end() ? nullptr : &*found;
}

std::string Image::version() const { return tag(tags, kTagVersion); }
std::string Image::digest() const { return tag(tags, kTagDigest); }

bool Refresh::active() const {
  return status == "Pending" || status == "InProgress" || status == "Cancelling" || status == "RollbackInProgress" ||
         status == "Baking";
}

bool Refresh::going_back() const { return status.starts_with("Rollback"); }

bool Fleet::empty() const {
  return !instance_security_group && !balancer_security_group && !launch_template && !target_group && !load_balancer &&
         !group;
}

const Refresh* Fleet::active_refresh() const {
  auto found = std::ranges::find_if(refreshes, &Refresh::active);
  return found == refreshes.end() ? nullptr : &*found;
}

std::size_t Fleet::serving(std::int64_t template_version) const {
  if (!group) return 0;
  return static_cast<std::size_t>(std::ranges::count_if(group->instances, [&](const Instance& instance) {
    return instance.template_version == template_version && instance.serves();
  }));
}

std::size_t Fleet::serving() const {
  if (!group) return 0;
  return static_cast<std::size_t>(std::ranges::count_if(group->instances, &Instance::serves));
}

std::string Fleet::image_version(std::int64_t template_version) const {
  const TemplateVersion* version = launch_template ? launch_template->version(template_version) : nullptr;
  if (version == nullptr) return fmt::format("version {}", template_version);
  if (!version->image_version.empty()) return version->image_version;
  auto image = images.find(version->ami);
  if (image != images.end() && !image->second.version().empty()) return image->second.version();
  return fmt::format("version {}", template_version);
}

std::string Fleet::url() const {
  if (!load_balancer || load_balancer->address.empty() || listeners.empty()) return {};
  const int port = listeners.front().port;
  return port == 80 ? fmt::format("http://{}", load_balancer->address)
                    : fmt::format("http://{}:{}", load_balancer->address, port);
}

}  // namespace kiln::fleet
