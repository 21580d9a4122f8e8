// State: what the parts of IAM share: all of its data, on the loop's thread. Private to this folder.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

#include "base/text.h"
#include "region/iam/iam.h"
#include "region/iam/ids.h"

namespace kiln::region::iam {

inline constexpr const char* kUserTable = "iam.user";
inline constexpr const char* kRoleTable = "iam.role";
inline constexpr const char* kProfileTable = "iam.instance_profile";
inline constexpr const char* kPolicyTable = "iam.policy";
inline constexpr const char* kSessionTable = "iam.session";

struct Iam::State {
  State(host::Loop& on, host::Random& chance, Tables& book, Keyring& ring, std::string owner)
      : loop(on), random(chance), journal(book), keyring(ring), account(std::move(owner)) {}

  host::Loop& loop;
  host::Random& random;
  Tables& journal;
  Keyring& keyring;
  std::string account;

  std::map<std::string, User> users;
  std::map<std::string, Role> roles;
  std::map<std::string, InstanceProfile> profiles;
  std::map<std::string, Policy> policies;          // the account's own, by ARN
  std::map<std::string, Session> sessions;         // by access key
  std::map<std::string, std::string> by_instance;  // instance → access key of its newest session
  host::TimerId sweep_timer = 0;

  Time now() const;  // to the second, as IAM keeps times
  std::string new_id(const std::string& prefix) { return random_id(prefix, random); }
  std::string new_key_id(const std::string& prefix) { return access_key_id(prefix, account, random.next()); }
  std::string arn(const std::string& kind, const std::string& path, const std::string& name) const;

  void save(const User& user);
  void save(const Role& role);
  void save(const InstanceProfile& profile);
  void save(const Policy& policy);
  void save(const Holder& holder);
  void show(const User& user, const AccessKey& key);  // to the keyring: an active key signs

  User& find_user(const std::string& name);
  Role& find_role(const std::string& name);
  Identity& find(const Holder& holder);
  InstanceProfile& find_profile(const std::string& name);
  Policy& find_own_policy(const std::string& arn);

  // roles.cc: the trust policy is one, and whom it names is there.
  void trust(Role& role, const std::string& document);

  // sessions.cc
  const Session& begin_session(const Principal& principal, const std::string& source_id, Duration lasts,
                               const std::string& instance);
  void show(const Session& session);  // to the keyring
  void end_session(const std::string& access_key);
  void end_sessions_of(const std::string& source_id);
  void sweep();  // what expired long ago, and again later while there are any
};

// Refusals in AWS's words and codes.
[[noreturn]] void refuse_missing(const std::string& what);   // NoSuchEntity 404
[[noreturn]] void refuse_existing(const std::string& what);  // EntityAlreadyExists 409
[[noreturn]] void refuse_delete(const std::string& what);    // DeleteConflict 409
[[noreturn]] void refuse_limit(const std::string& what);     // LimitExceeded 409
[[noreturn]] void refuse_value(const std::string& what);     // ValidationError 400
// `member` is the API's: "userName". Names have letters, digits and +=,.@_-
void check_name(std::string_view member, const std::string& name, std::size_t longest);
void check_path(const std::string& path);
void check_tags(const Tags& tags);
// A limit of seconds, as a service's model says it.
void check_range(std::string_view member, std::int64_t value, std::int64_t least, std::int64_t most);
// Names of one kind are not distinguished by case.
bool same_name(std::string_view a, std::string_view b);
// `things` are by name.
template <class Things>
bool taken(const Things& things, const std::string& name) {
  return std::any_of(things.begin(), things.end(), [&](const auto& one) { return same_name(one.first, name); });
}

// managed_policies.cc: AWS's, by ARN.
const std::map<std::string, Policy>& managed_policies();

// record.cc: the journal's form of each.
std::string write_record(const User& value);
std::string write_record(const Role& value);
std::string write_record(const InstanceProfile& value);
std::string write_record(const Policy& value);
std::string write_record(const Session& value);
User read_user(const std::string& text);
Role read_role(const std::string& text);
InstanceProfile read_instance_profile(const std::string& text);
Policy read_policy(const std::string& text);
Session read_session(const std::string& text);

}  // namespace kiln::region::iam
