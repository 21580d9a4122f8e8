// Import: OCI layouts that others wrote, and what is wrong with them.
#include "oci/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/testing/errors.h"
#include "oci/export.h"
#include "oci/layout.h"

namespace kiln::oci {
namespace {

using testing::failure;
using ::testing::HasSubstr;
using Json = nlohmann::json;
namespace fs = std::filesystem;

class ImportTest : public ::testing::Test {
 protected:
  ImportTest() {
    host::make_folders(layout() / "blobs/sha256");
    host::write_file(layout() / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    fs::create_directories(folder_.path() / "tree/etc");
    host::write_file(folder_.path() / "tree/etc/motd", "hello");
    pack(folder_.path() / "tree", folder_.path() / "layer.tar", Packing::gzip);
    layer_ = put(host::read_file(folder_.path() / "layer.tar"), "application/vnd.oci.image.layer.v1.tar+gzip");
    config_ = put(R"({"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sh"]}})",
                  "application/vnd.oci.image.config.v1+json");
    manifest_ = put(manifest().dump(), "application/vnd.oci.image.manifest.v1+json");
    index({named(manifest_, "one")});
  }

  fs::path layout() const { return folder_.path() / "layout"; }
  fs::path blob(const Json& descriptor) const {
    return layout() / "blobs/sha256" / descriptor.at("digest").get<std::string>().substr(7);
  }
  Json put(const std::string& bytes, const std::string& type) const {
    const Digest digest = sha256(bytes);
    host::write_file(layout() / "blobs/sha256" / digest.hex(), bytes);
    return {{"mediaType", type}, {"digest", digest.str()}, {"size", bytes.size()}};
  }
  Json manifest() const { return {{"schemaVersion", 2}, {"config", config_}, {"layers", Json::array({layer_})}}; }
  static Json named(Json descriptor, const std::string& name) {
    descriptor["annotations"] = {{"org.opencontainers.image.ref.name", name}};
    return descriptor;
  }
  void index(const std::vector<Json>& manifests) const {
    host::write_file(layout() / "index.json", Json{{"schemaVersion", 2}, {"manifests", manifests}}.dump());
  }
  std::string refusal(const std::string& tag = "") const {
    try {
      const Layout read(layout());
      const LayoutImage image = read.image(tag);
      for (const store::Blob& one : image.layers) read.checked(one);
    } catch (const Error& error) {
      return error.message();
    }
    return "nothing was refused";
  }

  host::TemporaryFolder folder_{"kiln-import-"};
  Json layer_, config_, manifest_;
};

TEST_F(ImportTest, AnImageIsFoundByItsTagItsDigestOrBeingAlone) {
  const Layout read(layout());
  for (const std::string& tag : {std::string(), std::string("one"), manifest_.at("digest").get<std::string>()}) {
    const LayoutImage image = read.image(tag);
    EXPECT_EQ(image.digest.str(), manifest_.at("digest").get<std::string>());
    ASSERT_EQ(image.layers.size(), 1U);
    EXPECT_EQ(image.layers.front().digest.str(), layer_.at("digest").get<std::string>());
    EXPECT_FALSE(image.machine);
  }
}

TEST_F(ImportTest, OfSeveralTheOneForThisMachineIsTaken) {
  Json arm = named(manifest_, "one");
  arm["platform"] = {{"architecture", "arm64"}, {"os", "linux"}};
  Json ours = manifest_;
  ours["platform"] = {{"architecture", "amd64"}, {"os", "linux"}};
  const Json list = put(Json{{"schemaVersion", 2}, {"manifests", Json::array({arm, ours})}}.dump(),
                        "application/vnd.oci.image.index.v1+json");
  index({named(list, "many")});
  EXPECT_EQ(Layout(layout()).image("many").digest.str(), manifest_.at("digest").get<std::string>());
  index({arm});
  EXPECT_THAT(refusal("one"), HasSubstr("no image for linux/amd64"));
}

TEST_F(ImportTest, AnIndexThatNamesNothingOrTooMuchSaysWhatIsThere) {
  EXPECT_THAT(refusal("two"), HasSubstr("no image for linux/amd64 named 'two'; it names: one"));
  index({named(manifest_, "one"), named(manifest_, "uno")});
  EXPECT_THAT(refusal(), HasSubstr("several images for linux/amd64; it names: one, uno"));
}

TEST_F(ImportTest, BlobsThatAreNotWhatTheyAreCalledAreRefused) {
  host::write_file(blob(layer_), "something else");
  EXPECT_THAT(refusal(), HasSubstr("the blob has 14 bytes"));
  host::write_file(blob(layer_), std::string(layer_.at("size").get<std::size_t>(), 'x'));
  EXPECT_THAT(refusal(), HasSubstr("the blob has the content of"));
  fs::remove(blob(layer_));
  EXPECT_THAT(refusal(), HasSubstr("the blob is missing"));
  host::write_file(blob(manifest_), std::string(manifest_.at("size").get<std::size_t>(), ' '));
  EXPECT_THAT(refusal(), HasSubstr("the blob has the content of"));
}

TEST_F(ImportTest, WrongJsonIsRefused) {
  for (const char* text : {"", "[]", "{}", R"({"manifests":3})", R"({"manifests":[{"digest":"sha256:12"}]})",
                           R"({"manifests":[{"digest":"md5:1","size":1,"mediaType":"x"}]})"}) {
    host::write_file(layout() / "index.json", text);
    EXPECT_NE(refusal(), "nothing was refused") << text;
  }
  fs::remove(layout() / "index.json");
  EXPECT_THAT(refusal(), HasSubstr("is no OCI image layout"));
}

TEST_F(ImportTest, AnIndexThatHoldsItselfEnds) {
  // It cannot, by digest; but a long chain can be made.
  Json at = manifest_;
  for (int i = 0; i < 10; ++i) {
    at = put(Json{{"schemaVersion", 2}, {"manifests", Json::array({at})}}.dump(),
             "application/vnd.oci.image.index.v1+json");
  }
  index({at});
  EXPECT_THAT(refusal(), HasSubstr("indexes in indexes"));
}

TEST_F(ImportTest, AReferenceThatIsNotKnownSaysWhichAre) {
  store::Store store(folder_.path() / "store");
  for (const char* text : {"debian", "ftp:thing", "oci:"}) {
    const Error error = failure([&] { import_oci(text, folder_.path(), store); });
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.next(), HasSubstr("oci:FOLDER[:TAG]"));
  }
}

TEST_F(ImportTest, AContainerIsKeptAsItIsAndIsNoMachine) {
  store::Store store(folder_.path() / "store");
  const Digest kept = keep_container("oci:layout:one", folder_.path(), store, "shop");
  EXPECT_EQ(kept.str(), manifest_.at("digest").get<std::string>());
  EXPECT_TRUE(store.images().empty());
  EXPECT_EQ(store.read(kept), host::read_file(blob(manifest_)));
  EXPECT_TRUE(store.has(Digest::parse(layer_.at("digest").get<std::string>())));
  const Exported out = export_image(store, kept, folder_.path() / "again", {.name = "shop"});
  EXPECT_EQ(out.digest, kept);
  EXPECT_EQ(Layout(folder_.path() / "again").image("shop").digest, kept);
}

TEST_F(ImportTest, AContainerInAFileIsReadToo) {
  store::Store store(folder_.path() / "store");
  const Digest kept = keep_container("oci:layout", folder_.path(), store, "shop");
  export_image(store, kept, folder_.path() / "shop.tar", {.name = "shop"});
  EXPECT_EQ(keep_container("oci-archive:shop.tar:shop", folder_.path(), store, "shop"), kept);
  EXPECT_THROW(export_image(store, kept, folder_.path() / "shop.tar", {.name = "shop"}), Error);
}

TEST_F(ImportTest, WithoutAnInitThereIsAWayRound) {
  const Error error = failure([&] { require_init(Imported{}, "app/Dockerfile"); });
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.message(), HasSubstr("app/Dockerfile has no init"));
  EXPECT_THAT(error.next(), HasSubstr("systemd-sysv"));
}

}  // namespace
}  // namespace kiln::oci
