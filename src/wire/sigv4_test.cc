// SigV4 against AWS's published cases, stage by stage, against botocore's signer, and what is refused.
#include "wire/sigv4.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace kiln::wire {
namespace {

using ::testing::HasSubstr;

std::string folder() { return std::string(KILN_SOURCE_DIR) + "/src/wire/testdata/sigv4/"; }

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A message as the suite writes it: a request line whose target may hold spaces, folded headers, the body as it is.
http::Request parse_message(const std::string& text) {
  http::Request request;
  std::size_t header_end = text.find("\n\n");
  request.body = header_end == std::string::npos ? "" : text.substr(header_end + 2);
  std::vector<std::string> lines = split(text.substr(0, header_end), '\n');
  std::string first = lines.at(0);
  std::size_t space = first.find(' ');
  std::size_t version = first.rfind(" HTTP/1.1");
  request.method = first.substr(0, space);
  std::string target = first.substr(space + 1, version - space - 1);
  std::size_t question = target.find('?');
  request.path = target.substr(0, question);
  request.query = question == std::string::npos ? "" : target.substr(question + 1);
  std::vector<std::pair<std::string, std::string>> fields;
  for (std::size_t i = 1; i < lines.size() && !lines[i].empty(); ++i) {
    if (lines[i][0] == ' ') {
      fields.back().second += "\n" + lines[i];
    } else {
      std::size_t colon = lines[i].find(':');
      fields.emplace_back(lines[i].substr(0, colon), lines[i].substr(colon + 1));
    }
  }
  for (auto& [name, value] : fields) {
    request.headers.add(name, value);
  }
  return request;
}

struct Case {
  explicit Case(const std::string& name) : path(folder() + name + "/") {
    nlohmann::json context = nlohmann::json::parse(read(path + "context.json"));
    const auto& keys = context.at("credentials");
    credentials = {keys.at("access_key_id"), keys.at("secret_access_key"), keys.value("token", "")};
    scope = {context.at("region"), context.at("service")};
    time = parse_iso8601(context.at("timestamp").get<std::string>());
    options.normalize_path = context.at("normalize");
    options.payload_header = context.at("sign_body");
    options.token_unsigned = context.value("omit_session_token", false);
    expires = Duration(context.at("expiration_in_seconds").get<int>() * 1000);
    request = parse_message(read(path + "request.txt"));
    if (name.starts_with("get-space")) {
      request.path = "/example space/";  // the cases give the path as it was before it was encoded for the wire
    }
  }

  std::string golden(const std::string& file) const { return read(path + file); }
  Verifier verifier() const {
    return Verifier([this](const std::string& key) -> std::optional<Secret> {
      if (key != credentials.access_key) {
        return std::nullopt;
      }
      return Secret{credentials.secret_key, credentials.session_token, std::nullopt};
    });
  }

  std::string path;
  Credentials credentials;
  SigningScope scope;
  Time time;
  SigningOptions options;
  Duration expires;
  http::Request request;
};

std::vector<std::string> names_between(const std::string& text, const std::string& from, const std::string& to) {
  std::size_t start = text.find(from) + from.size();
  return split(text.substr(start, text.find(to, start) - start), ';');
}

class PublishedCase : public ::testing::TestWithParam<std::string> {};

TEST_P(PublishedCase, IsSignedInAHeaderStageByStage) {
  Case c(GetParam());
  http::Request request = c.request;
  sign(request, c.credentials, c.scope, c.time, c.options);

  const std::string authorization(request.headers.get("authorization"));
  std::vector<std::string> names = names_between(authorization, "SignedHeaders=", ",");
  std::string canonical = canonical_request(request, names, sha256(request.body).hex(), c.options.normalize_path);
  EXPECT_EQ(canonical, c.golden("header-canonical-request.txt"));
  std::string scope = format_date(c.time) + "/" + c.scope.region + "/" + c.scope.service + "/aws4_request";
  std::string text = string_to_sign(c.time, scope, canonical);
  EXPECT_EQ(text, c.golden("header-string-to-sign.txt"));
  std::string hex = signature(signing_key(c.credentials.secret_key, format_date(c.time), c.scope), text);
  EXPECT_EQ(hex, c.golden("header-signature.txt"));

  http::Request golden = parse_message(c.golden("header-signed-request.txt"));
  EXPECT_EQ(authorization, golden.headers.get("authorization"));
  EXPECT_EQ(request.headers.get("x-amz-security-token"), golden.headers.get("x-amz-security-token"));
  EXPECT_EQ(request.headers.get("x-amz-content-sha256"), golden.headers.get("x-amz-content-sha256"));
}

TEST_P(PublishedCase, IsSignedInTheQueryStageByStage) {
  Case c(GetParam());
  http::Request request = c.request;
  c.options.presign = c.expires;
  c.options.payload_header = false;  // a header cannot travel in an URL
  sign(request, c.credentials, c.scope, c.time, c.options);

  http::Request golden = parse_message(c.golden("query-signed-request.txt"));
  EXPECT_EQ(request.query, golden.query);
  std::string canonical = c.golden("query-canonical-request.txt");
  std::vector<std::string> names = split(split(canonical, '\n').at(split(canonical, '\n').size() - 2), ';');
  if (!c.options.token_unsigned) {
    EXPECT_EQ(canonical_request(request, names, sha256(request.body).hex(), c.options.normalize_path), canonical);
  }
  std::string scope = format_date(c.time) + "/" + c.scope.region + "/" + c.scope.service + "/aws4_request";
  EXPECT_EQ(string_to_sign(c.time, scope, canonical), c.golden("query-string-to-sign.txt"));
  EXPECT_THAT(request.query, HasSubstr("X-Amz-Signature=" + c.golden("query-signature.txt")));
}

TEST_P(PublishedCase, IsAcceptedAsAwsSignedIt) {
  Case c(GetParam());
  if (!c.options.normalize_path) {
    // Signed as S3 signs, with the path as it stands. The services here normalize it, and so come to another signature.
    http::Request golden = parse_message(c.golden("header-signed-request.txt"));
    golden.path = c.request.path;
    Verification result = c.verifier().verify(golden, c.time + Duration(60'000));
    const std::string hash = sha256(golden.body).hex();
    if (canonical_request(golden, {}, hash, true) == canonical_request(golden, {}, hash, false)) {
      EXPECT_TRUE(std::holds_alternative<Verified>(result)) << "its path is normal as it stands";
      return;
    }
    ASSERT_TRUE(std::holds_alternative<Refused>(result));
    EXPECT_EQ(std::get<Refused>(result).failure, AuthFailure::signature_mismatch);
    return;
  }
  for (const char* file : {"header-signed-request.txt", "query-signed-request.txt"}) {
    if (c.options.token_unsigned && file[0] == 'q') {
      continue;  // the whole query is signed here; only IoT's endpoints leave the token out of it
    }
    http::Request golden = parse_message(c.golden(file));
    // The suite's signed messages end in line ends of their own.
    golden.body = c.request.body;
    golden.path = c.request.path;
    Verification result = c.verifier().verify(golden, c.time + Duration(60'000));
    ASSERT_TRUE(std::holds_alternative<Verified>(result)) << file << ": " << std::get<Refused>(result).message;
    EXPECT_EQ(std::get<Verified>(result).access_key, "AKIDEXAMPLE");
    EXPECT_EQ(std::get<Verified>(result).scope, c.scope);
    EXPECT_EQ(std::get<Verified>(result).presigned, file[0] == 'q');
  }
}

INSTANTIATE_TEST_SUITE_P(
    SigV4, PublishedCase,
    ::testing::Values("get-header-key-duplicate", "get-header-value-multiline", "get-header-value-order",
                      "get-header-value-trim", "get-relative-normalized", "get-relative-relative-normalized",
                      "get-relative-relative-unnormalized", "get-relative-unnormalized",
                      "get-slash-dot-slash-normalized", "get-slash-dot-slash-unnormalized", "get-slash-normalized",
                      "get-slash-pointless-dot-normalized", "get-slash-pointless-dot-unnormalized",
                      "get-slash-unnormalized", "get-slashes-normalized", "get-slashes-unnormalized",
                      "get-space-normalized", "get-space-unnormalized", "get-unreserved", "get-utf8", "get-vanilla",
                      "get-vanilla-empty-query-key", "get-vanilla-query", "get-vanilla-query-order-encoded",
                      "get-vanilla-query-order-key-case", "get-vanilla-query-unreserved", "get-vanilla-utf8-query",
                      "get-vanilla-with-session-token", "post-header-key-case", "post-header-key-sort",
                      "post-header-value-case", "post-sts-header-after", "post-sts-header-before", "post-vanilla",
                      "post-vanilla-empty-query-value", "post-vanilla-query", "post-x-www-form-urlencoded",
                      "post-x-www-form-urlencoded-parameters"),
    [](const auto& instance) {
      std::string name = instance.param;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

const Credentials credentials{"AKIAKILN", "s3cr3t/+key", "tok/+=en"};
const Time now = parse_basic_iso8601("20261124T033000Z");

http::Request form_request() {
  http::Request request;
  request.method = "POST";
  request.body = "Action=DescribeInstances&Version=2016-11-15";
  request.headers.add("Host", "127.0.0.1:4577");
  request.headers.add("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
  request.headers.add("User-Agent", "aws-cli/2");
  return request;
}

// The signatures in the next three are botocore 1.43.62's for the same requests.
TEST(Signing, GivesTheSignatureThatBotocoreGivesForAForm) {
  http::Request request = form_request();
  request.headers.add("X-Custom", "  a   b%20c ");
  sign(request, credentials, {"us-east-1", "ec2"}, now);
  EXPECT_EQ(request.headers.get("Authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIAKILN/20261124/us-east-1/ec2/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-custom, "
            "Signature=75db506c4e874f27d0aff915b0af7077ba560bc7ad57bfe7cd05b4f7a37f5279");
}

TEST(Signing, GivesTheSignatureThatBotocoreGivesForAPathAndAQuery) {
  http::Request request;
  request.path = "/a%20b/../c d";
  request.query = "x=1&y=a%2Fb&empty=";
  request.headers.add("Host", "127.0.0.1:4577");
  sign(request, credentials, {"eu-west-1", "ebs"}, now);
  EXPECT_THAT(std::string(request.headers.get("Authorization")),
              HasSubstr("Signature=9fdfc190f4091299563cd803a50587ff5c69ba47f394df66d4c6db04e253b5bf"));
}

TEST(Signing, GivesTheSignatureThatBotocoreGivesForAPresignedUrl) {
  http::Request request;
  request.query = "Action=GetCallerIdentity&Version=2011-06-15";
  request.headers.add("Host", "127.0.0.1:4577");
  SigningOptions options;
  options.presign = Duration(900'000);
  sign(request, credentials, {"us-east-1", "sts"}, now, options);
  EXPECT_THAT(request.query,
              HasSubstr("X-Amz-Signature=e6fab03c843f6895ef0ac6155cd97dd8b184586c009a22a601f8ee9a7f9a5c35"));
}

TEST(Signing, MayBeRepeatedOnARequestThatIsAlreadySigned) {
  http::Request once = form_request();
  sign(once, credentials, {"us-east-1", "ec2"}, now);
  http::Request twice = form_request();
  sign(twice, credentials, {"us-east-1", "ec2"}, now - Duration(5000));
  sign(twice, credentials, {"us-east-1", "ec2"}, now);
  EXPECT_EQ(once.headers.get("Authorization"), twice.headers.get("Authorization"));
  EXPECT_EQ(once.headers.fields().size(), twice.headers.fields().size());
}

class Verifying : public ::testing::Test {
 protected:
  void SetUp() override { sign(request, credentials, {"us-east-1", "ec2"}, now); }

  Verifier verifier{[this](const std::string& key) -> std::optional<Secret> {
    if (key != "AKIAKILN") {
      return std::nullopt;
    }
    return secret;
  }};
  // The refusal's code in EC2, the query services and the JSON ones.
  std::string codes(const http::Request& altered, Time at = now) const {
    Verification result = verifier.verify(altered, at);
    if (std::holds_alternative<Verified>(result)) {
      return "accepted";
    }
    const Refused& refused = std::get<Refused>(result);
    EXPECT_EQ(refused.message.find("s3cr3t"), std::string::npos);
    return to_error(refused, AuthDialect::ec2).code + " " + to_error(refused, AuthDialect::query).code + " " +
           to_error(refused, AuthDialect::json).code;
  }
  http::Request with(const std::string& from, const std::string& to) const {
    http::Request altered = request;
    std::string text(request.headers.get("authorization"));
    std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    altered.headers.set("Authorization", text.replace(at, from.size(), to));
    return altered;
  }

  Secret secret{"s3cr3t/+key", "tok/+=en", std::nullopt};
  http::Request request = form_request();
  const std::string mismatch = "AuthFailure SignatureDoesNotMatch InvalidSignatureException";
  const std::string incomplete = "IncompleteSignature IncompleteSignature IncompleteSignatureException";
  const std::string unknown = "AuthFailure InvalidClientTokenId UnrecognizedClientException";
  const std::string expired = "RequestExpired SignatureDoesNotMatch InvalidSignatureException";
};

TEST_F(Verifying, AcceptsWhatWasSigned) { EXPECT_EQ(codes(request), "accepted"); }

TEST_F(Verifying, RefusesARequestThatIsNotSigned) {
  EXPECT_EQ(codes(form_request()),
            "MissingAuthenticationToken MissingAuthenticationToken MissingAuthenticationTokenException");
}

TEST_F(Verifying, RefusesAnAccessKeyThatNobodyHas) {
  EXPECT_EQ(codes(with("Credential=AKIAKILN", "Credential=AKIAOTHER")), unknown);
}

TEST_F(Verifying, RefusesAnAlteredBodyPathQueryMethodOrSignedHeader) {
  for (auto alter : std::vector<void (*)(http::Request&)>{
           [](http::Request& r) { r.body += "&DryRun=true"; }, [](http::Request& r) { r.path = "/x"; },
           [](http::Request& r) { r.query = "a=b"; }, [](http::Request& r) { r.method = "GET"; },
           [](http::Request& r) { r.headers.set("Host", "elsewhere"); },
           [](http::Request& r) { r.headers.add("Content-Type", "second"); }}) {
    http::Request altered = request;
    alter(altered);
    EXPECT_EQ(codes(altered), mismatch);
  }
}

TEST_F(Verifying, LetsUnsignedHeadersBeAddedOnTheWay) {
  request.headers.set("User-Agent", "proxy");
  request.headers.add("Via", "1.1 proxy");
  EXPECT_EQ(codes(request), "accepted");
}

TEST_F(Verifying, RefusesAnAmzHeaderThatIsNotUnderTheSignature) {
  request.headers.add("X-Amz-Target", "Other.Operation");
  EXPECT_EQ(codes(request), mismatch);
}

TEST_F(Verifying, RefusesASignatureThatLeavesOutTheHost) {
  EXPECT_EQ(codes(with("content-type;host;", "content-type;")), mismatch);
}

TEST_F(Verifying, RefusesAnotherSecretAndAnotherRegion) {
  secret.secret_key = "other";
  EXPECT_EQ(codes(request), mismatch);
  secret.secret_key = "s3cr3t/+key";
  EXPECT_EQ(codes(request), "accepted");  // the cached key of the other secret is not used
  EXPECT_EQ(codes(with("/us-east-1/", "/us-east-2/")), mismatch);
}

TEST_F(Verifying, RefusesAMissingOrAWrongOrAnExpiredSessionToken) {
  http::Request altered = request;
  altered.headers.set("X-Amz-Security-Token", "other");
  EXPECT_EQ(codes(altered), unknown);
  secret.session_token = "";
  EXPECT_EQ(codes(request), unknown);
  secret.session_token = "tok/+=en";
  secret.expires_at = now;
  EXPECT_EQ(codes(request), "RequestExpired ExpiredToken ExpiredTokenException");
}

TEST_F(Verifying, AllowsAQuarterOfAnHourOfSkewAndNoMore) {
  const Duration quarter(15 * 60'000);
  EXPECT_EQ(codes(request, now + quarter), "accepted");
  EXPECT_EQ(codes(request, now - quarter), "accepted");
  EXPECT_EQ(codes(request, now + quarter + Duration(1)), expired);
  EXPECT_EQ(codes(request, now - quarter - Duration(1)), expired);
}

TEST_F(Verifying, RefusesAScopeOfAnotherDayThanTheDate) {
  EXPECT_EQ(codes(with("/20261124/", "/20261123/")), mismatch);
}

TEST_F(Verifying, RefusesMalformedAuthorizationAsIncomplete) {
  EXPECT_EQ(codes(with("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512")), incomplete);
  EXPECT_EQ(codes(with("/aws4_request", "")), incomplete);
  EXPECT_EQ(codes(with("/aws4_request", "/aws5_request")), incomplete);
  EXPECT_EQ(codes(with(", Signature=", ", Sig=")), incomplete);
  EXPECT_EQ(codes(with("Signature=", "Signature")), incomplete);
  EXPECT_EQ(codes(with(", Signature=", ", Credential=a/b/c/d/aws4_request, Signature=")), incomplete);
  EXPECT_EQ(codes(with("content-type;host", "host;content-type")), incomplete);
  EXPECT_EQ(codes(with("content-type;host", "Content-Type;host")), incomplete);
  http::Request undated = request;
  undated.headers.set("X-Amz-Date", "yesterday");
  EXPECT_EQ(codes(undated), incomplete);
}

TEST_F(Verifying, SurvivesAnAuthorizationCutAtEachByte) {
  const std::string text(request.headers.get("authorization"));
  for (std::size_t size = 0; size < text.size(); ++size) {
    http::Request cut = request;
    cut.headers.set("Authorization", text.substr(0, size));
    EXPECT_NE(codes(cut), "accepted") << size;
  }
}

TEST_F(Verifying, RefusesAPayloadDigestThatIsNotTheBodys) {
  http::Request altered = form_request();
  altered.headers.add("X-Amz-Content-Sha256", std::string(64, '0'));
  sign(altered, credentials, {"us-east-1", "ec2"}, now);
  EXPECT_EQ(codes(altered), mismatch);
}

TEST_F(Verifying, AcceptsAnUnsignedPayloadOnlyWhereItIsAllowed) {
  http::Request unsigned_body = form_request();
  SigningOptions options;
  options.unsigned_payload = options.payload_header = true;
  sign(unsigned_body, credentials, {"us-east-1", "ebs"}, now, options);
  EXPECT_EQ(codes(unsigned_body), mismatch);
  Verifier::Options allowed;
  allowed.unsigned_payload_allowed = true;
  Verifier ebs([this](const std::string&) { return std::optional(secret); }, allowed);
  EXPECT_TRUE(std::holds_alternative<Verified>(ebs.verify(unsigned_body, now)));
}

TEST_F(Verifying, TakesAPresignedUrlUntilItExpires) {
  http::Request url;
  url.headers.add("Host", "127.0.0.1:4577");
  SigningOptions options;
  options.presign = Duration(60'000);
  sign(url, credentials, {"us-east-1", "sts"}, now, options);
  EXPECT_EQ(codes(url, now + Duration(60'000)), "accepted");
  EXPECT_EQ(codes(url, now + Duration(60'001)), expired);
  http::Request doubled = url;
  doubled.query += "&X-Amz-Expires=604800";
  EXPECT_EQ(codes(doubled), incomplete);
  http::Request both = url;
  both.headers.add("Authorization", std::string(request.headers.get("authorization")));
  EXPECT_EQ(codes(both), incomplete);
  http::Request forever;
  forever.headers.add("Host", "h");
  options.presign = Duration(604'801'000);
  sign(forever, credentials, {"us-east-1", "sts"}, now, options);
  EXPECT_EQ(codes(forever), incomplete);
}

TEST_F(Verifying, ForgetsCachedKeysRatherThanGrow) {
  Verifier::Options options;
  options.cached_keys_max = 2;
  Verifier small([this](const std::string&) { return std::optional(secret); }, options);
  for (const char* region : {"a", "b", "c", "d", "a"}) {
    http::Request other = form_request();
    sign(other, credentials, {region, "ec2"}, now);
    EXPECT_TRUE(std::holds_alternative<Verified>(small.verify(other, now))) << region;
  }
}

TEST_F(Verifying, TellsTheClaimedScopeBeforeAnythingIsChecked) {
  EXPECT_EQ(claimed_scope(request), (SigningScope{"us-east-1", "ec2"}));
  http::Request url;
  url.query = "X-Amz-Credential=A%2F20261124%2Feu-west-1%2Fsts%2Faws4_request";
  EXPECT_EQ(claimed_scope(url), (SigningScope{"eu-west-1", "sts"}));
  EXPECT_EQ(claimed_scope(form_request()), std::nullopt);
}

}  // namespace
}  // namespace kiln::wire
