// Model: what IAM keeps of one account: users with their access keys, roles, instance profiles, managed policies, and
// the temporary credentials that are out. Values only, no wire types, no behaviour.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "base/time.h"
#include "region/principal.h"

namespace kiln::region::iam {

using Tags = std::map<std::string, std::string>;

// What users and roles have in common.
struct Identity {
  std::string name;
  std::string path = "/";
  std::string id;  // "AIDA..", "AROA.."
  std::string arn;
  Time created{};
  Tags tags;
  std::map<std::string, std::string> inline_policies;  // name → document
  std::set<std::string> attached;                      // ARNs of managed policies
};

struct AccessKey {
  std::string id;
  std::string secret;
  bool active = true;
  Time created{};
};

struct User : Identity {
  std::map<std::string, AccessKey> keys;  // by id
};

struct Role : Identity {
  std::string trust;  // who may assume it, as it came
  // The unique ids of the users and roles of this account that the trust policy names, by ARN: one that is deleted and
  // made again is another one.
  std::map<std::string, std::string> trusted_ids;
  std::string description;
  std::int64_t max_session_seconds = 3600;
};

struct InstanceProfile {
  std::string name;
  std::string path = "/";
  std::string id;  // "AIPA.."
  std::string arn;
  Time created{};
  Tags tags;
  std::string role;  // name; empty: none
};

struct PolicyVersion {
  std::int64_t number = 0;  // shown as "v1"
  std::string document;
  Time created{};
};

struct Policy {
  std::string name;
  std::string path = "/";
  std::string id;  // "ANPA.."
  std::string arn;
  std::string description;
  Time created{};
  Time updated{};
  Tags tags;
  std::int64_t default_version = 1;
  std::int64_t latest_version = 1;  // numbers are never used again
  std::map<std::int64_t, PolicyVersion> versions;
};

// Temporary credentials.
struct Session {
  std::string access_key;  // "ASIA.."
  std::string secret;
  std::string token;
  Time made{};
  Time expires{};
  Principal principal;
  std::string source_id;  // of the user or role that they are of; the account when of its root
  std::string instance;   // the instance that they were made for, or empty
};

}  // namespace kiln::region::iam
