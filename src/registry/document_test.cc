// Document: manifests of all kinds, whole, cut off and hostile.
#include "registry/document.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::registry {
namespace {

std::string descriptor(const std::string& content, const std::string& type, const std::string& more = "") {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}{}}})", type, sha256(content).str(), content.size(),
                     more);
}

std::string manifest(const std::string& type, const std::string& more = "") {
  return fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{},{}]{}}})", type,
                     descriptor("config", "c/c"), descriptor("one", "l/l"),
                     descriptor("two", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", R"(,"urls":["x"])"),
                     more);
}

ErrorCode code_of(std::string_view bytes, std::string_view type = "") {
  try {
    read_document(bytes, type);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(Document, AManifestNamesItsBlobsWithoutForeignOnes) {
  for (const std::string_view type : {kOciManifest, kDockerManifest}) {
    const Document document = read_document(manifest(std::string(type)), type);
    EXPECT_FALSE(document.is_index);
    ASSERT_EQ(document.blobs.size(), 2U);
    EXPECT_EQ(document.blobs[0].digest, sha256("config"));
    EXPECT_EQ(document.blobs[1].digest, sha256("one"));
    EXPECT_EQ(referrer_type(document), "c/c");
  }
}

TEST(Document, AnArtifactNamesItsSubject) {
  const Document document =
      read_document(manifest(std::string(kOciManifest),
                             R"(,"artifactType":"a/a","annotations":{"k":"v"},"subject":)" + descriptor("s", "x")),
                    "");
  EXPECT_EQ(document.subject.digest, sha256("s"));
  EXPECT_EQ(document.artifact_type, "a/a");
  EXPECT_EQ(document.annotations.at("k"), "v");
}

TEST(Document, AnIndexNamesItsManifests) {
  const std::string bytes =
      fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", descriptor("m", std::string(kOciManifest)));
  const Document document = read_document(bytes, "");
  EXPECT_TRUE(document.is_index);
  EXPECT_EQ(document.media_type, kOciIndex);
  ASSERT_EQ(document.manifests.size(), 1U);
}

TEST(Document, WhatIsNoneIsRefused) {
  const std::string good = manifest(std::string(kOciManifest));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    return bytes.replace(bytes.find(from), from.size(), to);
  };
  for (const std::string& bytes :
       {std::string(), std::string("<html>"), std::string("[]"), std::string("{}"), std::string(100'000, '['),
        with("sha256:", "sha512:"), with("\"size\":6", "\"size\":-6"), with("\"size\":6", "\"size\":1e30"),
        with("\"layers\":[", "\"layers\":{\"x\":["), with("\"config\":", "\"cnofig\":"), std::string(5 << 20, ' ')}) {
    EXPECT_EQ(code_of(bytes), ErrorCode::corrupt) << bytes.substr(0, 300);
  }
  EXPECT_EQ(code_of(R"({"schemaVersion":1,"fsLayers":[]})"), ErrorCode::unsupported);
  EXPECT_EQ(code_of(R"({"schemaVersion":2,"mediaType":"x/y"})"), ErrorCode::unsupported);
  EXPECT_EQ(code_of(good, kOciIndex), ErrorCode::corrupt);  // the registry calls it something else
  EXPECT_EQ(code_of(good, "text/plain"), ErrorCode::internal);
}

TEST(Document, CutOffAtAnyByteItIsCorrupt) {
  const std::string good = manifest(std::string(kOciManifest));
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(code_of(std::string_view(good).substr(0, size)), ErrorCode::corrupt) << size;
  }
}

TEST(Referrers, AreReadBackAsTheyWereWritten) {
  const Referrer one{{sha256("a"), 1, std::string(kOciManifest), {}}, "t/t", {{"k", "v"}}};
  const Referrer two{{sha256("b"), 2, std::string(kOciManifest), {}}, "", {}};
  EXPECT_EQ(write_referrers({one, two}), write_referrers({two, one}));
  const auto read = read_referrers(write_referrers({one, two}));
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(write_referrers(read), write_referrers({one, two}));
  EXPECT_TRUE(read_referrers(R"({"schemaVersion":2,"manifests":null})").empty());
}

}  // namespace
}  // namespace kiln::registry
