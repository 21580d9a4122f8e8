// Policies: managed ones with their versions, and what users and roles hold of them.
#include <fmt/format.h>

#include <tuple>
#include <utility>

#include "region/api_error.h"
#include "region/iam/policy_document.h"
#include "region/iam/state.h"

namespace kiln::region::iam {
namespace {

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
constexpr std::size_t kPoliciesMax = 1500;
constexpr std::size_t kAttachedMax = 10;
constexpr std::size_t kVersionsMax = 5;
constexpr std::size_t kManagedBytes = 6144;
constexpr std::size_t kUserBytes = 2048;
constexpr std::size_t kRoleBytes = 10'240;

const char* kind_name(const Holder& holder) { return holder.kind == Holder::Kind::user ? "user" : "role"; }

void check_managed(const std::string& document) {
  check_identity_policy(document);
  if (counted_size(document) > kManagedBytes) {
    refuse_limit(fmt::format("Cannot exceed quota for PolicySize: {}", kManagedBytes));
  }
}

void check_arn(const std::string& arn) {
  if (arn.size() >= 20 && arn.starts_with("arn:aws:iam::") && arn.find(":policy/") != std::string::npos) return;
  throw ApiError("InvalidInput", fmt::format("ARN {} is not valid.", arn));
}

// "v3" → 3; 0 for what is no version's name.
std::int64_t number_of(const std::string& version) {
  if (!version.starts_with("v")) return 0;
  return parse_int(std::string_view(version).substr(1)).value_or(0);
}

[[noreturn]] void refuse_aws_managed() {
  throw ApiError("AccessDenied", "AWS managed policies belong to AWS and cannot be changed", 403);
}

}  // namespace

// What users and roles hold.

Identity& Iam::State::find(const Holder& holder) {
  if (holder.kind == Holder::Kind::user) return find_user(holder.name);
  return find_role(holder.name);
}

void Iam::State::save(const Holder& holder) {
  if (holder.kind == Holder::Kind::user) return save(find_user(holder.name));
  save(find_role(holder.name));
}

const Identity& Iam::identity(const Holder& holder) const { return state_->find(holder); }

void Iam::put_policy(const Holder& holder, const std::string& name, const std::string& document) {
  State& s = *state_;
  Identity& identity = s.find(holder);
  check_name("policyName", name, 128);
  check_identity_policy(document);
  std::size_t size = counted_size(document);
  for (const auto& [other, text] : identity.inline_policies) {
    if (other != name) size += counted_size(text);
  }
  const std::size_t most = holder.kind == Holder::Kind::user ? kUserBytes : kRoleBytes;
  if (size > most) {
    refuse_limit(
        fmt::format("Maximum policy size of {} bytes exceeded for {} {}", most, kind_name(holder), holder.name));
  }
  identity.inline_policies[name] = document;
  s.save(holder);
}

const std::string& Iam::inline_policy(const Holder& holder, const std::string& name) const {
  const Identity& identity = state_->find(holder);
  auto it = identity.inline_policies.find(name);
  if (it == identity.inline_policies.end()) {
    refuse_missing(fmt::format("The {} policy with name {} cannot be found.", kind_name(holder), name));
  }
  return it->second;
}

void Iam::delete_inline_policy(const Holder& holder, const std::string& name) {
  inline_policy(holder, name);
  state_->find(holder).inline_policies.erase(name);
  state_->save(holder);
}

void Iam::attach(const Holder& holder, const std::string& arn) {
  State& s = *state_;
  Identity& identity = s.find(holder);
  check_arn(arn);
  if (!s.policies.contains(arn) && !managed_policies().contains(arn)) {
    refuse_missing(fmt::format("Policy {} does not exist or is not attachable.", arn));
  }
  if (identity.attached.size() >= kAttachedMax && !identity.attached.contains(arn)) {
    refuse_limit(fmt::format("Cannot exceed quota for PoliciesPer{}: {}",
                             holder.kind == Holder::Kind::user ? "User" : "Role", kAttachedMax));
  }
  identity.attached.insert(arn);
  s.save(holder);
}

void Iam::detach(const Holder& holder, const std::string& arn) {
  State& s = *state_;
  Identity& identity = s.find(holder);
  check_arn(arn);
  if (identity.attached.erase(arn) == 0) refuse_missing(fmt::format("Policy {} was not found.", arn));
  s.save(holder);
}

void Iam::tag(const Holder& holder, const Tags& tags) {
  Identity& identity = state_->find(holder);
  check_tags(tags);
  Tags all = identity.tags;
  for (const auto& one : tags) {
    // A key is the same whatever its case; the newest spelling is kept.
    std::erase_if(all, [&](const auto& known) { return same_name(known.first, one.first); });
    all[one.first] = one.second;
  }
  check_tags(all);
  identity.tags = std::move(all);
  state_->save(holder);
}

void Iam::untag(const Holder& holder, const std::vector<std::string>& keys) {
  Identity& identity = state_->find(holder);
  for (const std::string& key : keys) {
    std::erase_if(identity.tags, [&](const auto& known) { return same_name(known.first, key); });
  }
  state_->save(holder);
}

// Managed policies.

bool Iam::is_aws_managed(const std::string& arn) { return arn.starts_with("arn:aws:iam::aws:"); }

const Policy& Iam::policy(const std::string& arn) const {
  check_arn(arn);
  for (const std::map<std::string, Policy>* policies : {&std::as_const(state_->policies), &managed_policies()}) {
    auto it = policies->find(arn);
    if (it != policies->end()) return it->second;
  }
  refuse_missing(fmt::format("Policy {} was not found.", arn));
}

Policy& Iam::State::find_own_policy(const std::string& arn) {
  check_arn(arn);
  if (is_aws_managed(arn)) refuse_aws_managed();
  auto it = policies.find(arn);
  if (it == policies.end()) refuse_missing(fmt::format("Policy {} was not found.", arn));
  return it->second;
}

std::vector<const Policy*> Iam::policies() const {
  std::vector<const Policy*> out;
  for (const std::map<std::string, Policy>* policies : {&std::as_const(state_->policies), &managed_policies()}) {
    for (const auto& [arn, policy] : *policies) out.push_back(&policy);
  }
  std::sort(out.begin(), out.end(),
            [](const Policy* a, const Policy* b) { return std::tie(a->name, a->arn) < std::tie(b->name, b->arn); });
  return out;
}

std::int64_t Iam::attachments(const std::string& arn) const {
  std::int64_t count = 0;
  for (const auto& [name, user] : state_->users) count += user.attached.contains(arn) ? 1 : 0;
  for (const auto& [name, role] : state_->roles) count += role.attached.contains(arn) ? 1 : 0;
  return count;
}

const Policy& Iam::create_policy(const std::string& name, const std::string& path, const std::string& document,
                                 const std::string& description, const Tags& tags) {
  State& s = *state_;
  check_name("policyName", name, 128);
  check_path(path);
  check_tags(tags);
  if (description.size() > 1000) {
    refuse_value(
        "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have "
        "length less than or equal to 1000");
  }
  check_managed(document);
  for (const auto& [arn, policy] : s.policies) {
    if (same_name(policy.name, name)) {
      refuse_existing(fmt::format("A policy called {} already exists. Duplicate names are not allowed.", name));
    }
  }
  if (s.policies.size() >= kPoliciesMax) {
    refuse_limit(fmt::format("Cannot exceed quota for PoliciesPerAccount: {}", kPoliciesMax));
  }
  Policy policy;
  policy.name = name;
  policy.path = path;
  policy.id = s.new_id("ANPA");
  policy.arn = s.arn("policy", path, name);
  policy.description = description;
  policy.created = policy.updated = s.now();
  policy.tags = tags;
  policy.versions[1] = {1, document, policy.created};
  Policy& kept = s.policies[policy.arn] = policy;
  s.save(kept);
  return kept;
}

void Iam::delete_policy(const std::string& arn) {
  State& s = *state_;
  const Policy& policy = s.find_own_policy(arn);
  if (attachments(arn) > 0) refuse_delete("Cannot delete a policy attached to entities.");
  if (policy.versions.size() > 1) {
    refuse_delete(
        "This policy has more than one version. Before you delete a policy, you must delete the policy's "
        "versions. The default version is deleted with the policy.");
  }
  s.journal.erase(kPolicyTable, arn);
  s.policies.erase(arn);
}

const PolicyVersion& Iam::create_policy_version(const std::string& arn, const std::string& document, bool set_default) {
  State& s = *state_;
  Policy& policy = s.find_own_policy(arn);
  check_managed(document);
  if (policy.versions.size() >= kVersionsMax) {
    refuse_limit(
        fmt::format("A managed policy can have up to {} versions. Before you create a new version, you must "
                    "delete an existing version.",
                    kVersionsMax));
  }
  const std::int64_t number = ++policy.latest_version;
  PolicyVersion& made = policy.versions[number] = {number, document, s.now()};
  if (set_default) policy.default_version = number;
  policy.updated = s.now();
  s.save(policy);
  return made;
}

const PolicyVersion& Iam::policy_version(const std::string& arn, const std::string& version) const {
  const Policy& from = policy(arn);
  auto it = from.versions.find(number_of(version));
  if (it == from.versions.end()) {
    refuse_missing(fmt::format("Policy {} version {} does not exist or is not attachable.", arn, version));
  }
  return it->second;
}

void Iam::delete_policy_version(const std::string& arn, const std::string& version) {
  State& s = *state_;
  Policy& policy = s.find_own_policy(arn);
  const std::int64_t number = policy_version(arn, version).number;
  if (number == policy.default_version) refuse_delete("Cannot delete the default version of a policy.");
  policy.versions.erase(number);
  policy.updated = s.now();
  s.save(policy);
}

void Iam::set_default_policy_version(const std::string& arn, const std::string& version) {
  State& s = *state_;
  Policy& policy = s.find_own_policy(arn);
  policy.default_version = policy_version(arn, version).number;
  policy.updated = s.now();
  s.save(policy);
}

}  // namespace kiln::region::iam
