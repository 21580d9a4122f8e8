// Tags: of everything that EC2 has.
#include <fmt/format.h>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {

void check_tags(const Tags& tags) {
  // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
  std::size_t own = 0;
  for (const auto& [key, value] : tags) {
    if (key.starts_with("aws:")) {
      throw ApiError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use");
    }
    if (key.empty() || key.size() > 128 || value.size() > 256) {
      throw ApiError(
          "InvalidParameterValue",
          fmt::format("Tag key '{}': a key has 1 to 128 characters, a value at most 256", key.substr(0, 128)));
    }
    ++own;
  }
  if (own > 50) throw ApiError("TagLimitExceeded", "The maximum number of tags for a resource has been reached: 50");
}

Tags* Ec2::State::tags_of(const std::string& id, std::function<void()>& save_it) {
  auto in = [&](auto& table) -> Tags* {
    auto it = table.find(id);
    if (it == table.end()) return nullptr;
    save_it = [this, &value = it->second] { save(value); };
    return &it->second.tags;
  };
  if (Tags* found = in(instances)) return found;
  if (Tags* found = in(images)) return found;
  if (Tags* found = in(volumes)) return found;
  if (Tags* found = in(snapshots)) return found;
  if (Tags* found = in(templates)) return found;
  if (Tags* found = in(groups)) return found;
  if (Tags* found = in(elastic)) return found;
  if (Tags* found = vpcs.tags_of(id)) {
    save_it = [this, id] { vpcs.save_tags(id); };
    return found;
  }
  for (auto& [key, instance] : instances) {
    if (instance.interface_id != id || !instance.on_network()) continue;
    save_it = [this, &value = instance] { save(value); };
    return &instance.interface_tags;
  }
  for (auto& [name, pair] : keys) {
    if (pair.id != id) continue;
    save_it = [this, &value = pair] { save(value); };
    return &pair.tags;
  }
  return nullptr;
}

namespace {

[[noreturn]] void refuse(const std::string& id) {
  throw ApiError("InvalidID",
                 fmt::format("The ID '{}' is not valid, or is of something whose tags this region does not keep", id));
}

}  // namespace

void Ec2::create_tags(const std::vector<std::string>& ids, const Tags& tags) {
  check_tags(tags);
  for (bool really : {false, true}) {
    for (const std::string& id : ids) {
      std::function<void()> save_it;
      Tags* found = state_->tags_of(id, save_it);
      if (found == nullptr) refuse(id);
      Tags merged = *found;
      for (const auto& [key, value] : tags) merged[key] = value;
      Tags own = merged;
      std::erase_if(own, [](const auto& tag) { return tag.first.starts_with("aws:"); });
      check_tags(own);
      if (const Instance* one = find_instance(id); one != nullptr && one->metadata.tags) check_metadata_tags(own);
      if (!really) continue;
      *found = merged;
      save_it();
    }
  }
}

void Ec2::delete_tags(const std::vector<std::string>& ids,
                      const std::map<std::string, std::optional<std::string>>& tags) {
  std::function<void()> save_it;
  for (const std::string& id : ids) {
    if (state_->tags_of(id, save_it) == nullptr) refuse(id);
  }
  for (const std::string& id : ids) {
    Tags* found = state_->tags_of(id, save_it);
    if (tags.empty()) std::erase_if(*found, [](const auto& tag) { return !tag.first.starts_with("aws:"); });
    for (const auto& [key, value] : tags) {
      auto it = found->find(key);
      if (it != found->end() && (!value || it->second == *value)) found->erase(it);
    }
    save_it();
  }
}

std::vector<Ec2::Tagged> Ec2::tagged() const {
  std::vector<Tagged> out;
  for (const auto& [id, one] : state_->instances) out.push_back({id, "instance", &one.tags});
  for (const auto& [id, one] : state_->instances) {
    if (one.on_network()) out.push_back({one.interface_id, "network-interface", &one.interface_tags});
  }
  for (const auto& [id, one] : state_->images) out.push_back({id, "image", &one.tags});
  for (const auto& [id, one] : state_->volumes) out.push_back({id, "volume", &one.tags});
  for (const auto& [id, one] : state_->snapshots) out.push_back({id, "snapshot", &one.tags});
  for (const auto& [id, one] : state_->templates) out.push_back({id, "launch-template", &one.tags});
  for (const auto& [id, one] : state_->groups) out.push_back({id, "security-group", &one.tags});
  for (const auto& [id, one] : state_->elastic) out.push_back({id, "elastic-ip", &one.tags});
  for (const auto& [id, one] : state_->vpcs.vpcs()) out.push_back({id, "vpc", &one.tags});
  for (const auto& [id, one] : state_->vpcs.subnets()) out.push_back({id, "subnet", &one.tags});
  for (const auto& [id, one] : state_->vpcs.route_tables()) out.push_back({id, "route-table", &one.tags});
  for (const auto& [id, one] : state_->vpcs.gateways()) out.push_back({id, "internet-gateway", &one.tags});
  for (const auto& [name, one] : state_->keys) out.push_back({one.id, "key-pair", &one.tags});
  return out;
}

}  // namespace kiln::region::ec2
