// HeaderValues: fields as registries send them, and as they should not.
#include "registry/header_values.h"

#include <gtest/gtest.h>

namespace kiln::registry {
namespace {

TEST(Challenges, AreReadAsRegistriesWriteThem) {
  const auto one = parse_challenges(
      R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push")");
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].scheme, "bearer");
  EXPECT_EQ(one[0].parameters.at("realm"), "https://auth.docker.io/token");
  EXPECT_EQ(one[0].parameters.at("scope"), "repository:a/b:pull,push");
  const auto two = parse_challenges(R"(BASIC Realm="a \"b\" \\", charset=UTF-8, Negotiate, bearer realm=x)");
  ASSERT_EQ(two.size(), 3U);
  EXPECT_EQ(two[0].scheme, "basic");
  EXPECT_EQ(two[0].parameters.at("realm"), R"(a "b" \)");
  EXPECT_EQ(two[0].parameters.at("charset"), "UTF-8");
  EXPECT_EQ(two[1].scheme, "negotiate");
  EXPECT_EQ(two[2].parameters.at("realm"), "x");
}

TEST(Challenges, WhatCannotBeReadIsLeftOut) {
  EXPECT_TRUE(parse_challenges("").empty());
  EXPECT_TRUE(parse_challenges("\"\"").empty());
  EXPECT_TRUE(parse_challenges(R"(Bearer realm="no end)")[0].parameters.empty());
  EXPECT_LE(parse_challenges(std::string(100'000, 'a') + std::string(100'000, ',')).size(), 1U);
}

TEST(Links, OfTheNextPageAreFoundAmongOthers) {
  EXPECT_EQ(parse_next_link(R"(</v2/a/tags/list?last=b&n=2>; rel="next")"), "/v2/a/tags/list?last=b&n=2");
  EXPECT_EQ(parse_next_link(R"(<a>; rel="prev", <b>; title="x;y"; REL=Next)"), "b");
  for (const char* none : {"", "<a>", "<a>; rel=prev", "a; rel=next", "<a", "<a>; rel", "<a>; rel=\"next"}) {
    EXPECT_EQ(parse_next_link(none), std::nullopt) << none;
  }
}

TEST(Ranges, AreReadOrNothing) {
  EXPECT_EQ(parse_content_range("bytes 5-9/10"), (ContentRange{5, 9, 10}));
  EXPECT_EQ(parse_content_range("Bytes 5-9/*"), (ContentRange{5, 9, std::nullopt}));
  for (const char* none : {"", "bytes", "bytes 9-5/10", "bytes 5-10/10", "bytes */10", "bytes 5-9", "items 5-9/10",
                           "bytes -5-9/10", "bytes 5-9/99999999999999999999", "bytes 5/9-10"}) {
    EXPECT_EQ(parse_content_range(none), std::nullopt) << none;
  }
  EXPECT_EQ(parse_upload_range("0-1023"), 1024U);
  EXPECT_EQ(parse_upload_range("bytes=0-1023"), 1024U);
  EXPECT_EQ(parse_upload_range("0-0"), 0U);
  for (const char* none : {"", "0", "1-5", "0-", "-5", "0-5x", "0--5"}) {
    EXPECT_EQ(parse_upload_range(none), std::nullopt) << none;
  }
}

TEST(RetryAfter, IsSecondsOrADateAndNeverBelowZero) {
  const Time now = parse_iso8601("2026-11-24T03:30:00Z");
  EXPECT_EQ(parse_retry_after("7", now), Duration(7000));
  EXPECT_EQ(parse_retry_after("Tue, 24 Nov 2026 03:30:05 GMT", now), Duration(5000));
  EXPECT_EQ(parse_retry_after("Tue, 24 Nov 2026 03:00:00 GMT", now), Duration(0));
  EXPECT_EQ(parse_retry_after("99999999999", now), Duration(86'400'000));
  for (const char* none : {"", "soon", "-1", "1.5"}) EXPECT_EQ(parse_retry_after(none, now), std::nullopt) << none;
}

TEST(MediaType, IsWithoutParametersAndInSmallLetters) {
  EXPECT_EQ(media_type_of("Text/HTML ; charset=utf-8"), "text/html");
  EXPECT_EQ(media_type_of(""), "");
}

}  // namespace
}  // namespace kiln::registry
