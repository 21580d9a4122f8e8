// Ini: AWS's files as they are found on people's machines, and broken ones.
#include "aws/ini.h"

#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::aws {
namespace {

using ::testing::HasSubstr;

std::string golden() {
  std::ifstream file(std::string(KILN_SOURCE_DIR) + "/src/aws/testdata/config");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string refusal(std::string_view text) {
  try {
    parse_ini(text, "/home/a/.aws/config");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_EQ(error.message().find("secret"), std::string::npos) << error.message();
    return error.message();
  }
  return "read";
}

TEST(Ini, ReadsSectionsSettingsCommentsAndNestedSettings) {
  IniFile file = parse_ini(golden(), "config");
  ASSERT_EQ(file.size(), 5u);
  EXPECT_EQ(file.at("default").values.at("output").text, "json");
  const IniSection& dev = file.at("profile dev");
  EXPECT_EQ(dev.line, 6);
  EXPECT_EQ(dev.values.at("region").text, "eu-west-1");
  EXPECT_EQ(dev.values.at("region").line, 7);
  EXPECT_EQ(dev.values.at("aws_secret_access_key").text, "config/sec#ret+x");
  EXPECT_EQ(dev.values.at("s3").nested.at("max_concurrent_requests"), "20");
  EXPECT_TRUE(file.contains("profile my team"));
  EXPECT_EQ(file.at("services local").values.at("auto_scaling").nested.at("endpoint_url"), "http://127.0.0.2:4577");
}

TEST(Ini, ReadsOrRefusesTheFileCutAtEachByte) {
  const std::string text = golden();
  for (std::size_t size = 0; size < text.size(); ++size) {
    try {
      parse_ini(text.substr(0, size), "config");
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), HasSubstr("config:")) << size;
    }
  }
}

TEST(Ini, TakesWindowsLineEndsAndAByteOrderMark) {
  IniFile file = parse_ini("\xEF\xBB\xBF[default]\r\nregion = x\r\n", "config");
  EXPECT_EQ(file.at("default").values.at("region").text, "x");
}

TEST(Ini, LetsALaterSettingReplaceAnEarlierOne) {
  IniFile file = parse_ini("[a]\nk=1\n[b]\nk=2\n[a]\nK=3\n", "config");
  EXPECT_EQ(file.at("a").values.at("k").text, "3");
}

TEST(Ini, NamesTheLineAndNeverShowsAValue) {
  EXPECT_EQ(refusal("[default]\nsecret"), "/home/a/.aws/config:2: neither a [section] nor 'key = value'");
  EXPECT_EQ(refusal("\n= secret\n"), "/home/a/.aws/config:2: a setting before the first [section]");
  EXPECT_EQ(refusal("[default\nsecret=1"), "/home/a/.aws/config:1: a section's title has no closing ']'");
  EXPECT_EQ(refusal("[]"), "/home/a/.aws/config:1: a section has no title");
  EXPECT_EQ(refusal("[a]\n = secret"), "/home/a/.aws/config:2: an indented line that belongs to no setting");
  EXPECT_EQ(refusal("[a]\nk =\n  secret"), "/home/a/.aws/config:3: neither a [section] nor 'key = value'");
  EXPECT_EQ(refusal(std::string_view("[a]\nk = \0", 9)), "/home/a/.aws/config:2: a zero byte: this is not a text file");
}

TEST(Ini, RefusesAFileThatIsTooLarge) {
  EXPECT_THAT(refusal(std::string((1u << 20) + 1, ' ')), HasSubstr("1 MiB"));
  EXPECT_THAT(refusal(std::string(10'001, '\n')), HasSubstr("10000 lines"));
}

}  // namespace
}  // namespace kiln::aws
