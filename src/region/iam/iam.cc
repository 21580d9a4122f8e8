// Iam: its beginning, what all of its things share, and users with their keys.
#include "region/iam/iam.h"

#include <fmt/format.h>

#include <chrono>

#include "region/api_error.h"
#include "region/iam/state.h"

namespace kiln::region::iam {
namespace {

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
constexpr std::size_t kKeysPerUser = 2;
constexpr std::size_t kUsersMax = 5000;
constexpr std::size_t kTagsMax = 50;
constexpr std::size_t kSecretBytes = 30;  // 40 letters of Base64

}  // namespace

Iam::Iam(host::Loop& loop, host::Random& random, Tables& journal, Keyring& keyring, std::string account)
    : state_(std::make_unique<State>(loop, random, journal, keyring, std::move(account))) {}
Iam::~Iam() = default;

void Iam::open() {
  State& s = *state_;
  for (const auto& [name, text] : s.journal.load(kUserTable)) s.users[name] = read_user(text);
  for (const auto& [name, text] : s.journal.load(kRoleTable)) s.roles[name] = read_role(text);
  for (const auto& [name, text] : s.journal.load(kProfileTable)) s.profiles[name] = read_instance_profile(text);
  for (const auto& [arn, text] : s.journal.load(kPolicyTable)) s.policies[arn] = read_policy(text);
  for (const auto& [key, text] : s.journal.load(kSessionTable)) s.sessions[key] = read_session(text);
  for (const auto& [name, user] : s.users) {
    for (const auto& [id, key] : user.keys) s.show(user, key);
  }
  for (const auto& [key, session] : s.sessions) s.show(session);
  s.sweep();
}

const std::string& Iam::account() const { return state_->account; }

Time Iam::State::now() const { return std::chrono::floor<std::chrono::seconds>(loop.now()); }

std::string Iam::State::arn(const std::string& kind, const std::string& path, const std::string& name) const {
  return fmt::format("arn:aws:iam::{}:{}{}{}", account, kind, path, name);
}

void Iam::State::save(const User& user) { journal.put(kUserTable, user.name, write_record(user)); }
void Iam::State::save(const Role& role) { journal.put(kRoleTable, role.name, write_record(role)); }
void Iam::State::save(const InstanceProfile& profile) {
  journal.put(kProfileTable, profile.name, write_record(profile));
}
void Iam::State::save(const Policy& policy) { journal.put(kPolicyTable, policy.arn, write_record(policy)); }

void Iam::State::show(const User& user, const AccessKey& key) {
  if (!key.active) return keyring.erase(key.id);
  keyring.put(key.id, {{key.secret, "", std::nullopt}, {account, user.arn, user.id, "", false}});
}

User& Iam::State::find_user(const std::string& name) {
  auto it = users.find(name);
  if (it == users.end()) refuse_missing(fmt::format("The user with name {} cannot be found.", name));
  return it->second;
}

const User& Iam::create_user(const std::string& name, const std::string& path, const Tags& tags) {
  State& s = *state_;
  check_name("userName", name, 64);
  check_path(path);
  check_tags(tags);
  if (taken(s.users, name)) refuse_existing(fmt::format("User with name {} already exists.", name));
  if (s.users.size() >= kUsersMax) refuse_limit(fmt::format("Cannot exceed quota for UsersPerAccount: {}", kUsersMax));
  User user;
  user.name = name;
  user.path = path;
  user.id = s.new_id("AIDA");
  user.arn = s.arn("user", path, name);
  user.created = s.now();
  user.tags = tags;
  User& kept = s.users[name] = user;
  s.save(kept);
  return kept;
}

const User& Iam::user(const std::string& name) const { return state_->find_user(name); }
const std::map<std::string, User>& Iam::users() const { return state_->users; }

void Iam::delete_user(const std::string& name) {
  State& s = *state_;
  const User& user = s.find_user(name);
  if (!user.keys.empty()) refuse_delete("Cannot delete entity, must delete access keys first.");
  if (!user.attached.empty()) refuse_delete("Cannot delete entity, must detach all policies first.");
  if (!user.inline_policies.empty()) refuse_delete("Cannot delete entity, must delete policies first.");
  s.end_sessions_of(user.id);
  s.journal.erase(kUserTable, name);
  s.users.erase(name);
}

const AccessKey& Iam::create_access_key(const std::string& name) {
  State& s = *state_;
  User& user = s.find_user(name);
  if (user.keys.size() >= kKeysPerUser) {
    refuse_limit(fmt::format("Cannot exceed quota for AccessKeysPerUser: {}", kKeysPerUser));
  }
  AccessKey key;
  key.id = s.new_key_id("AKIA");
  key.secret = random_secret(kSecretBytes, s.random);
  key.created = s.now();
  AccessKey& kept = user.keys[key.id] = key;
  s.show(user, kept);
  s.save(user);
  return kept;
}

namespace {

AccessKey& find_key(User& user, const std::string& id) {
  auto it = user.keys.find(id);
  if (it == user.keys.end()) refuse_missing(fmt::format("The Access Key with id {} cannot be found.", id));
  return it->second;
}

}  // namespace

void Iam::set_access_key_active(const std::string& name, const std::string& id, bool active) {
  State& s = *state_;
  User& user = s.find_user(name);
  AccessKey& key = find_key(user, id);
  key.active = active;
  s.show(user, key);
  s.save(user);
}

void Iam::delete_access_key(const std::string& name, const std::string& id) {
  State& s = *state_;
  User& user = s.find_user(name);
  find_key(user, id);
  user.keys.erase(id);
  s.keyring.erase(id);
  s.save(user);
}

void refuse_missing(const std::string& what) { throw ApiError("NoSuchEntity", what, 404); }
void refuse_existing(const std::string& what) { throw ApiError("EntityAlreadyExists", what, 409); }
void refuse_delete(const std::string& what) { throw ApiError("DeleteConflict", what, 409); }
void refuse_limit(const std::string& what) { throw ApiError("LimitExceeded", what, 409); }
void refuse_value(const std::string& what) { throw ApiError("ValidationError", what); }

void check_name(std::string_view member, const std::string& name, std::size_t longest) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-";
  if (name.size() > longest) {
    refuse_value(
        fmt::format("1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: Member must "
                    "have length less than or equal to {}",
                    name, member, longest));
  }
  if (name.empty() || name.find_first_not_of(kAllowed) != std::string::npos) {
    refuse_value(
        fmt::format("The specified value for {} is invalid. It must contain only alphanumeric characters and/or "
                    "the following: +=,.@_-",
                    member));
  }
}

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

void check_path(const std::string& path) {
  const bool good = !path.empty() && path.size() <= 512 && path.front() == '/' && path.back() == '/' &&
                    std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (good) return;
  refuse_value(
      "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric "
      "characters and/or / characters.");
}

void check_tags(const Tags& tags) {
  if (tags.size() > kTagsMax) refuse_limit("The number of tags has reached the maximum limit.");
  Tags lower;
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > 128) {
      refuse_value(
          "1 validation error detected: Value at 'tags.1.member.key' failed to satisfy constraint: Member must "
          "have length between 1 and 128");
    }
    if (value.size() > 256) {
      refuse_value(
          "1 validation error detected: Value at 'tags.1.member.value' failed to satisfy constraint: Member must "
          "have length less than or equal to 256");
    }
    if (to_lower(key).starts_with("aws:")) throw ApiError("InvalidInput", "Tag keys cannot start with 'aws:'");
    if (!lower.emplace(to_lower(key), value).second) {
      throw ApiError("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.");
    }
  }
}

void check_range(std::string_view member, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return;
  refuse_value(
      fmt::format("1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: Member must "
                  "have value {} than or equal to {}",
                  value, member, value < least ? "greater" : "less", value < least ? least : most));
}

}  // namespace kiln::region::iam
