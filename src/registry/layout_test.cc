// Layout: folders that skopeo reads, what is said about an image with it, and what is no image.
#include "registry/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"
#include "registry/testing/fake_registry.h"

namespace kiln::registry {
namespace {

using testing::failure;

class LayoutTest : public ::testing::Test {
 protected:
  Digest bake(const std::string& content) {
    store::ImageConfig config;
    config.app = "web";
    config.history = {"files"};
    return here_.add_image(config, {{here_.put(content), content.size(), std::string(store::kErofsLayerType), {}}});
  }
  Layout at(const std::string& name) { return {folder_.path() / "layout", name}; }
  Client client() {
    Connect connect;
    connect.plain_http = true;
    connect.env = [](const char*) { return std::nullopt; };
    return {fake_.name(), connect, clock_, random_, 1000};
  }

  host::SimulatedClock clock_{Time(Duration(1'700'000'000'000))};
  host::SeededRandom random_{1};
  host::TemporaryFolder folder_{"layout-test-"};
  store::Store here_{folder_.path() / "here"};
  store::Store there_{folder_.path() / "there"};
  FakeRegistry fake_;
};

TEST_F(LayoutTest, IsNamedAsSkopeoNamesIt) {
  EXPECT_EQ(parse_layout("registry.example/web:1", "/base"), std::nullopt);
  const auto named = parse_layout("oci:images:web-1.0", "/base");
  ASSERT_TRUE(named);
  EXPECT_EQ(named->folder, "/base/images");
  EXPECT_EQ(named->name, "web-1.0");
  EXPECT_EQ(parse_layout("oci:/abs", "/base")->folder, "/abs");
  EXPECT_EQ(failure([] { parse_layout("oci:", "/"); }).code(), ErrorCode::usage);
  EXPECT_EQ(failure([] { parse_layout("oci::x", "/"); }).code(), ErrorCode::usage);
}

TEST_F(LayoutTest, AnImageGoesOutAndComesInWithAllThatIsSaidAboutIt) {
  const Digest image = bake("layer");
  const Digest sbom = here_.add_artifact(image, "test/sbom", {{here_.put("sbom"), 4, "text/plain", {}}}, {});
  const Moved out = push(here_, image, at("web-1"), {});
  EXPECT_THAT(out.referrers, ::testing::ElementsAre(sbom));
  EXPECT_EQ(push(here_, image, at("web-1"), {}).tally.bytes_moved, 0u);
  const Moved in = pull(at("web-1"), there_, {});
  EXPECT_EQ(in.digest, image);
  EXPECT_EQ(there_.images(), std::vector<Digest>{image});
  EXPECT_EQ(there_.artifacts_of(image).at(0).manifest, sbom);
  there_.verify(there_.image(image));
  // Without a name it is the only image that is there: what speaks about it is none.
  EXPECT_EQ(pull(at(""), there_, {}).digest, image);
}

TEST_F(LayoutTest, ANameMovesToTheImageThatWasWrittenLast) {
  const Digest first = bake("one"), second = bake("two");
  push(here_, first, at("latest"), {});
  push(here_, second, at("latest"), {});
  EXPECT_EQ(pull(at("latest"), there_, {}).digest, second);
  const Error two = failure([&] { pull(at(""), there_, {}); });
  EXPECT_EQ(two.code(), ErrorCode::usage);
  EXPECT_THAT(two.message(), ::testing::HasSubstr("holds 2 images"));
  const Error none = failure([&] { pull(at("web"), there_, {}); });
  EXPECT_EQ(none.code(), ErrorCode::not_found);
  EXPECT_THAT(none.next(), ::testing::HasSubstr("latest"));
}

TEST_F(LayoutTest, FromAFolderToARegistryAndBack) {
  const Digest image = bake(std::string(5500, 'a'));
  here_.add_artifact(image, "test/sbom", {{here_.put("sbom"), 4, "text/plain", {}}}, {});
  push(here_, image, at("web"), {});
  Client client = this->client();
  const Reference to = parse_reference(fake_.name() + "/team/web:1");
  EXPECT_EQ(push(at("web"), client, to, there_, {}).referrers.size(), 1u);
  const Layout back{folder_.path() / "back", "web"};
  EXPECT_EQ(pull(client, to, back, there_, {}).digest, image);
  EXPECT_TRUE(there_.images().empty());
  EXPECT_TRUE(host::list_folder(there_.folder() / "blobs/sha256").empty());
  EXPECT_TRUE(host::list_folder(there_.folder() / "transfers/incoming").empty());
  EXPECT_EQ(pull(back, there_, {}).digest, image);
}

TEST_F(LayoutTest, WhatWasAlteredInTheFolderIsNotTakenIn) {
  const Digest image = bake("layer");
  push(here_, image, at("web"), {});
  host::write_file(at("web").folder / "blobs/sha256" / sha256("layer").hex(), "Layer");
  EXPECT_EQ(failure([&] { pull(at("web"), there_, {}); }).code(), ErrorCode::corrupt);
  EXPECT_TRUE(there_.images().empty());
  host::write_file(at("web").folder / "blobs/sha256" / image.hex(), "{}");
  EXPECT_EQ(failure([&] { pull(at("web"), there_, {}); }).code(), ErrorCode::corrupt);
}

TEST_F(LayoutTest, AFolderWithSomethingElseInItStaysAsItIs) {
  const Layout other{folder_.path() / "other", "web"};
  host::make_folders(other.folder);
  host::write_file(other.folder / "letter", "dear");
  EXPECT_EQ(failure([&] { push(here_, bake("layer"), other, {}); }).code(), ErrorCode::usage);
  EXPECT_EQ(host::list_folder(other.folder), std::vector<std::string>{"letter"});
  EXPECT_EQ(failure([&] { pull(other, there_, {}); }).code(), ErrorCode::usage);
}

}  // namespace
}  // namespace kiln::registry
