// Flaws: a store that has lost or cut what it names.
#include "store/flaws.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/error.h"
#include "store/store.h"

namespace kiln::store {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class FlawsTest : public testing::Test {
 protected:
  Blob layer(const std::string& content) {
    const auto work = store_.temporary();
    host::write_file(work->path() / "layer", content);
    return store_.put_file(work->path() / "layer", std::string(kErofsLayerType));
  }
  Digest image(const std::vector<Blob>& layers) {
    ImageConfig config;
    config.app = "web";
    return store_.add_image(config, layers);
  }
  std::vector<Flaw> flaws() const { return find_flaws(store_.folder()); }

  host::TemporaryFolder folder_{"kiln-flaws-test-"};
  Store store_{folder_.path() / "store"};
};

TEST_F(FlawsTest, AWholeStoreAndNoStoreHaveNone) {
  image({layer("one"), layer("two")});
  EXPECT_THAT(flaws(), IsEmpty());
  EXPECT_THAT(find_flaws(folder_.path() / "nothing"), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "nothing"));
}

TEST_F(FlawsTest, AMissingLayerIsNamedWithTheImageThatHasIt) {
  const Blob shared = layer("one");
  const Digest first = image({shared});
  const Digest second = image({shared, layer("two")});
  host::remove_tree(store_.path_of(shared.digest));
  const std::vector<Flaw> found = flaws();
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ((std::set<Digest>{found[0].manifest, found[1].manifest}), (std::set<Digest>{first, second}));
  EXPECT_EQ(found[0].blob, store_.path_of(shared.digest));
  EXPECT_EQ(found[0].what, "a layer of 3 bytes is missing");
}

TEST_F(FlawsTest, ALayerOfAnotherSizeIsOne) {
  const Blob cut = layer("whole");
  image({cut});
  std::filesystem::permissions(store_.path_of(cut.digest), std::filesystem::perms::owner_write,
                               std::filesystem::perm_options::add);
  std::ofstream(store_.path_of(cut.digest), std::ios::trunc) << "who";
  ASSERT_THAT(flaws(), SizeIs(1));
  EXPECT_EQ(flaws()[0].what, "a layer has 3 bytes and not 5");
}

TEST_F(FlawsTest, AMissingManifestIsOneAndNothingBelowItIsLookedFor) {
  const Digest gone = image({layer("one")});
  host::remove_tree(store_.path_of(gone));
  ASSERT_THAT(flaws(), SizeIs(1));
  EXPECT_EQ(flaws()[0].manifest, gone);
  EXPECT_THAT(flaws()[0].what, HasSubstr("its manifest of"));
}

TEST_F(FlawsTest, AnIndexOfManifestsMayLackThoseOfOtherPlatforms) {
  const Blob lost = layer("one");
  const Digest here = image({lost});
  host::remove_tree(store_.path_of(lost.digest));
  const std::string elsewhere = sha256("arm64").str();
  store_.add_manifest(R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[)"
                      R"({"digest":")" +
                          here.str() +
                          R"(","size":1,"mediaType":"x"},)"
                          R"({"digest":")" +
                          elsewhere + R"(","size":1,"mediaType":"x"}]})",
                      "application/vnd.oci.image.index.v1+json");
  const std::vector<Flaw> found = flaws();
  ASSERT_THAT(found, SizeIs(2)) << "of the image, and of the index that names it";
  EXPECT_EQ(found[0].blob, found[1].blob);
}

TEST_F(FlawsTest, AnIndexThatCannotBeReadIsAnError) {
  host::write_file(store_.folder() / "index.json", "{");
  try {
    flaws();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
  }
}

}  // namespace
}  // namespace kiln::store
