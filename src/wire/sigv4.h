// SigV4: AWS's Signature Version 4, both ways: how a client signs a request, how a server checks it.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
// The stages (canonical request, string to sign, signing key, signature) are separate functions, because AWS's test
// cases give each of them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "http/message.h"

namespace kiln::wire {

struct Credentials {
  std::string access_key;
  std::string secret_key;
  std::string session_token;  // empty for a user's long-lived key
};

struct SigningScope {
  std::string region;   // "us-east-1"
  std::string service;  // signing name: "ec2", "autoscaling", "elasticloadbalancing", "sts"
  bool operator==(const SigningScope&) const = default;
};

struct SigningOptions {
  // Signs "UNSIGNED-PAYLOAD" in place of the body's digest, as the EBS direct API wants it.
  bool unsigned_payload = false;
  // Adds x-amz-content-sha256 with the payload's digest.
  bool payload_header = false;
  // Signs in the query in place of a header; the URL is then good for this long (1 s to 7 days).
  std::optional<Duration> presign;
  // Adds the session token after signing, outside the signature.
  bool token_unsigned = false;
  // Removes "." and ".." and doubled slashes from the path before it is signed: all services but S3.
  bool normalize_path = true;
};

// Adds X-Amz-Date, X-Amz-Security-Token and Authorization to the headers (or the X-Amz-* parameters to the query).
// Every header that is there is signed but those that proxies and libraries change (User-Agent, Expect, ...). The Host
// header must be there.
void sign(http::Request& request, const Credentials& credentials, const SigningScope& scope, Time now,
          const SigningOptions& options = {});

// Why a request was not accepted.
enum class AuthFailure {
  missing,             // it is not signed
  incomplete,          // a part of the signature is missing or malformed
  unknown_access_key,  // nobody has this access key, or its session token is not the one it came with
  signature_mismatch,  // signed with another secret, or altered on the way
  expired,             // signed too long ago
  not_yet,             // signed in the future: the client's clock is wrong
  token_expired,       // temporary credentials that are no longer good
};

struct Verified {
  std::string access_key;
  SigningScope scope;
  Time signed_at{};
  bool presigned = false;
};

struct Refused {
  AuthFailure failure = AuthFailure::missing;
  std::string message;  // for the client: what is wrong, never a secret
};

using Verification = std::variant<Verified, Refused>;

// How AWS names a refusal; it differs by the service's protocol and, in EC2, by its age.
enum class AuthDialect { ec2, query, json };
struct AuthError {
  std::string code;
  std::string message;
  int http_status = 400;
};
AuthError to_error(const Refused& refused, AuthDialect dialect);

struct Secret {
  std::string secret_key;
  std::string session_token;  // when not empty, the request must carry it
  std::optional<Time> expires_at;
};

// Safe to use from several threads, as far as `lookup` is.
class Verifier {
 public:
  using Lookup = std::function<std::optional<Secret>(const std::string& access_key)>;
  struct Options {
    Duration skew_max{15 * 60'000};         // AWS's: 15 minutes either way
    bool unsigned_payload_allowed = false;  // S3's and the EBS direct API's requests
    std::size_t cached_keys_max = 256;      // signing keys, one for each access key, day, region and service
  };

  explicit Verifier(Lookup lookup);
  Verifier(Lookup lookup, const Options& options);
  ~Verifier();

  Verification verify(const http::Request& request, Time now) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The region and service that a request says it was signed for, unchecked: enough to tell in which protocol to refuse
// it. Nullopt when it is not signed or the signature cannot be read.
std::optional<SigningScope> claimed_scope(const http::Request& request);

// The stages. `signed_headers` are lowercase and sorted. A parameter X-Amz-Signature is left out of the canonical
// query.
std::string canonical_request(const http::Request& request, const std::vector<std::string>& signed_headers,
                              std::string_view payload_hash, bool normalize_path = true, bool encode_path = true);
// `scope` is "20150830/us-east-1/service/aws4_request".
std::string string_to_sign(Time time, std::string_view scope, std::string_view canonical);
Digest::Bytes signing_key(std::string_view secret_key, std::string_view date, const SigningScope& scope);
std::string signature(const Digest::Bytes& key, std::string_view text);

}  // namespace kiln::wire
