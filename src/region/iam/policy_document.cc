// Policy document: its grammar, and how a trust policy decides.
#include "region/iam/policy_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "region/api_error.h"
#include "region/iam/keyring.h"

namespace kiln::region::iam {

using nlohmann::json;
using Strings = std::vector<std::string>;

struct TrustPolicy::Statement {
  bool allow = true;
  bool everyone_but = false;  // NotPrincipal
  Strings aws;                // ARNs, accounts, "*"
  Strings services;
  Strings actions;
  json conditions;  // operator → key → value or values
};

namespace {

constexpr std::size_t kDocumentMax = 131'072;  // policyDocumentType of IAM's model

[[noreturn]] void malformed(const std::string& why) { throw ApiError("MalformedPolicyDocument", why); }
[[noreturn]] void syntax_error() { malformed("Syntax errors in policy."); }

// A string, or a list of strings that is not empty.
Strings strings_of(const json& value) {
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array() || value.empty()) syntax_error();
  Strings out;
  for (const json& one : value) {
    if (!one.is_string()) syntax_error();
    out.push_back(one.get<std::string>());
  }
  return out;
}

void check_actions(const Strings& actions) {
  for (const std::string& action : actions) {
    if (action == "*") continue;
    const std::vector<std::string> parts = split(action, ':');
    if (parts.size() == 1) {
      malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
    }
    if (parts.size() > 2) malformed("Actions/Condition can contain only one colon.");
    const auto wrong = [](char c) {
      const bool good =
          (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
      return !good;
    };
    if (parts[0].empty() || std::any_of(parts[0].begin(), parts[0].end(), wrong)) {
      malformed(fmt::format("Vendor {} is not valid", parts[0]));
    }
  }
}

void check_resources(const Strings& resources) {
  for (const std::string& resource : resources) {
    if (resource == "*" || resource.starts_with("arn:")) continue;
    malformed(fmt::format("Resource {} must be in ARN format or \"*\".", resource));
  }
}

void check_sid(const json& statement, std::set<std::string>& known) {
  auto sid = statement.find("Sid");
  if (sid == statement.end()) return;
  if (!sid->is_string()) syntax_error();
  const std::string text = sid->get<std::string>();
  if (text.empty()) return;
  if (!known.insert(text).second) malformed("Statement IDs (SID) in a single policy must be unique.");
}

void check_conditions(const json& conditions) {
  if (!conditions.is_object()) syntax_error();
  for (const auto& [operation, keys] : conditions.items()) {
    if (!keys.is_object()) syntax_error();
    for (const auto& [key, values] : keys.items()) {
      for (const json& one : values.is_array() ? values : json::array({values})) {
        if (!one.is_string() && !one.is_boolean() && !one.is_number()) syntax_error();
      }
    }
  }
}

// Its statements, of which each has an effect and known elements only.
std::vector<json> statements_of(std::string_view document) {
  if (document.size() > kDocumentMax) {
    throw ApiError(
        "ValidationError",
        "1 validation error detected: Value at 'policyDocument' failed to satisfy constraint: Member must have "
        "length less than or equal to 131072");
  }
  const json policy = json::parse(document, nullptr, false);
  if (!policy.is_object()) syntax_error();
  for (const auto& [name, value] : policy.items()) {
    if (name != "Version" && name != "Id" && name != "Statement") syntax_error();
  }
  if (policy.contains("Id") && !policy["Id"].is_string()) syntax_error();
  if (policy.contains("Version") && policy["Version"] != "2012-10-17" && policy["Version"] != "2008-10-17") {
    syntax_error();
  }
  if (!policy.contains("Statement")) syntax_error();
  const json& statements = policy["Statement"];
  if (!statements.is_object() && (!statements.is_array() || statements.empty())) syntax_error();
  std::vector<json> out;
  std::set<std::string> sids;
  for (const json& one : statements.is_array() ? statements : json::array({statements})) {
    if (!one.is_object()) syntax_error();
    for (const auto& [name, value] : one.items()) {
      static const std::set<std::string> kElements = {"Sid",       "Effect",   "Principal",   "NotPrincipal", "Action",
                                                      "NotAction", "Resource", "NotResource", "Condition"};
      if (!kElements.contains(name)) syntax_error();
    }
    if (!one.contains("Effect") || (one["Effect"] != "Allow" && one["Effect"] != "Deny")) syntax_error();
    if (one.contains("Action") && one.contains("NotAction")) syntax_error();
    if (one.contains("Resource") && one.contains("NotResource")) syntax_error();
    if (one.contains("Condition")) check_conditions(one["Condition"]);
    check_sid(one, sids);
    out.push_back(one);
  }
  return out;
}

// "role" of "arn:aws:iam::123456789012:role/path/NAME"; empty for another form.
std::string kind_of(const std::string& arn) {
  const std::vector<std::string> parts = split(arn, ':');
  if (parts.size() != 6) return {};
  return parts[5].substr(0, parts[5].find('/'));
}

std::string account_in(const std::string& arn) {
  const std::vector<std::string> parts = split(arn, ':');
  return parts.size() == 6 ? parts[4] : std::string();
}

bool good_aws_principal(const std::string& text) {
  if (text == "*" || is_account(text)) return true;
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() != 6 || parts[0] != "arn" || parts[1] != "aws" || !parts[3].empty() || !is_account(parts[4]))
    return false;
  if (parts[2] == "iam" && parts[5] == "root") return true;
  const std::size_t slash = parts[5].find('/');
  if (slash == std::string::npos || slash + 1 == parts[5].size() || parts[5].find('*') != std::string::npos)
    return false;
  const std::string kind = parts[5].substr(0, slash);
  return (parts[2] == "iam" && (kind == "user" || kind == "role")) || (parts[2] == "sts" && kind == "assumed-role");
}

void read_principal(const json& principal, TrustPolicy::Statement& statement) {
  if (principal == "*") {
    statement.aws = {"*"};
    return;
  }
  if (!principal.is_object() || principal.empty()) syntax_error();
  for (const auto& [kind, values] : principal.items()) {
    if (kind != "AWS" && kind != "Service" && kind != "Federated" && kind != "CanonicalUser") {
      malformed(fmt::format("Invalid principal in policy: {}", kind));
    }
    for (const std::string& one : strings_of(values)) {
      const bool service = one.ends_with(".amazonaws.com") && one.find_first_of(" :/*") == std::string::npos;
      if ((kind == "AWS" && !good_aws_principal(one)) || (kind == "Service" && !service)) {
        malformed(fmt::format("Invalid principal in policy: \"{}\":\"{}\"", kind == "Service" ? "SERVICE" : kind, one));
      }
      if (kind == "AWS") statement.aws.push_back(one);
      if (kind == "Service") statement.services.push_back(one);
    }
  }
}

TrustPolicy::Statement read_statement(const json& from) {
  TrustPolicy::Statement statement;
  statement.allow = from["Effect"] == "Allow";
  if (from.contains("Resource") || from.contains("NotResource")) malformed("Has prohibited field Resource");
  const bool but = from.contains("NotPrincipal");
  if (!but && !from.contains("Principal")) malformed("Missing required field Principal");
  if (but && (statement.allow || from.contains("Principal"))) malformed("Allow with NotPrincipal is not allowed.");
  statement.everyone_but = but;
  read_principal(from[but ? "NotPrincipal" : "Principal"], statement);
  if (!from.contains("Action")) {
    malformed(from.contains("NotAction") ? "AssumeRole policy may only specify STS AssumeRole actions."
                                         : "Missing required field Action");
  }
  statement.actions = strings_of(from["Action"]);
  check_actions(statement.actions);
  for (const std::string& action : statement.actions) {
    if (!to_lower(action).starts_with("sts:")) malformed("AssumeRole policy may only specify STS AssumeRole actions.");
  }
  if (from.contains("Condition")) statement.conditions = from["Condition"];
  return statement;
}

// Whether one entry of Principal's AWS means the caller.
bool means(const std::string& entry, const Principal& caller, const std::map<std::string, std::string>& trusted_ids) {
  if (entry == "*") return true;
  if (is_account(entry)) return entry == caller.account;
  if (kind_of(entry) == "root") return account_in(entry) == caller.account;
  const bool session = kind_of(caller.arn) == "assumed-role";
  if (entry != caller.arn && !(session && entry == caller.role_arn)) return false;
  auto id = trusted_ids.find(entry);
  return id == trusted_ids.end() || id->second == caller.user_id.substr(0, caller.user_id.find(':'));
}

bool means(const TrustPolicy::Statement& statement, const TrustRequest& request,
           const std::map<std::string, std::string>& trusted_ids) {
  bool found = false;
  if (request.caller == nullptr) {
    found =
        std::find(statement.services.begin(), statement.services.end(), request.service) != statement.services.end();
  } else {
    found = std::any_of(statement.aws.begin(), statement.aws.end(),
                        [&](const std::string& entry) { return means(entry, *request.caller, trusted_ids); });
  }
  return found != statement.everyone_but;
}

struct ConditionKey {
  bool known = false;
  std::optional<std::string> value;
};

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html; names have no case.
ConditionKey value_of(const std::string& key, const TrustRequest& request) {
  const std::string name = to_lower(key);
  if (name == "sts:externalid") return {true, request.external_id};
  if (name == "sts:rolesessionname") return {true, request.session_name};
  if (name == "aws:multifactorauthpresent") {
    const bool temporary = request.caller != nullptr && request.caller->temporary;
    return {true, temporary ? std::optional<std::string>("false") : std::nullopt};
  }
  if (request.caller == nullptr) return {};
  if (name == "aws:principalaccount") return {true, request.caller->account};
  if (name == "aws:userid") return {true, request.caller->user_id};
  if (name == "aws:principalarn") {
    return {true, request.caller->role_arn.empty() ? request.caller->arn : request.caller->role_arn};
  }
  return {};
}

std::string text_of(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

// Whether one operator over one key holds; nullopt when the operator is not evaluated here.
std::optional<bool> holds(std::string operation, const std::optional<std::string>& value, const Strings& wanted) {
  const auto any = [&](auto&& same) {
    return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& one) { return same(one); });
  };
  if (operation == "Null") return any([&](const std::string& one) { return (one == "true") == !value.has_value(); });
  const bool if_exists = operation.ends_with("IfExists");
  if (if_exists) operation.erase(operation.size() - 8);
  const std::size_t at = operation.find("Not");
  const bool negated = at != std::string::npos;
  if (negated) operation.erase(at, 3);
  const bool like = operation == "StringLike" || operation == "ArnLike" || operation == "ArnEquals";
  const bool no_case = operation == "StringEqualsIgnoreCase" || operation == "Bool";
  if (!like && !no_case && operation != "StringEquals") return std::nullopt;
  if (!value) return if_exists || negated;
  const bool same = any([&](const std::string& one) {
    if (like) return wildcard_match(one, *value);
    return no_case ? to_lower(one) == to_lower(*value) : one == *value;
  });
  return same != negated;
}

bool conditions_hold(const json& conditions, const TrustRequest& request) {
  for (const auto& [operation, keys] : conditions.items()) {
    for (const auto& [key, values] : keys.items()) {
      Strings wanted;
      for (const json& one : values.is_array() ? values : json::array({values})) wanted.push_back(text_of(one));
      const ConditionKey condition = value_of(key, request);
      const std::optional<bool> held =
          condition.known ? holds(operation, condition.value, wanted) : std::optional<bool>();
      if (!held) {
        throw ApiError(
            "UnsupportedOperation",
            fmt::format("The trust policy's condition {} of {} is not evaluated by this region", operation, key));
      }
      if (!*held) return false;
    }
  }
  return true;
}

}  // namespace

void check_identity_policy(std::string_view document) {
  for (const json& statement : statements_of(document)) {
    if (statement.contains("Principal") || statement.contains("NotPrincipal")) {
      malformed("Policy document should not specify a principal.");
    }
    const bool action = statement.contains("Action");
    if (!action && !statement.contains("NotAction")) malformed("Policy statement must contain actions.");
    check_actions(strings_of(statement[action ? "Action" : "NotAction"]));
    const bool resource = statement.contains("Resource");
    if (!resource && !statement.contains("NotResource")) malformed("Policy statement must contain resources.");
    check_resources(strings_of(statement[resource ? "Resource" : "NotResource"]));
  }
}

std::size_t counted_size(std::string_view document) {
  return static_cast<std::size_t>(std::count_if(
      document.begin(), document.end(), [](char c) { return c != ' ' && c != '\t' && c != '\n' && c != '\r'; }));
}

TrustPolicy::TrustPolicy(std::string_view document) {
  for (const json& statement : statements_of(document)) statements_.push_back(read_statement(statement));
}

TrustPolicy::~TrustPolicy() = default;

std::vector<std::string> TrustPolicy::named() const {
  std::vector<std::string> out;
  for (const Statement& statement : statements_) {
    for (const std::string& entry : statement.aws) {
      if (kind_of(entry) == "user" || kind_of(entry) == "role") out.push_back(entry);
    }
  }
  return out;
}

bool TrustPolicy::allows(const TrustRequest& request, const std::map<std::string, std::string>& trusted_ids) const {
  bool allowed = false;
  for (const Statement& statement : statements_) {
    const bool assumes = std::any_of(statement.actions.begin(), statement.actions.end(), [](const std::string& action) {
      return wildcard_match(to_lower(action), "sts:assumerole");
    });
    if (!assumes || !means(statement, request, trusted_ids) || !conditions_hold(statement.conditions, request))
      continue;
    if (!statement.allow) return false;
    allowed = true;
  }
  return allowed;
}

}  // namespace kiln::region::iam
