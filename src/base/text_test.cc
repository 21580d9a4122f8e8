// The small string operations.
#include "base/text.h"

#include <gtest/gtest.h>

namespace kiln {

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(split("", ','), (std::vector<std::string>{""}));
}

TEST(Wildcard, FollowsAwsFilters) {
  EXPECT_TRUE(wildcard_match("debian-12-*", "debian-12-amd64"));
  EXPECT_TRUE(wildcard_match("*b*d", "abcbd"));
  EXPECT_TRUE(wildcard_match("a?c", "abc"));
  EXPECT_TRUE(wildcard_match("a\\*c", "a*c"));
  EXPECT_FALSE(wildcard_match("a\\*c", "abc"));
  EXPECT_FALSE(wildcard_match("a?c", "ac"));
  EXPECT_TRUE(wildcard_match("*", ""));
  EXPECT_FALSE(wildcard_match("", "x"));
}

TEST(Wildcard, DoesNotExplodeOnManyStars) {
  std::string pattern;
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(wildcard_match(pattern + "b", std::string(2000, 'a')));
}

TEST(Nearest, FindsWhatWasMeantAndNothingElse) {
  std::vector<std::string> keys = {"packages", "copy", "run", "health"};
  EXPECT_EQ(nearest("pakages", keys), "packages");
  EXPECT_EQ(nearest("hralth", keys), "health");
  EXPECT_EQ(nearest("zzzzz", keys), std::nullopt);
}

TEST(LastLines, TakesTheEnd) {
  EXPECT_EQ(last_lines("a\nb\nc\n", 2), "b\nc");
  EXPECT_EQ(last_lines("a", 5), "a");
  EXPECT_EQ(last_lines("", 5), "");
}

TEST(ParseInt, TakesWholeNumbersOnly) {
  EXPECT_EQ(parse_int("-12"), -12);
  for (const char* bad : {"", "1x", " 1", "99999999999999999999"}) EXPECT_EQ(parse_int(bad), std::nullopt) << bad;
}

TEST(FormatBytes, PicksAUnit) {
  EXPECT_EQ(format_bytes(12), "12 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(200ull << 20), "200 MiB");
}

}  // namespace kiln
