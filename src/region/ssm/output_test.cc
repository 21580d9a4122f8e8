// Output and secrets: text that is shown, and values that are not.
#include <gtest/gtest.h>

#include "base/error.h"
#include "region/ssm/output.h"
#include "region/ssm/secret.h"

namespace kiln::region::ssm {
namespace {

// The cases of amazon-ssm-agent's own test of TruncateOutput, with a room of 100.
TEST(Output, IsJoinedAndCutAsAwssAgentDoes) {
  const std::string text =
      "This is a sample text. This is a sample text. This is a sample text. This is a sample text. This is a sample "
      "text. ";
  EXPECT_EQ(joined("", "", 100), "");
  EXPECT_EQ(joined("sample output", "", 100), "sample output");
  EXPECT_EQ(joined("", "sample error", 100), "\n----------ERROR-------\nsample error");
  EXPECT_EQ(joined("sample output", "sample error", 100), "sample output\n----------ERROR-------\nsample error");
  EXPECT_EQ(joined(text, "", 100),
            "This is a sample text. This is a sample text. This is a sample text. This is \n---Output truncated---");
  EXPECT_EQ(joined("", text, 100),
            "\n----------ERROR-------\nThis is a sample text. This is a sample text. This is\n---Error truncated----");
  EXPECT_EQ(joined(text, text, 100),
            "This is a sampl\n---Output truncated---\n----------ERROR-------\nThis is a sampl\n---Error truncated----");
}

TEST(Output, CharactersAreCountedAndNeverCutInTwo) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\xC3\xA4";
  EXPECT_EQ(shown_output(text, false, 100), text);
  const std::string cut = shown_output(text + "x", false, 100);
  EXPECT_TRUE(cut.ends_with("\xC3\xA4\n---Output truncated---")) << cut;
}

TEST(Output, WhatIsNoTextBecomesTheReplacementCharacter) {
  EXPECT_EQ(shown_output(std::string("a\xFF\xC3") + "b", false, 100),
            "a\xEF\xBF\xBD\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(shown_output("\xED\xA0\x80", false, 100), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(shown_output("\xF0\x9F\x98", false, 100), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(shown_output("\xF0\x9F\x98\x80", false, 100), "\xF0\x9F\x98\x80");
}

TEST(Secret, IsOpenedOnlyWithItsKeyAndForItsName) {
  host::SeededRandom random(1);
  const std::string key(32, 'k');
  const std::string sealed = seal(key, "/a", "value", random);
  EXPECT_EQ(unseal(key, "/a", sealed), "value");
  EXPECT_NE(seal(key, "/a", "value", random), sealed) << "two of the same are not seen to be the same";
  EXPECT_THROW(unseal(std::string(32, 'x'), "/a", sealed), Error);
  EXPECT_THROW(unseal(key, "/b", sealed), Error);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string altered = sealed;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    EXPECT_THROW(unseal(key, "/a", altered), Error) << i;
    EXPECT_THROW(unseal(key, "/a", sealed.substr(0, i)), Error) << i;
  }
}

}  // namespace
}  // namespace kiln::region::ssm
