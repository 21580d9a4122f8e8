// Iam: one account's users, access keys, roles, instance profiles, managed policies and temporary credentials.
//
// It lives on the region's loop. Every change is in the journal before the turn ends, and in the keyring at once: a key
// that was answered signs with the next call, one that was made inactive does not. What a caller did wrong is an
// ApiError with AWS's code. Policies are checked for their form, kept and given back; they are not enforced, but for
// the trust policy of a role, which says who may assume it. https://docs.aws.amazon.com/IAM/latest/APIReference/,
// https://docs.aws.amazon.com/STS/latest/APIReference/
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "region/iam/keyring.h"
#include "region/iam/model.h"
#include "region/journal.h"

namespace kiln::region::iam {

// A user or a role, by name.
struct Holder {
  enum class Kind { user, role };
  Kind kind = Kind::user;
  std::string name;
};

struct NewRole {
  std::string name;
  std::string path = "/";
  std::string trust;
  std::string description;
  std::int64_t max_session_seconds = 3600;
  Tags tags;
};

struct AssumeRequest {
  std::string role_arn;
  std::string session_name;
  std::optional<std::int64_t> duration_seconds;
  std::optional<std::string> external_id;
};

// What the metadata service gives an instance (security-credentials/ROLE).
struct RoleCredentials {
  std::string access_key;
  std::string secret_key;
  std::string token;
  Time expiration{};
  Time updated{};
  std::string role;  // name
};

// ApiError AccessDenied, as AWS says it of a role that is not there or does not trust the caller.
[[noreturn]] void refuse_assume_role(const Principal& caller, const std::string& role_arn);

class Iam {
 public:
  // All must outlive it. `account` has 12 digits.
  Iam(host::Loop& loop, host::Random& random, Tables& journal, Keyring& keyring, std::string account);
  ~Iam();
  // Reads the journal and fills the keyring.
  void open();
  const std::string& account() const;

  // Users and their keys. NoSuchEntity, EntityAlreadyExists, DeleteConflict, LimitExceeded (two keys a user).
  const User& create_user(const std::string& name, const std::string& path, const Tags& tags);
  const User& user(const std::string& name) const;
  const std::map<std::string, User>& users() const;  // by name
  void delete_user(const std::string& name);
  const AccessKey& create_access_key(const std::string& user);
  void set_access_key_active(const std::string& user, const std::string& key, bool active);
  void delete_access_key(const std::string& user, const std::string& key);

  // Roles.
  const Role& create_role(const NewRole& request);
  const Role& role(const std::string& name) const;
  const std::map<std::string, Role>& roles() const;  // by name
  void update_role(const std::string& name, const std::optional<std::string>& description,
                   const std::optional<std::int64_t>& max_session_seconds);
  void set_trust(const std::string& name, const std::string& document);
  void delete_role(const std::string& name);

  // Inline policies, attached policies and tags of a user or role.
  const Identity& identity(const Holder& holder) const;
  void put_policy(const Holder& holder, const std::string& name, const std::string& document);
  const std::string& inline_policy(const Holder& holder, const std::string& name) const;
  void delete_inline_policy(const Holder& holder, const std::string& name);
  void attach(const Holder& holder, const std::string& policy_arn);
  void detach(const Holder& holder, const std::string& policy_arn);
  void tag(const Holder& holder, const Tags& tags);
  void untag(const Holder& holder, const std::vector<std::string>& keys);

  // Managed policies: the account's, and those of AWS's that are known here.
  const Policy& create_policy(const std::string& name, const std::string& path, const std::string& document,
                              const std::string& description, const Tags& tags);
  const Policy& policy(const std::string& arn) const;
  std::vector<const Policy*> policies() const;  // AWS's too, by name
  static bool is_aws_managed(const std::string& arn);
  std::int64_t attachments(const std::string& arn) const;
  void delete_policy(const std::string& arn);
  const PolicyVersion& create_policy_version(const std::string& arn, const std::string& document, bool set_default);
  const PolicyVersion& policy_version(const std::string& arn, const std::string& version) const;  // "v1"
  void delete_policy_version(const std::string& arn, const std::string& version);
  void set_default_policy_version(const std::string& arn, const std::string& version);

  // Instance profiles.
  const InstanceProfile& create_instance_profile(const std::string& name, const std::string& path, const Tags& tags);
  const InstanceProfile& instance_profile(const std::string& name) const;
  const InstanceProfile* find_instance_profile_by_arn(const std::string& arn) const;  // null when there is none
  const std::map<std::string, InstanceProfile>& instance_profiles() const;            // by name
  void delete_instance_profile(const std::string& name);
  void add_role(const std::string& profile, const std::string& role);
  void remove_role(const std::string& profile, const std::string& role);

  // Temporary credentials.
  // A session of a role of this account, for whom its trust policy lets in; ApiError AccessDenied otherwise, also when
  // there is no such role.
  const Session& assume_role(const Principal& caller, const AssumeRequest& request);
  // Of the caller itself: a user of this account or its root.
  const Session& session_token(const Principal& caller, const std::optional<std::int64_t>& duration_seconds);
  // The credentials of the profile's role for an instance; the same ones until an hour before they expire. Nullopt when
  // the profile is gone or has no role; ApiError AssumeRoleUnauthorizedAccess when the role does not trust EC2.
  std::optional<RoleCredentials> instance_credentials(const std::string& profile_arn, const std::string& instance_id);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region::iam
