// Tests of policy documents: which form they must have, and whom a trust policy lets in.
#include "region/iam/policy_document.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "region/testing/refusals.h"

namespace kiln::region::iam {
namespace {

template <class Body>
std::string refusal(Body&& body) {
  const auto refusal = testing::refusal_of(std::forward<Body>(body));
  return refusal ? refusal->code() + ": " + refusal->message() : "";
}

std::string identity_refusal(const std::string& document) {
  return refusal([&] { check_identity_policy(document); });
}

std::string trust_refusal(const std::string& document) {
  return refusal([&] { TrustPolicy policy(document); });
}

std::string statement(const std::string& inside) {
  return R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow")" + inside + "}]}";
}

TEST(PolicyDocument, TakesWhatTheGrammarAllows) {
  for (const std::string& document :
       {statement(R"(,"Action":"s3:GetObject","Resource":"*")"),
        statement(R"(,"Sid":"One","Action":["s3:Get*","ec2:*"],"Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"])"),
        statement(R"(,"NotAction":"iam:*","NotResource":"arn:aws:iam::123456789012:user/*")"),
        statement(R"(,"Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":true},
                     "NumericLessThan":{"aws:MultiFactorAuthAge":3600},"StringLike":{"s3:prefix":["a/*","b/*"]}})"),
        std::string(
            R"({"Statement":{"Effect":"Deny","Action":"*","Resource":"*"},"Id":"x","Version":"2008-10-17"})")}) {
    EXPECT_EQ(identity_refusal(document), "") << document;
  }
}

TEST(PolicyDocument, WhatIsNoPolicyHasSyntaxErrors) {
  for (const std::string& document :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), std::string("{}"),
        std::string(R"({"Version":"2012-10-17"})"), std::string(R"({"Version":"2012-10-17","Statement":[]})"),
        std::string(R"({"Version":"2020-01-01","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]})"),
        std::string(R"({"Version":"2012-10-17","Statement":[{"Action":"*","Resource":"*"}]})"),
        std::string(R"({"Version":"2012-10-17","Statement":["x"]})"),
        std::string(
            R"({"Version":"2012-10-17","Colour":"red","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]})"),
        statement(R"(,"Action":"*","Resource":"*","Colour":"red")"), statement(R"(,"Action":[],"Resource":"*")"),
        statement(R"(,"Action":7,"Resource":"*")"), statement(R"(,"Action":"*","NotAction":"*","Resource":"*")"),
        statement(R"(,"Action":"*","Resource":"*","Condition":"x")"),
        statement(R"(,"Action":"*","Resource":"*","Condition":{"Bool":"x"})"),
        statement(R"(,"Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":{}}})"),
        std::string(R"({"Version":"2012-10-17","Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]})")}) {
    EXPECT_EQ(identity_refusal(document), "MalformedPolicyDocument: Syntax errors in policy.") << document;
  }
}

TEST(PolicyDocument, SaysInAwsWordsWhatAnIdentityPolicyLacks) {
  const std::string code = "MalformedPolicyDocument: ";
  EXPECT_EQ(identity_refusal(statement(R"(,"Resource":"*")")), code + "Policy statement must contain actions.");
  EXPECT_EQ(identity_refusal(statement(R"(,"Action":"s3:*")")), code + "Policy statement must contain resources.");
  EXPECT_EQ(identity_refusal(statement(R"(,"Action":"s3:*","Resource":"*","Principal":"*")")),
            code + "Policy document should not specify a principal.");
  EXPECT_EQ(identity_refusal(statement(R"(,"Action":"GetObject","Resource":"*")")),
            code + "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
  EXPECT_EQ(identity_refusal(statement(R"(,"Action":"s3:a:b","Resource":"*")")),
            code + "Actions/Condition can contain only one colon.");
  EXPECT_EQ(identity_refusal(statement(R"(,"Action":"s 3:a","Resource":"*")")), code + "Vendor s 3 is not valid");
  EXPECT_EQ(identity_refusal(statement(R"(,"Action":"s3:a","Resource":"bucket")")),
            code + "Resource bucket must be in ARN format or \"*\".");
  const std::string one = R"({"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"})";
  EXPECT_EQ(identity_refusal(R"({"Version":"2012-10-17","Statement":[)" + one + "," + one + "]}"),
            code + "Statement IDs (SID) in a single policy must be unique.");
}

TEST(PolicyDocument, SaysInAwsWordsWhatATrustPolicyMayNotHave) {
  const std::string code = "MalformedPolicyDocument: ";
  const auto trust = [](const std::string& principal, const std::string& more = "") {
    return statement(R"(,"Action":"sts:AssumeRole","Principal":)" + principal + more);
  };
  EXPECT_EQ(trust_refusal(trust(R"({"Service":"ec2.amazonaws.com"})")), "");
  EXPECT_EQ(trust_refusal(trust(R"({"AWS":["*","123456789012","arn:aws:iam::123456789012:user/a/b"]})")), "");
  EXPECT_EQ(trust_refusal(trust(R"({"Federated":"cognito-identity.amazonaws.com"})")), "");
  EXPECT_EQ(trust_refusal(trust(R"("*")")), "");
  EXPECT_EQ(trust_refusal(trust(R"({"Service":"ec2.amazonaws.com"})", R"(,"Resource":"*")")),
            code + "Has prohibited field Resource");
  EXPECT_EQ(trust_refusal(statement(R"(,"Action":"sts:AssumeRole")")), code + "Missing required field Principal");
  EXPECT_EQ(trust_refusal(statement(R"(,"Principal":"*")")), code + "Missing required field Action");
  EXPECT_EQ(trust_refusal(statement(R"(,"Principal":"*","Action":"s3:GetObject")")),
            code + "AssumeRole policy may only specify STS AssumeRole actions.");
  EXPECT_EQ(trust_refusal(trust(R"({"Service":"ec2"})")), code + R"(Invalid principal in policy: "SERVICE":"ec2")");
  for (const char* wrong : {"arn:aws:iam::12:root", "arn:aws:iam::123456789012:user/*", "arn:aws:s3:::bucket", "nobody",
                            "arn:aws:iam::123456789012:user/"}) {
    EXPECT_EQ(trust_refusal(trust(fmt::format(R"({{"AWS":"{}"}})", wrong))),
              code + fmt::format(R"(Invalid principal in policy: "AWS":"{}")", wrong));
  }
}

struct Caller {
  Principal root{"123456789012", "arn:aws:iam::123456789012:root", "123456789012", "", false};
  Principal user{"123456789012", "arn:aws:iam::123456789012:user/ci/ann", "AIDAANN", "", false};
  Principal session{"123456789012", "arn:aws:sts::123456789012:assumed-role/deploy/s1", "AROADEPLOY:s1",
                    "arn:aws:iam::123456789012:role/ci/deploy", true};
  Principal stranger{"210987654321", "arn:aws:iam::210987654321:user/eve", "AIDAEVE", "", false};
};

bool lets_in(const std::string& principal, const Principal& caller, const std::string& condition = "",
             const std::optional<std::string>& external_id = std::nullopt,
             const std::map<std::string, std::string>& ids = {}) {
  std::string text =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":)" + principal +
      (condition.empty() ? "" : R"(,"Condition":)" + condition) + "}]}";
  TrustRequest request;
  request.caller = &caller;
  request.session_name = "s";
  request.external_id = external_id;
  return TrustPolicy(text).allows(request, ids);
}

TEST(TrustPolicy, LetsInWhomItNames) {
  const Caller callers;
  const std::string account = R"({"AWS":"123456789012"})";
  const std::string root = R"({"AWS":"arn:aws:iam::123456789012:root"})";
  for (const std::string& whole : {account, root}) {
    EXPECT_TRUE(lets_in(whole, callers.user)) << "an account's root stands for the account";
    EXPECT_TRUE(lets_in(whole, callers.session));
    EXPECT_FALSE(lets_in(whole, callers.stranger));
  }
  EXPECT_TRUE(lets_in(R"("*")", callers.stranger));
  EXPECT_TRUE(lets_in(R"({"AWS":"arn:aws:iam::123456789012:user/ci/ann"})", callers.user));
  EXPECT_FALSE(lets_in(R"({"AWS":"arn:aws:iam::123456789012:user/ann"})", callers.user)) << "the path counts";
  EXPECT_TRUE(lets_in(R"({"AWS":"arn:aws:iam::123456789012:role/ci/deploy"})", callers.session));
  EXPECT_TRUE(lets_in(R"({"AWS":"arn:aws:sts::123456789012:assumed-role/deploy/s1"})", callers.session));
  EXPECT_FALSE(lets_in(R"({"AWS":"arn:aws:sts::123456789012:assumed-role/deploy/s2"})", callers.session));
  EXPECT_FALSE(lets_in(R"({"Service":"ec2.amazonaws.com"})", callers.user));
}

TEST(TrustPolicy, AUserThatWasMadeAgainIsAnotherOne) {
  const Caller callers;
  const std::string ann = R"({"AWS":"arn:aws:iam::123456789012:user/ci/ann"})";
  EXPECT_TRUE(lets_in(ann, callers.user, "", std::nullopt, {{callers.user.arn, "AIDAANN"}}));
  EXPECT_FALSE(lets_in(ann, callers.user, "", std::nullopt, {{callers.user.arn, "AIDAOLDANN"}}));
}

TEST(TrustPolicy, AServiceIsLetInByItsNameOnly) {
  TrustRequest request;
  request.service = "ec2.amazonaws.com";
  const auto allows = [&](const std::string& principal) {
    return TrustPolicy(statement(R"(,"Action":"sts:AssumeRole","Principal":)" + principal)).allows(request, {});
  };
  EXPECT_TRUE(allows(R"({"Service":["ecs-tasks.amazonaws.com","ec2.amazonaws.com"]})"));
  EXPECT_FALSE(allows(R"({"Service":"lambda.amazonaws.com"})"));
  EXPECT_FALSE(allows(R"("*")"));
}

TEST(TrustPolicy, ADenialWins) {
  const Caller callers;
  const std::string text = R"({"Version":"2012-10-17","Statement":[
      {"Effect":"Allow","Action":"sts:*","Principal":"*"},
      {"Effect":"Deny","Action":"sts:AssumeRole","NotPrincipal":{"AWS":"arn:aws:iam::123456789012:user/ci/ann"}}]})";
  TrustRequest request;
  request.caller = &callers.user;
  EXPECT_TRUE(TrustPolicy(text).allows(request, {}));
  request.caller = &callers.stranger;
  EXPECT_FALSE(TrustPolicy(text).allows(request, {}));
}

TEST(TrustPolicy, EvaluatesTheConditionsThatTrustPoliciesHave) {
  const Caller callers;
  const auto with = [&](const std::string& condition, const Principal& who, std::optional<std::string> id = {}) {
    return lets_in(R"("*")", who, condition, id);
  };
  const std::string external = R"({"StringEquals":{"sts:ExternalId":["one","two"]}})";
  EXPECT_TRUE(with(external, callers.user, "two"));
  EXPECT_FALSE(with(external, callers.user, "three"));
  EXPECT_FALSE(with(external, callers.user));
  EXPECT_TRUE(with(R"({"StringNotEquals":{"sts:ExternalId":"one"}})", callers.user));
  EXPECT_TRUE(with(R"({"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/ci/*"}})", callers.session));
  EXPECT_FALSE(with(R"({"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/ci/*"}})", callers.user));
  EXPECT_TRUE(with(R"({"StringEquals":{"aws:PrincipalAccount":"210987654321"}})", callers.stranger));
  EXPECT_TRUE(with(R"({"StringLike":{"sts:RoleSessionName":"?"}})", callers.user));
  EXPECT_TRUE(with(R"({"StringLike":{"aws:userid":"AROADEPLOY:*"}})", callers.session));
  EXPECT_FALSE(with(R"({"Bool":{"aws:MultiFactorAuthPresent":"true"}})", callers.user)) << "the key is not there";
  EXPECT_TRUE(with(R"({"BoolIfExists":{"aws:MultiFactorAuthPresent":true}})", callers.user));
  EXPECT_FALSE(with(R"({"BoolIfExists":{"aws:MultiFactorAuthPresent":true}})", callers.session));
  EXPECT_TRUE(with(R"({"Null":{"sts:ExternalId":"true"}})", callers.user));
  EXPECT_FALSE(with(R"({"Null":{"sts:ExternalId":"true"}})", callers.user, "x"));
}

TEST(TrustPolicy, AConditionThatIsNotEvaluatedIsNamedWhereItWouldDecide) {
  const Caller callers;
  const std::string address = R"({"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}})";
  EXPECT_EQ(
      refusal([&] { lets_in(R"("*")", callers.user, address); }),
      "UnsupportedOperation: The trust policy's condition IpAddress of aws:SourceIp is not evaluated by this region");
  EXPECT_FALSE(lets_in(R"({"AWS":"123456789012"})", callers.stranger, address)) << "they are not let in either way";
}

TEST(PolicyDocument, AnyCutOfADocumentIsRefusedOrTaken) {
  const std::string whole = statement(R"(,"Action":["sts:AssumeRole"],"Principal":{"AWS":["123456789012"]},
      "Condition":{"StringEquals":{"sts:ExternalId":"x"}})");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(trust_refusal(whole.substr(0, size)), "MalformedPolicyDocument: Syntax errors in policy.") << size;
  }
}

TEST(PolicyDocument, WhiteSpaceDoesNotCount) { EXPECT_EQ(counted_size("{ \"a\" :\n\t1 }\r\n"), 7u); }

}  // namespace
}  // namespace kiln::region::iam
