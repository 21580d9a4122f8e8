// Roles, and instance profiles, which carry a role into an instance.
#include <fmt/format.h>

#include "region/api_error.h"
#include "region/iam/policy_document.h"
#include "region/iam/state.h"

namespace kiln::region::iam {
namespace {

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
constexpr std::size_t kRolesMax = 1000;
constexpr std::size_t kProfilesMax = 1000;
constexpr std::size_t kTrustMax = 2048;
constexpr std::int64_t kSessionLeast = 3600;
constexpr std::int64_t kSessionMost = 43'200;

void check_role(const std::string& description, std::int64_t max_session_seconds) {
  if (description.size() > 1000) {
    refuse_value(
        "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have "
        "length less than or equal to 1000");
  }
  check_range("maxSessionDuration", max_session_seconds, kSessionLeast, kSessionMost);
}

}  // namespace

Role& Iam::State::find_role(const std::string& name) {
  auto it = roles.find(name);
  if (it == roles.end()) refuse_missing(fmt::format("The role with name {} cannot be found.", name));
  return it->second;
}

void Iam::State::trust(Role& role, const std::string& document) {
  const TrustPolicy policy(document);
  if (counted_size(document) > kTrustMax) {
    refuse_limit(fmt::format("Cannot exceed quota for ACLSizePerRole: {}", kTrustMax));
  }
  std::map<std::string, std::string> ids;
  const auto note = [&](const auto& things, const std::string& arn) {
    for (const auto& [name, one] : things) {
      if (one.arn == arn) ids[arn] = one.id;
    }
  };
  for (const std::string& arn : policy.named()) {
    if (arn.find("::" + account + ":") == std::string::npos) continue;  // another account's are taken by their ARN
    note(users, arn);
    note(roles, arn);
    if (!ids.contains(arn)) {
      throw ApiError("MalformedPolicyDocument", fmt::format("Invalid principal in policy: \"AWS\":\"{}\"", arn));
    }
  }
  role.trust = document;
  role.trusted_ids = std::move(ids);
}

const Role& Iam::create_role(const NewRole& request) {
  State& s = *state_;
  check_name("roleName", request.name, 64);
  check_path(request.path);
  check_tags(request.tags);
  check_role(request.description, request.max_session_seconds);
  if (taken(s.roles, request.name)) refuse_existing(fmt::format("Role with name {} already exists.", request.name));
  if (s.roles.size() >= kRolesMax) refuse_limit(fmt::format("Cannot exceed quota for RolesPerAccount: {}", kRolesMax));
  Role role;
  role.name = request.name;
  role.path = request.path;
  role.id = s.new_id("AROA");
  role.arn = s.arn("role", request.path, request.name);
  role.created = s.now();
  role.tags = request.tags;
  role.description = request.description;
  role.max_session_seconds = request.max_session_seconds;
  s.trust(role, request.trust);
  Role& kept = s.roles[role.name] = role;
  s.save(kept);
  return kept;
}

const Role& Iam::role(const std::string& name) const { return state_->find_role(name); }
const std::map<std::string, Role>& Iam::roles() const { return state_->roles; }

void Iam::update_role(const std::string& name, const std::optional<std::string>& description,
                      const std::optional<std::int64_t>& max_session_seconds) {
  State& s = *state_;
  Role& role = s.find_role(name);
  check_role(description.value_or(""), max_session_seconds.value_or(kSessionLeast));
  if (description) role.description = *description;
  if (max_session_seconds) role.max_session_seconds = *max_session_seconds;
  s.save(role);
}

void Iam::set_trust(const std::string& name, const std::string& document) {
  State& s = *state_;
  Role& role = s.find_role(name);
  s.trust(role, document);
  s.save(role);
}

void Iam::delete_role(const std::string& name) {
  State& s = *state_;
  const Role& role = s.find_role(name);
  for (const auto& [profile_name, profile] : s.profiles) {
    if (profile.role == name) refuse_delete("Cannot delete entity, must remove roles from instance profile first.");
  }
  if (!role.attached.empty()) refuse_delete("Cannot delete entity, must detach all policies first.");
  if (!role.inline_policies.empty()) refuse_delete("Cannot delete entity, must delete policies first.");
  s.end_sessions_of(role.id);
  s.journal.erase(kRoleTable, name);
  s.roles.erase(name);
}

InstanceProfile& Iam::State::find_profile(const std::string& name) {
  auto it = profiles.find(name);
  if (it == profiles.end()) refuse_missing(fmt::format("Instance Profile {} cannot be found.", name));
  return it->second;
}

const InstanceProfile& Iam::create_instance_profile(const std::string& name, const std::string& path,
                                                    const Tags& tags) {
  State& s = *state_;
  check_name("instanceProfileName", name, 128);
  check_path(path);
  check_tags(tags);
  if (taken(s.profiles, name)) refuse_existing(fmt::format("Instance Profile {} already exists.", name));
  if (s.profiles.size() >= kProfilesMax) {
    refuse_limit(fmt::format("Cannot exceed quota for InstanceProfilesPerAccount: {}", kProfilesMax));
  }
  InstanceProfile profile;
  profile.name = name;
  profile.path = path;
  profile.id = s.new_id("AIPA");
  profile.arn = s.arn("instance-profile", path, name);
  profile.created = s.now();
  profile.tags = tags;
  InstanceProfile& kept = s.profiles[name] = profile;
  s.save(kept);
  return kept;
}

const InstanceProfile& Iam::instance_profile(const std::string& name) const { return state_->find_profile(name); }
const std::map<std::string, InstanceProfile>& Iam::instance_profiles() const { return state_->profiles; }

const InstanceProfile* Iam::find_instance_profile_by_arn(const std::string& arn) const {
  for (const auto& [name, profile] : state_->profiles) {
    if (profile.arn == arn) return &profile;
  }
  return nullptr;
}

void Iam::delete_instance_profile(const std::string& name) {
  State& s = *state_;
  if (!s.find_profile(name).role.empty()) {
    refuse_delete("Cannot delete entity, must remove roles from instance profile first.");
  }
  s.journal.erase(kProfileTable, name);
  s.profiles.erase(name);
}

void Iam::add_role(const std::string& profile_name, const std::string& role_name) {
  State& s = *state_;
  InstanceProfile& profile = s.find_profile(profile_name);
  s.find_role(role_name);
  if (!profile.role.empty()) refuse_limit("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1");
  profile.role = role_name;
  s.save(profile);
}

void Iam::remove_role(const std::string& profile_name, const std::string& role_name) {
  State& s = *state_;
  InstanceProfile& profile = s.find_profile(profile_name);
  if (profile.role != role_name) refuse_missing(fmt::format("The role with name {} cannot be found.", role_name));
  profile.role.clear();
  s.save(profile);
}

}  // namespace kiln::region::iam
