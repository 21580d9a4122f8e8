// Tests of the sweep: what an image needs stays, what nobody needs goes, what is young waits.
#include "store/sweep.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "host/clock.h"
#include "store/lease.h"

namespace kiln::store {
namespace {

class SweepTest : public ::testing::Test {
 protected:
  Digest image(const std::string& app, const std::vector<std::string>& layers) {
    ImageConfig config;
    config.app = app;
    std::vector<Blob> blobs;
    for (const std::string& layer : layers) {
      blobs.push_back({store_.put(layer), layer.size(), std::string(kErofsLayerType)});
      config.history.push_back("run " + layer);
    }
    return store_.add_image(config, blobs);
  }
  void note(const std::string& key, const std::string& layer, bool old = true) {
    const host::Path path = notes_ / key;
    host::make_folders(notes_);
    host::write_file(path, sha256(layer).str() + " 1\n");
    if (old) age(path);
  }
  void age(const host::Path& path) {
    const timespec times[2] = {{1'700'000'000, 0}, {1'700'000'000, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }
  void age_blobs() {
    for (const std::string& name : host::list_folder(folder_.path() / "store/blobs/sha256")) {
      age(folder_.path() / "store/blobs/sha256" / name);
    }
  }
  Swept run(std::set<Digest> gone, bool act = true) {
    SweepRequest request;
    request.gone = std::move(gone);
    request.layer_notes = notes_;
    request.layer_contents = contents_;
    request.now = host::SystemClock().now();
    request.act = act;
    request.young_notes = rest_;
    return sweep(store_, request);
  }

  Duration rest_{0};
  host::TemporaryFolder folder_{"sweep-test-"};
  host::Path notes_ = folder_.path() / "cache/layers";
  host::Path contents_ = folder_.path() / "cache/contents";
  Store store_{folder_.path() / "store"};
};

TEST_F(SweepTest, WhatWasReadOfALayerGoesWithIt) {
  image("web", {"base", "one"});
  const Digest gone = image("web", {"base", "two"});
  age_blobs();
  host::make_folders(contents_);
  for (const char* layer : {"base", "one", "two"}) host::write_file(contents_ / sha256(layer).hex(), "read");
  run({gone}, false);
  EXPECT_EQ(host::list_folder(contents_).size(), 3U);
  run({gone});
  std::vector<std::string> left = {sha256("base").hex(), sha256("one").hex()};
  std::ranges::sort(left);
  EXPECT_EQ(host::list_folder(contents_), left);
}

TEST_F(SweepTest, FreesWhatOnlyTheGoneImageNeeds) {
  const Digest kept = image("web", {"base", "one"});
  const Digest gone = image("web", {"base", "two"});
  age_blobs();
  const Swept planned = run({gone}, false);
  EXPECT_TRUE(store_.has(gone));
  EXPECT_EQ(store_.images().size(), 2u);
  const Swept swept = run({gone});
  EXPECT_EQ(swept.bytes, planned.bytes);
  EXPECT_EQ(swept.of_gone.at(gone), swept.bytes);
  EXPECT_EQ(swept.blobs, 3u);  // layer, config, manifest
  EXPECT_EQ(store_.images(), std::vector<Digest>{kept});
  store_.verify(store_.image(kept));
  EXPECT_FALSE(store_.has(sha256("two")));
  EXPECT_EQ(run({gone}).bytes, 0u);
}

TEST_F(SweepTest, WhatIsYoungStays) {
  const Digest gone = image("web", {"one"});
  store_.put("nobody's");
  EXPECT_EQ(run({gone}, false).bytes, 0u);
  const Swept swept = run({gone});
  EXPECT_EQ(swept.bytes, 0u);
  EXPECT_GT(swept.young_bytes, 0u);
  EXPECT_TRUE(store_.has(sha256("nobody's")));
  EXPECT_TRUE(store_.has(sha256("one")));
  // Named still: a bake beside the sweep may just have made it again.
  EXPECT_EQ(store_.images(), std::vector<Digest>{gone});
  store_.verify(store_.image(gone));
}

TEST_F(SweepTest, AnImageThatWasMadeAgainKeepsItsOldLayers) {
  const Digest again = image("web", {"base", "one"});
  age_blobs();
  ASSERT_TRUE(renew(store_, again));  // as a bake or a pull does
  EXPECT_EQ(run({again}).bytes, 0u);
  store_.verify(store_.image(again));
}

TEST_F(SweepTest, WhatIsUnnamedGoesWithWhatSpeaksAboutIt) {
  const Digest kept = image("web", {"one"}), refused = image("web", {"two"});
  store_.add_artifact(refused, "test/sbom", {{store_.put("sbom"), 4, "text/plain"}}, {});
  unname(store_, {refused});
  EXPECT_EQ(store_.images(), std::vector<Digest>{kept});
  EXPECT_TRUE(store_.artifacts_of(refused).empty());
  age_blobs();
  run({});
  EXPECT_FALSE(store_.has(sha256("sbom")));
  EXPECT_FALSE(store_.has(refused));
}

TEST_F(SweepTest, ALeaseCountsAsLongAsItsProcessLives) {
  const Digest digest = image("web", {"one"});
  {
    const Lease lease(store_, digest, "kiln push web@1"), second(store_, digest, "the same once more");
    EXPECT_EQ(leases(store_).size(), 2u);
    EXPECT_EQ(leases(store_).at(0).image, digest);
  }
  EXPECT_TRUE(leases(store_).empty());
  const pid_t child = ::fork();
  if (child == 0) {
    const Lease lease(store_, digest, "kiln push web@1");
    ::_exit(0);  // without destructors, as kill -9
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_EQ(host::list_folder(folder_.path() / "store/leases").size(), 1U);
  EXPECT_TRUE(leases(store_).empty());
  EXPECT_TRUE(host::list_folder(folder_.path() / "store/leases").empty());
}

TEST_F(SweepTest, AYoungNoteKeepsItsLayerAndAnOldOneGoesWithIt) {
  store_.put("used by a bake");
  store_.put("left");
  note("aa", "used by a bake", false);
  note("bb", "left");
  age_blobs();
  run({});
  EXPECT_TRUE(store_.has(sha256("used by a bake")));
  EXPECT_FALSE(store_.has(sha256("left")));
  EXPECT_EQ(host::list_folder(notes_), std::vector<std::string>{"aa"});
}

TEST_F(SweepTest, LayersThatABakeMayUseAgainRestLonger) {
  store_.put("left");
  note("bb", "left");
  age_blobs();
  rest_ = std::chrono::hours(24 * 365 * 20);
  EXPECT_EQ(run({}).bytes, 0u);
  rest_ = std::chrono::hours(24);
  EXPECT_GT(run({}).bytes, 0u);
}

TEST_F(SweepTest, PuttingTheSameBytesAgainMakesThemYoung) {
  store_.put("bytes");
  age_blobs();
  store_.put("bytes");
  EXPECT_EQ(run({}).bytes, 0u);
  EXPECT_TRUE(store_.has(sha256("bytes")));
}

TEST_F(SweepTest, WhatSpeaksAboutAGoneImageGoesWithIt) {
  const Digest gone = image("web", {"one"});
  const Digest kept = image("web", {"two"});
  const auto artifact_of = [&](const Digest& subject, const std::string& content) {
    const Digest blob = store_.put(content);
    const std::string manifest = R"({"config":{"digest":")" + store_.put("{}").str() + R"("},"layers":[{"digest":")" +
                                 blob.str() + R"("}],"subject":{"digest":")" + subject.str() + R"("}})";
    return store_.put(manifest);
  };
  const Digest of_gone = artifact_of(gone, "sbom of one"), of_kept = artifact_of(kept, "sbom of two");
  const host::Path index = folder_.path() / "store/index.json";
  std::string text = host::read_file(index);
  const std::string more = R"({"digest":")" + of_gone.str() + R"("},{"digest":")" + of_kept.str() + R"("},)";
  text.insert(text.find('[') + 1, more);
  host::write_file(index, text);
  age_blobs();
  run({gone});
  EXPECT_FALSE(store_.has(of_gone));
  EXPECT_FALSE(store_.has(sha256("sbom of one")));
  EXPECT_TRUE(store_.has(of_kept));
  EXPECT_TRUE(store_.has(sha256("sbom of two")));
  EXPECT_TRUE(store_.has(sha256("{}")));
}

TEST_F(SweepTest, AnAlteredManifestStopsItBeforeAnythingGoes) {
  const Digest kept = image("web", {"one"});
  store_.put("nobody's");
  host::write_file(store_.path_of(kept), "{\"altered\":true}");
  age_blobs();
  EXPECT_THROW(run({}), Error);
  EXPECT_TRUE(store_.has(sha256("nobody's")));
  EXPECT_TRUE(store_.has(sha256("one")));
}

TEST_F(SweepTest, AnIndexThatCannotBeReadStopsItBeforeAnythingGoes) {
  store_.put("nobody's");
  host::write_file(folder_.path() / "store/index.json", "[]");
  age_blobs();
  EXPECT_THROW(run({}), Error);
  EXPECT_TRUE(store_.has(sha256("nobody's")));
}

}  // namespace
}  // namespace kiln::store
