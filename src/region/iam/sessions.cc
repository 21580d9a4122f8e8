// Sessions: temporary credentials, from their making to when nobody needs to hear any more that they have expired.
#include <fmt/format.h>

#include "region/api_error.h"
#include "region/iam/policy_document.h"
#include "region/iam/state.h"

namespace kiln::region::iam {
namespace {

constexpr std::int64_t kLeastSeconds = 900;  // of AssumeRole and GetSessionToken
constexpr std::int64_t kAssumeMost = 43'200;
constexpr std::int64_t kAssumeUsual = 3600;
constexpr std::int64_t kChainedMost = 3600;
constexpr std::int64_t kTokenMost = 129'600;
constexpr std::int64_t kTokenUsual = 43'200;
constexpr std::int64_t kRootTokenMost = 3600;

// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html: new ones are there
// at least five minutes before the old ones expire; SDKs ask from fifteen minutes before.
constexpr Duration kInstanceLasts{6 * 3'600'000};
constexpr Duration kInstanceRenewed{3'600'000};  // before the end

// An expired key answers "expired" this long, and is unknown after it.
constexpr Duration kRemembered{24 * 3'600'000};
constexpr Duration kSweepEvery{3'600'000};
constexpr std::size_t kSessionsMax = 20'000;  // what a client in a loop may use of memory and journal: some 20 MB

constexpr std::size_t kSecretBytes = 30;
constexpr std::size_t kTokenBytes = 192;  // AWS's are of some hundred letters

Duration seconds(std::int64_t count) { return Duration(count * 1000); }

bool is_root(const Principal& principal) { return principal.arn.ends_with(":root"); }
bool is_session(const Principal& principal) { return !principal.role_arn.empty(); }

Principal session_of(const std::string& account, const Role& role, const std::string& session_name) {
  return {account, fmt::format("arn:aws:sts::{}:assumed-role/{}/{}", account, role.name, session_name),
          role.id + ":" + session_name, role.arn, true};
}

RoleCredentials credentials_of(const Session& session, const Role& role) {
  return {session.access_key, session.secret, session.token, session.expires, session.made, role.name};
}

}  // namespace

void Iam::State::show(const Session& session) {
  keyring.put(session.access_key, {{session.secret, session.token, session.expires}, session.principal});
  if (session.instance.empty()) return;
  std::string& newest = by_instance[session.instance];
  auto known = sessions.find(newest);
  if (known == sessions.end() || known->second.made <= session.made) newest = session.access_key;
}

const Session& Iam::State::begin_session(const Principal& principal, const std::string& source_id, Duration lasts,
                                         const std::string& instance) {
  if (sessions.size() >= kSessionsMax) throw ApiError("Throttling", "Rate exceeded");
  Session session;
  session.access_key = new_key_id("ASIA");
  session.secret = random_secret(kSecretBytes, random);
  session.token = random_secret(kTokenBytes, random);
  session.made = now();
  session.expires = session.made + lasts;
  session.principal = principal;
  session.source_id = source_id;
  session.instance = instance;
  const Session& kept = sessions[session.access_key] = session;
  show(kept);
  journal.put(kSessionTable, kept.access_key, write_record(kept));
  if (sweep_timer == 0) sweep();
  return kept;
}

void Iam::State::end_session(const std::string& access_key) {
  auto it = sessions.find(access_key);
  auto newest = by_instance.find(it->second.instance);
  if (newest != by_instance.end() && newest->second == access_key) by_instance.erase(newest);
  keyring.erase(access_key);
  journal.erase(kSessionTable, access_key);
  sessions.erase(it);
}

void Iam::State::end_sessions_of(const std::string& source_id) {
  std::vector<std::string> keys;
  for (const auto& [key, session] : sessions) {
    if (session.source_id == source_id) keys.push_back(key);
  }
  for (const std::string& key : keys) end_session(key);
}

void Iam::State::sweep() {
  sweep_timer = 0;
  std::vector<std::string> keys;
  for (const auto& [key, session] : sessions) {
    if (session.expires + kRemembered <= loop.now()) keys.push_back(key);
  }
  for (const std::string& key : keys) end_session(key);
  if (!sessions.empty()) sweep_timer = loop.after(kSweepEvery, [this] { sweep(); });
}

void refuse_assume_role(const Principal& caller, const std::string& role_arn) {
  throw ApiError(
      "AccessDenied",
      fmt::format("User: {} is not authorized to perform: sts:AssumeRole on resource: {}", caller.arn, role_arn), 403);
}

const Session& Iam::assume_role(const Principal& caller, const AssumeRequest& request) {
  State& s = *state_;
  check_name("roleSessionName", request.session_name, 64);
  if (request.session_name.size() < 2) {
    refuse_value(
        fmt::format("1 validation error detected: Value '{}' at 'roleSessionName' failed to satisfy constraint: "
                    "Member must have length greater than or equal to 2",
                    request.session_name));
  }
  const std::int64_t lasts = request.duration_seconds.value_or(kAssumeUsual);
  check_range("durationSeconds", lasts, kLeastSeconds, kAssumeMost);
  if (is_root(caller)) throw ApiError("AccessDenied", "Roles may not be assumed by root accounts.", 403);
  const auto it = s.roles.find(request.role_arn.substr(request.role_arn.rfind('/') + 1));
  TrustRequest trust;
  trust.caller = &caller;
  trust.session_name = request.session_name;
  trust.external_id = request.external_id;
  if (it == s.roles.end() || it->second.arn != request.role_arn ||
      !TrustPolicy(it->second.trust).allows(trust, it->second.trusted_ids)) {
    refuse_assume_role(caller, request.role_arn);
  }
  const Role& role = it->second;
  if (is_session(caller) && lasts > kChainedMost) {
    refuse_value("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining");
  }
  if (lasts > role.max_session_seconds) {
    refuse_value("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
  }
  return s.begin_session(session_of(s.account, role, request.session_name), role.id, seconds(lasts), "");
}

const Session& Iam::session_token(const Principal& caller, const std::optional<std::int64_t>& duration_seconds) {
  State& s = *state_;
  if (caller.temporary) {
    throw ApiError("AccessDenied", "Cannot call GetSessionToken with session credentials", 403);
  }
  std::int64_t lasts = duration_seconds.value_or(kTokenUsual);
  check_range("durationSeconds", lasts, kLeastSeconds, kTokenMost);
  if (is_root(caller)) lasts = std::min(lasts, kRootTokenMost);  // as AWS does, without a word
  Principal principal = caller;
  principal.temporary = true;
  return s.begin_session(principal, caller.user_id, seconds(lasts), "");
}

std::optional<RoleCredentials> Iam::instance_credentials(const std::string& profile_arn,
                                                         const std::string& instance_id) {
  State& s = *state_;
  const InstanceProfile* profile = find_instance_profile_by_arn(profile_arn);
  if (profile == nullptr || profile->role.empty()) return std::nullopt;
  const Role& role = s.roles.at(profile->role);
  TrustRequest trust;
  trust.service = "ec2.amazonaws.com";
  trust.session_name = instance_id;
  if (!TrustPolicy(role.trust).allows(trust, role.trusted_ids)) {
    throw ApiError("AssumeRoleUnauthorizedAccess",
                   fmt::format("EC2 cannot assume the role {}. Please see documentation at "
                               "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html",
                               role.name));
  }
  if (auto newest = s.by_instance.find(instance_id); newest != s.by_instance.end()) {
    const Session& session = s.sessions.at(newest->second);
    if (session.source_id == role.id && session.expires - kInstanceRenewed > s.loop.now()) {
      return credentials_of(session, role);
    }
  }
  return credentials_of(s.begin_session(session_of(s.account, role, instance_id), role.id, kInstanceLasts, instance_id),
                        role);
}

}  // namespace kiln::region::iam
