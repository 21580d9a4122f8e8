// STS: GetCallerIdentity, AssumeRole, GetSessionToken, GetAccessKeyInfo.
#include "region/sts/handlers.h"

#include <fmt/format.h>

#include "base/text.h"
#include "wire/sts.h"

namespace kiln::region::sts {
namespace {

namespace w = wire::sts;

w::Credentials to_wire(const iam::Session& session) {
  w::Credentials out;
  out.access_key_id = session.access_key;
  out.secret_access_key = session.secret;
  out.session_token = session.token;
  out.expiration = session.expires;
  return out;
}

// The account of "arn:aws:iam::123456789012:role/path/NAME".
std::string account_of_role(const std::string& arn) {
  const std::vector<std::string> parts = split(arn, ':');
  const bool good = parts.size() == 6 && parts[0] == "arn" && parts[2] == "iam" && iam::is_account(parts[4]) &&
                    parts[5].starts_with("role/") && !parts[5].ends_with("/");
  if (!good) throw ApiError("ValidationError", fmt::format("{} is invalid", arn));
  return parts[4];
}

w::AssumeRoleResponse assume(const Call& call, iam::Iam& own, const IamOf& others, const w::AssumeRoleRequest& input) {
  only<w::AssumeRole>(input, {"RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"});
  iam::AssumeRequest request;
  request.role_arn = input.role_arn.value_or("");
  request.session_name = input.role_session_name.value_or("");
  request.duration_seconds = input.duration_seconds;
  request.external_id = input.external_id;
  const std::string account = account_of_role(request.role_arn);
  iam::Iam* owner = account == own.account() ? &own : others(account);
  if (owner == nullptr) iam::refuse_assume_role(call.principal, request.role_arn);
  const iam::Session& session = owner->assume_role(call.principal, request);
  w::AssumeRoleResponse answer;
  answer.credentials = to_wire(session);
  answer.assumed_role_user.emplace();
  answer.assumed_role_user->arn = session.principal.arn;
  answer.assumed_role_user->assumed_role_id = session.principal.user_id;
  return answer;
}

}  // namespace

void serve(Handlers& handlers, iam::Iam& own, const iam::Keyring& keyring, IamOf others) {
  handlers.on<w::GetCallerIdentity>([](const Call& call, const auto&) {
    w::GetCallerIdentityResponse answer;
    answer.account = call.account;
    answer.user_id = call.principal.user_id;
    answer.arn = call.principal.arn;
    return answer;
  });
  handlers.on<w::AssumeRole>([&own, others = std::move(others)](const Call& call, const w::AssumeRoleRequest& input) {
    return assume(call, own, others, input);
  });
  handlers.on<w::GetSessionToken>([&own](const Call& call, const w::GetSessionTokenRequest& input) {
    only<w::GetSessionToken>(input, {"DurationSeconds"});
    w::GetSessionTokenResponse answer;
    answer.credentials = to_wire(own.session_token(call.principal, input.duration_seconds));
    return answer;
  });
  handlers.on<w::GetAccessKeyInfo>([&keyring](const Call&, const w::GetAccessKeyInfoRequest& input) {
    const std::string key = input.access_key_id.value_or("");
    const std::optional<iam::Key> known = keyring.find(key);
    const std::optional<std::string> account = known ? known->principal.account : iam::account_of(key);
    if (!account) throw ApiError("ValidationError", fmt::format("Access key {} is invalid", key));
    w::GetAccessKeyInfoResponse answer;
    answer.account = *account;
    return answer;
  });
}

}  // namespace kiln::region::sts
