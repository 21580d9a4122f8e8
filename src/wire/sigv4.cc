// SigV4: the stages, signing and checking.
#include "wire/sigv4.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"

namespace kiln::wire {

namespace {

constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view terminator = "aws4_request";
constexpr std::string_view unsigned_payload_mark = "UNSIGNED-PAYLOAD";
// A week: the longest that AWS accepts for a presigned URL.
constexpr std::int64_t presign_seconds_max = 604'800;

// Headers that proxies and HTTP libraries add or change on the way; AWS's SDKs leave the same ones unsigned.
bool is_unsignable(std::string_view lowercase_name) {
  constexpr std::string_view names[] = {"authorization",     "connection", "expect",         "keep-alive", "te",
                                        "transfer-encoding", "user-agent", "x-amzn-trace-id"};
  return std::find(std::begin(names), std::end(names), lowercase_name) != std::end(names);
}

struct Parameter {
  std::string name, value;  // decoded
};

std::vector<Parameter> parse_query(std::string_view query) {
  std::vector<Parameter> parameters;
  for (const std::string& part : split(query, '&')) {
    if (part.empty()) {
      continue;
    }
    std::size_t equals = std::min(part.find('='), part.size());
    std::string_view view = part;
    parameters.push_back({percent_decode(view.substr(0, equals)),
                          percent_decode(equals < view.size() ? view.substr(equals + 1) : std::string_view())});
  }
  return parameters;
}

const std::string* find(const std::vector<Parameter>& parameters, std::string_view name) {
  for (const Parameter& parameter : parameters) {
    if (parameter.name == name) {
      return &parameter.value;
    }
  }
  return nullptr;
}

std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> encoded;
  for (const Parameter& parameter : parse_query(query)) {
    if (parameter.name != "X-Amz-Signature") {
      encoded.emplace_back(percent_encode(parameter.name), percent_encode(parameter.value));
    }
  }
  std::sort(encoded.begin(), encoded.end());
  std::string text;
  for (const auto& [name, value] : encoded) {
    text.append(text.empty() ? "" : "&").append(name).append("=").append(value);
  }
  return text;
}

// RFC 3986, section 5.2.4, and doubled slashes made one.
std::string without_dot_segments(std::string_view path) {
  std::vector<std::string> kept;
  bool folder = false;  // the path ends in a folder, so in a slash
  for (const std::string& segment : split(path, '/')) {
    folder = segment.empty() || segment == "." || segment == "..";
    if (segment == ".." && !kept.empty()) {
      kept.pop_back();
    } else if (!folder) {
      kept.push_back(segment);
    }
  }
  std::string text = "/" + join(kept, "/");
  return folder && text.size() > 1 ? text + "/" : text;
}

std::string canonical_path(std::string_view path, bool normalize, bool encode) {
  std::string text = path.empty() ? "/" : normalize ? without_dot_segments(path) : std::string(path);
  return encode ? percent_encode(text, /*keep_slash=*/true) : text;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Trimmed, and each run of white space inside made one space.
void append_header_value(std::string& text, std::string_view value) {
  std::size_t start = text.size();
  bool pending = false;
  for (char c : value) {
    if (is_space(c)) {
      pending = text.size() > start;
      continue;
    }
    if (pending) {
      text += ' ';
      pending = false;
    }
    text += c;
  }
}

std::string scope_text(std::string_view date, const SigningScope& scope) {
  return fmt::format("{}/{}/{}/{}", date, scope.region, scope.service, terminator);
}

std::string_view as_text(const Digest::Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> signable_headers(const http::Headers& headers) {
  std::vector<std::string> names;
  for (const auto& [name, value] : headers.fields()) {
    std::string lower = to_lower(name);
    if (!is_unsignable(lower)) {
      names.push_back(std::move(lower));
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

void append_parameter(std::string& query, std::string_view name, std::string_view value) {
  query.append(query.empty() ? "" : "&").append(name).append("=").append(percent_encode(value));
}

// Where they differ, an attacker must not learn by the time it takes.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) {
    return false;
  }
  unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (a[i] ^ b[i]));
  }
  return difference == 0;
}

}  // namespace

std::string canonical_request(const http::Request& request, const std::vector<std::string>& signed_headers,
                              std::string_view payload_hash, bool normalize_path, bool encode_path) {
  std::string text = request.method;
  text.append("\n").append(canonical_path(request.path, normalize_path, encode_path));
  text.append("\n").append(canonical_query(request.query)).append("\n");
  std::vector<std::pair<std::string, std::string_view>> fields;
  for (const auto& [name, value] : request.headers.fields()) {
    fields.emplace_back(to_lower(name), value);
  }
  for (const std::string& name : signed_headers) {
    text.append(name).append(":");
    bool first = true;
    for (const auto& [field, value] : fields) {
      if (field == name) {
        text.append(first ? "" : ",");
        append_header_value(text, value);
        first = false;
      }
    }
    text.append("\n");
  }
  text.append("\n").append(join(signed_headers, ";")).append("\n").append(payload_hash);
  return text;
}

std::string string_to_sign(Time time, std::string_view scope, std::string_view canonical) {
  return fmt::format("{}\n{}\n{}\n{}", algorithm, format_basic_iso8601(time), scope, sha256(canonical).hex());
}

Digest::Bytes signing_key(std::string_view secret_key, std::string_view date, const SigningScope& scope) {
  Digest::Bytes key = hmac_sha256(fmt::format("AWS4{}", secret_key), date);
  key = hmac_sha256(as_text(key), scope.region);
  key = hmac_sha256(as_text(key), scope.service);
  return hmac_sha256(as_text(key), terminator);
}

std::string signature(const Digest::Bytes& key, std::string_view text) {
  return hex_encode(as_text(hmac_sha256(as_text(key), text)));
}

void sign(http::Request& request, const Credentials& credentials, const SigningScope& scope, Time now,
          const SigningOptions& options) {
  KILN_ASSERT(request.headers.has("host"), "a request is signed with its Host header");
  const std::string date = format_date(now);
  const std::string credential_scope = scope_text(date, scope);
  const std::string credential = credentials.access_key + "/" + credential_scope;
  const std::string payload =
      options.unsigned_payload ? std::string(unsigned_payload_mark) : sha256(request.body).hex();
  const bool token = !credentials.session_token.empty();

  if (options.payload_header) {
    request.headers.set("X-Amz-Content-Sha256", payload);
  }
  if (!options.presign) {
    request.headers.set("X-Amz-Date", format_basic_iso8601(now));
    if (token && !options.token_unsigned) {
      request.headers.set("X-Amz-Security-Token", credentials.session_token);
    }
  }
  const std::vector<std::string> names = signable_headers(request.headers);
  const std::string signed_headers = join(names, ";");
  if (options.presign) {
    append_parameter(request.query, "X-Amz-Algorithm", algorithm);
    append_parameter(request.query, "X-Amz-Credential", credential);
    append_parameter(request.query, "X-Amz-Date", format_basic_iso8601(now));
    append_parameter(request.query, "X-Amz-SignedHeaders", signed_headers);
    append_parameter(request.query, "X-Amz-Expires", std::to_string(options.presign->count() / 1000));
    if (token && !options.token_unsigned) {
      append_parameter(request.query, "X-Amz-Security-Token", credentials.session_token);
    }
  }

  const bool encode_path = scope.service != "s3";
  const std::string canonical =
      canonical_request(request, names, payload, options.normalize_path && encode_path, encode_path);
  const std::string signed_with =
      signature(signing_key(credentials.secret_key, date, scope), string_to_sign(now, credential_scope, canonical));

  if (options.presign) {
    if (token && options.token_unsigned) {
      append_parameter(request.query, "X-Amz-Security-Token", credentials.session_token);
    }
    append_parameter(request.query, "X-Amz-Signature", signed_with);
    return;
  }
  request.headers.set("Authorization", fmt::format("{} Credential={}, SignedHeaders={}, Signature={}", algorithm,
                                                   credential, signed_headers, signed_with));
  if (token && options.token_unsigned) {
    request.headers.set("X-Amz-Security-Token", credentials.session_token);
  }
}

namespace {

// What a request says about its own signature, checked for form only.
struct Claim {
  std::string access_key;
  std::string date;  // of the scope
  SigningScope scope;
  std::vector<std::string> signed_headers;
  std::string signature;
  std::string session_token;
  std::string timestamp;
  Time time{};
  std::optional<Duration> expires;  // presigned
};

Refused refuse(AuthFailure failure, std::string message) { return {failure, std::move(message)}; }

std::optional<Refused> read_credential(std::string_view text, Claim& claim) {
  std::vector<std::string> parts = split(text, '/');
  if (parts.size() != 5 || parts[0].empty() || parts[1].size() != 8 || parts[2].empty() || parts[3].empty() ||
      parts[4] != terminator) {
    return refuse(AuthFailure::incomplete,
                  "Credential must have exactly 5 slash-delimited elements, e.g. "
                  "keyid/date/region/service/aws4_request");
  }
  claim.access_key = parts[0];
  claim.date = parts[1];
  claim.scope = {parts[2], parts[3]};
  return std::nullopt;
}

std::optional<Refused> read_time(std::string_view text, Claim& claim) {
  try {
    claim.time = parse_basic_iso8601(text);
  } catch (const Error&) {
    return refuse(AuthFailure::incomplete,
                  "Date must be in ISO-8601 'basic format'. Got '" + std::string(text.substr(0, 40)) + "'.");
  }
  claim.timestamp = std::string(text);
  if (format_date(claim.time) != claim.date) {
    return refuse(AuthFailure::signature_mismatch,
                  fmt::format("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
                              "HTTP: '{}' != '{}', from '{}'.",
                              claim.date, format_date(claim.time), text));
  }
  return std::nullopt;
}

std::optional<Refused> read_signed_headers(std::string_view text, Claim& claim) {
  claim.signed_headers = split(text, ';');
  for (std::size_t i = 0; i < claim.signed_headers.size(); ++i) {
    const std::string& name = claim.signed_headers[i];
    if (name.empty() || name != to_lower(name) || (i > 0 && claim.signed_headers[i - 1] >= name)) {
      return refuse(AuthFailure::incomplete, "SignedHeaders must be lowercase names, sorted, separated by ';'.");
    }
  }
  return std::nullopt;
}

std::optional<Refused> read_authorization(const http::Request& request, Claim& claim) {
  std::string_view text = trim(request.headers.get("authorization"));
  std::size_t space = text.find(' ');
  if (text.substr(0, space) != algorithm) {
    return refuse(AuthFailure::incomplete, "Unsupported AWS 'algorithm'. Only 'AWS4-HMAC-SHA256' is served.");
  }
  std::string_view rest = space == std::string_view::npos ? std::string_view() : text.substr(space);
  std::string credential, signed_headers;
  for (const std::string& part : split(rest, ',')) {
    std::string_view pair = trim(part);
    std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) {
      return refuse(AuthFailure::incomplete,
                    "The Authorization header has a part that is not a key=value pair (missing equal-sign).");
    }
    std::string_view key = pair.substr(0, equals);
    std::string* target = key == "Credential"      ? &credential
                          : key == "SignedHeaders" ? &signed_headers
                          : key == "Signature"     ? &claim.signature
                                                   : nullptr;
    if (target == nullptr || !target->empty()) {
      return refuse(AuthFailure::incomplete, "The Authorization header has an unknown or a doubled part '" +
                                                 std::string(key.substr(0, 40)) + "'.");
    }
    *target = std::string(pair.substr(equals + 1));
  }
  for (const auto& [name, value] : {std::pair("Credential", &credential), std::pair("Signature", &claim.signature),
                                    std::pair("SignedHeaders", &signed_headers)}) {
    if (value->empty()) {
      return refuse(AuthFailure::incomplete, fmt::format("Authorization header requires '{}' parameter.", name));
    }
  }
  if (auto refused = read_credential(credential, claim)) {
    return refused;
  }
  if (auto refused = read_signed_headers(signed_headers, claim)) {
    return refused;
  }
  claim.session_token = std::string(request.headers.get("x-amz-security-token"));
  std::string_view date = request.headers.get("x-amz-date");
  if (date.empty()) {
    date = request.headers.get("date");
  }
  if (date.empty()) {
    return refuse(AuthFailure::incomplete,
                  "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
  }
  return read_time(date, claim);
}

std::optional<Refused> read_presigned(const std::vector<Parameter>& query, Claim& claim) {
  auto required = [&](std::string_view name) {
    const std::string* value = find(query, name);
    return value == nullptr ? std::string() : *value;
  };
  for (std::string_view name : {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
                                "X-Amz-SignedHeaders", "X-Amz-Signature"}) {
    if (required(name).empty()) {
      return refuse(AuthFailure::incomplete, fmt::format("AWS query-string parameters must include '{}'.", name));
    }
    if (std::count_if(query.begin(), query.end(), [&](const Parameter& p) { return p.name == name; }) > 1) {
      return refuse(AuthFailure::incomplete, fmt::format("The query-string parameter '{}' comes twice.", name));
    }
  }
  if (required("X-Amz-Algorithm") != algorithm) {
    return refuse(AuthFailure::incomplete, "Unsupported AWS 'algorithm'. Only 'AWS4-HMAC-SHA256' is served.");
  }
  if (auto refused = read_credential(required("X-Amz-Credential"), claim)) {
    return refused;
  }
  if (auto refused = read_signed_headers(required("X-Amz-SignedHeaders"), claim)) {
    return refused;
  }
  auto seconds = parse_int(required("X-Amz-Expires"));
  if (!seconds || *seconds < 1 || *seconds > presign_seconds_max) {
    return refuse(AuthFailure::incomplete, "X-Amz-Expires must be between 1 and 604800 seconds.");
  }
  claim.expires = Duration(*seconds * 1000);
  claim.signature = required("X-Amz-Signature");
  claim.session_token = required("X-Amz-Security-Token");
  return read_time(required("X-Amz-Date"), claim);
}

std::variant<Claim, Refused> read_claim(const http::Request& request) {
  Claim claim;
  std::vector<Parameter> query = parse_query(request.query);
  const bool presigned = find(query, "X-Amz-Algorithm") != nullptr || find(query, "X-Amz-Signature") != nullptr;
  const bool header = request.headers.has("authorization");
  if (presigned && header) {
    return refuse(AuthFailure::incomplete,
                  "The request is signed twice: in its query and in its Authorization header.");
  }
  if (!presigned && !header) {
    return refuse(AuthFailure::missing, "Request is missing Authentication Token");
  }
  std::optional<Refused> refused = presigned ? read_presigned(query, claim) : read_authorization(request, claim);
  if (refused) {
    return *std::move(refused);
  }
  return claim;
}

// What must be under the signature: Host, and every x-amz-* header that was sent, but for the session token, which some
// clients add after signing and which is checked against the lookup.
std::optional<Refused> check_coverage(const http::Request& request, const Claim& claim) {
  auto covered = [&](const std::string& name) {
    return std::binary_search(claim.signed_headers.begin(), claim.signed_headers.end(), name);
  };
  if (!covered("host")) {
    return refuse(AuthFailure::signature_mismatch, "'Host' must be a 'SignedHeader' in the AWS Authorization.");
  }
  for (const auto& [field, value] : request.headers.fields()) {
    std::string name = to_lower(field);
    if (name.starts_with("x-amz-") && name != "x-amz-security-token" && !covered(name)) {
      return refuse(AuthFailure::signature_mismatch,
                    fmt::format("'{}' must be a 'SignedHeader' in the AWS Authorization.", name));
    }
  }
  return std::nullopt;
}

std::optional<Refused> check_time(const Claim& claim, Time now, Duration skew_max) {
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(skew_max).count();
  if (claim.time > now + skew_max) {
    return refuse(AuthFailure::not_yet,
                  fmt::format("Signature not yet current: {} is still later than {} ({} + {} min.)", claim.timestamp,
                              format_basic_iso8601(now + skew_max), format_basic_iso8601(now), minutes));
  }
  if (claim.expires) {
    if (now > claim.time + *claim.expires) {
      return refuse(AuthFailure::expired,
                    fmt::format("Signature expired: {} is now earlier than {}",
                                format_basic_iso8601(claim.time + *claim.expires), format_basic_iso8601(now)));
    }
  } else if (claim.time < now - skew_max) {
    return refuse(AuthFailure::expired,
                  fmt::format("Signature expired: {} is now earlier than {} ({} - {} min.)", claim.timestamp,
                              format_basic_iso8601(now - skew_max), format_basic_iso8601(now), minutes));
  }
  return std::nullopt;
}

// The digest that the client signed; refused when it is not the body's.
std::variant<std::string, Refused> payload_hash(const http::Request& request, const Claim& claim,
                                                bool unsigned_allowed) {
  std::string_view header = request.headers.get("x-amz-content-sha256");
  const bool s3_presigned = claim.expires && claim.scope.service == "s3" && header.empty();
  if (header == unsigned_payload_mark || s3_presigned) {
    if (!unsigned_allowed) {
      return refuse(AuthFailure::signature_mismatch, "This call does not accept an unsigned payload.");
    }
    return std::string(unsigned_payload_mark);
  }
  std::string actual = sha256(request.body).hex();
  if (!header.empty() && header != actual) {
    return refuse(AuthFailure::signature_mismatch,
                  "The provided 'x-amz-content-sha256' header does not match what was computed.");
  }
  return actual;
}

}  // namespace

struct Verifier::State {
  State(Lookup look, const Options& given) : lookup(std::move(look)), options(given) {}

  Digest::Bytes key_for(const Claim& claim, const Secret& secret) {
    std::string name = claim.access_key + "/" + scope_text(claim.date, claim.scope);
    {
      std::lock_guard lock(mutex);
      if (auto found = keys.find(name); found != keys.end() && found->second.secret_key == secret.secret_key) {
        return found->second.key;
      }
    }
    Digest::Bytes key = signing_key(secret.secret_key, claim.date, claim.scope);
    std::lock_guard lock(mutex);
    if (keys.size() >= options.cached_keys_max) {
      keys.clear();  // a client that sends made-up scopes costs time, never memory
    }
    keys[name] = {secret.secret_key, key};
    return key;
  }

  struct CachedKey {
    std::string secret_key;
    Digest::Bytes key;
  };
  Lookup lookup;
  Options options;
  std::mutex mutex;
  std::unordered_map<std::string, CachedKey> keys;
};

Verifier::Verifier(Lookup lookup) : Verifier(std::move(lookup), Options()) {}
Verifier::Verifier(Lookup lookup, const Options& options)
    : state_(std::make_unique<State>(std::move(lookup), options)) {}
Verifier::~Verifier() = default;

Verification Verifier::verify(const http::Request& request, Time now) const {
  auto read = read_claim(request);
  if (auto* refused = std::get_if<Refused>(&read)) {
    return *refused;
  }
  const Claim& claim = std::get<Claim>(read);
  std::optional<Secret> secret = state_->lookup(claim.access_key);
  if (!secret || !equal_in_constant_time(secret->session_token, claim.session_token)) {
    return refuse(AuthFailure::unknown_access_key, "The security token included in the request is invalid.");
  }
  if (secret->expires_at && now >= *secret->expires_at) {
    return refuse(AuthFailure::token_expired, "The security token included in the request is expired");
  }
  if (auto refused = check_coverage(request, claim)) {
    return *refused;
  }
  if (auto refused = check_time(claim, now, state_->options.skew_max)) {
    return *refused;
  }
  auto payload = payload_hash(request, claim, state_->options.unsigned_payload_allowed);
  if (auto* refused = std::get_if<Refused>(&payload)) {
    return *refused;
  }
  const bool s3 = claim.scope.service == "s3";
  const std::string& hash = std::get<std::string>(payload);
  auto matches = [&](const http::Request& signed_request) {
    std::string canonical = canonical_request(signed_request, claim.signed_headers, hash, !s3, !s3);
    std::string text = string_to_sign(claim.time, scope_text(claim.date, claim.scope), canonical);
    return equal_in_constant_time(signature(state_->key_for(claim, *secret), text), claim.signature);
  };
  if (!matches(request)) {
    return refuse(AuthFailure::signature_mismatch,
                  "The request signature we calculated does not match the signature you provided. Check your AWS "
                  "Secret Access Key and signing method. Consult the service documentation for details.");
  }
  return Verified{claim.access_key, claim.scope, claim.time, claim.expires.has_value()};
}

std::optional<SigningScope> claimed_scope(const http::Request& request) {
  Claim claim;
  std::string credential;
  if (std::string_view text = request.headers.get("authorization"); !text.empty()) {
    std::size_t start = text.find("Credential=");
    if (start == std::string_view::npos) {
      return std::nullopt;
    }
    text = text.substr(start + 11);
    credential = std::string(trim(text.substr(0, text.find(','))));
  } else {
    std::vector<Parameter> query = parse_query(request.query);
    if (const std::string* value = find(query, "X-Amz-Credential")) {
      credential = *value;
    }
  }
  if (read_credential(credential, claim)) {
    return std::nullopt;
  }
  return claim.scope;
}

AuthError to_error(const Refused& refused, AuthDialect dialect) {
  const bool ec2 = dialect == AuthDialect::ec2;
  const bool json = dialect == AuthDialect::json;
  const char* ec2_denied = "AWS was not able to validate the provided access credentials";
  switch (refused.failure) {
    case AuthFailure::missing:
      return {json ? "MissingAuthenticationTokenException" : "MissingAuthenticationToken", refused.message,
              json ? 400 : 403};
    case AuthFailure::incomplete:
      return {json ? "IncompleteSignatureException" : "IncompleteSignature", refused.message, 400};
    case AuthFailure::unknown_access_key:
      if (ec2) {
        return {"AuthFailure", ec2_denied, 401};
      }
      return {json ? "UnrecognizedClientException" : "InvalidClientTokenId", refused.message, json ? 400 : 403};
    case AuthFailure::signature_mismatch:
      if (ec2) {
        return {"AuthFailure", ec2_denied, 401};
      }
      return {json ? "InvalidSignatureException" : "SignatureDoesNotMatch", refused.message, json ? 400 : 403};
    case AuthFailure::expired:
    case AuthFailure::not_yet:
      if (ec2) {
        return {"RequestExpired", "Request has expired. " + refused.message, 400};
      }
      return {json ? "InvalidSignatureException" : "SignatureDoesNotMatch", refused.message, json ? 400 : 403};
    case AuthFailure::token_expired:
      if (ec2) {
        return {"RequestExpired", "Request has expired.", 400};
      }
      return {json ? "ExpiredTokenException" : "ExpiredToken", refused.message, json ? 400 : 403};
  }
  return {"InternalFailure", "unknown authentication failure", 500};
}

}  // namespace kiln::wire
