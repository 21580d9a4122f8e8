// Reference: what names an image in a registry, and what does not.
#include "registry/reference.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::registry {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(Reference, IsReadPartByPartAndWrittenBackTheSame) {
  const Reference reference = parse_reference("registry.example:5000/team/web:1.4.2@" + kDigest);
  EXPECT_EQ(reference.registry, "registry.example:5000");
  EXPECT_EQ(reference.repository, "team/web");
  EXPECT_EQ(reference.tag, "1.4.2");
  EXPECT_EQ(reference.digest.str(), kDigest);
  EXPECT_EQ(reference.manifest(), kDigest);
  for (const std::string text : {"localhost/web", "localhost:1/web:1", "[::1]:5000/a/b-c__d.e:x", "a.b/c"}) {
    EXPECT_EQ(parse_reference(text).str(), text);
    EXPECT_EQ(parse_reference(text + "@" + kDigest).str(), text + "@" + kDigest);
  }
  EXPECT_EQ(parse_reference("localhost/web:1").manifest(), "1");
  EXPECT_EQ(parse_reference("localhost/web").manifest(), "latest");
  EXPECT_EQ(parse_reference("docker.io/debian:12").repository, "library/debian");
}

TEST(Reference, WhatNamesNoImageIsAnErrorOfUsageAndNeverGuessed) {
  const std::string long_name(300, 'a');
  for (const std::string text : {"",
                                 "/",
                                 "web",
                                 "web:1",
                                 "team/web",
                                 "localhost",
                                 "localhost/",
                                 "localhost/Web",
                                 "localhost/a//b",
                                 "localhost/a/",
                                 "localhost/../x",
                                 "localhost/.a",
                                 "localhost/a_-b",
                                 "localhost/a:",
                                 "localhost/a:-x",
                                 "localhost/a:b/c",
                                 "localhost/a@",
                                 "localhost/a@sha256:1",
                                 "localhost/a@sha512:00",
                                 "localhost:0/a",
                                 "localhost:99999/a",
                                 "local host:1/a",
                                 "a.b:c/d",
                                 "http://localhost/a",
                                 "-a.b/c",
                                 "[::1/a",
                                 "[x]:1/a",
                                 "user@a.b/c",
                                 "localhost/a\n",
                                 "localhost/a?x",
                                 "localhost/a%2f"}) {
    try {
      parse_reference(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage) << text;
      EXPECT_FALSE(error.next().empty()) << text;
    }
  }
  EXPECT_THROW(parse_reference("localhost/" + long_name), Error);
  EXPECT_THROW(parse_reference("localhost/a:" + long_name), Error);
}

TEST(Reference, AnyVersionBecomesATag) {
  EXPECT_EQ(to_tag("1.4.2"), "1.4.2");
  EXPECT_EQ(to_tag("1.0.0+git.a"), "1.0.0_git.a");
  EXPECT_EQ(to_tag(".x"), "_x");
  for (const std::string& version : {std::string("-"), std::string("ä/ö"), std::string(500, 'x')}) {
    EXPECT_TRUE(is_tag(to_tag(version))) << version;
  }
}

}  // namespace
}  // namespace kiln::registry
