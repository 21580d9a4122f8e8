// Policies: what is read, and what is refused with its line.
#include "spec/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::spec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Policies, AreReadWhole) {
  const Policy policy = parse_policy(R"(signed_by: [release.pub, /etc/kiln/second.pub]
tests: passed
commit: required
builder: urn:kiln:builder
max_age: 30d
base: debian:bookworm
packages:
  forbidden: [telnetd]
  minimum: {openssl: 3.0.11-1}
)",
                                     "policy.yaml");
  EXPECT_THAT(policy.signed_by, ElementsAre("release.pub", "/etc/kiln/second.pub"));
  EXPECT_TRUE(policy.tests_passed);
  EXPECT_TRUE(policy.commit_required);
  EXPECT_EQ(policy.builder, "urn:kiln:builder");
  EXPECT_EQ(policy.max_age, std::chrono::hours(720));
  EXPECT_THAT(policy.base, ElementsAre("debian:bookworm"));
  EXPECT_THAT(policy.packages_forbidden, ElementsAre("telnetd"));
  EXPECT_EQ(policy.packages_minimum.at("openssl"), "3.0.11-1");
}

TEST(Policies, WhatIsWrongIsQuotedWithItsLine) {
  const auto refusal = [](const char* text) {
    try {
      parse_policy(text, "policy.yaml");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.message();
    }
    return std::string("taken");
  };
  EXPECT_THAT(refusal("tests: passed\nsigned-by: a\n"), HasSubstr("policy.yaml:2:1: unknown key 'signed-by'"));
  EXPECT_THAT(refusal("tests: failed\n"), HasSubstr("passed"));
  EXPECT_THAT(refusal("max_age: 30\n"), HasSubstr("needs a unit"));
  EXPECT_THAT(refusal("packages: {minimum: {openssl: latest}}\n"), HasSubstr("a Debian version"));
  EXPECT_THAT(refusal("signed_by: []\n"), HasSubstr("is empty"));
  EXPECT_NE(refusal(""), "taken");
  EXPECT_NE(refusal("{}"), "taken");
}

}  // namespace
}  // namespace kiln::spec
