// Store: what it keeps, what it refuses, and what it does when the disk, a writer or a process fails.
#include "store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/testing/errors.h"
#include "store/manifest.h"

namespace kiln::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

ErrorCode code_of(const std::function<void()>& act) { return testing::failure(act).code(); }

class StoreTest : public ::testing::Test {
 protected:
  Blob layer(const std::string& content) {
    const auto work = store_.temporary();
    host::write_file(work->path() / "layer", content);
    return store_.put_file(work->path() / "layer", std::string(kErofsLayerType));
  }

  // Bytes of a blob are never changed by us; a broken disk or an intruder does not ask.
  void overwrite(const Digest& digest, const std::string& content) {
    fs::permissions(store_.path_of(digest), fs::perms::owner_write, fs::perm_options::add);
    std::ofstream(store_.path_of(digest), std::ios::trunc) << content;
  }

  ImageConfig config() {
    ImageConfig made;
    made.app = "web";
    made.writable = {"/var/log"};
    made.history = {"base", "copy"};
    return made;
  }

  host::TemporaryFolder folder_{"kiln-store-test-"};
  Store store_{folder_.path() / "store"};
};

TEST_F(StoreTest, IsAnOciImageLayout) {
  EXPECT_EQ(host::read_file(store_.folder() / "oci-layout"), R"({"imageLayoutVersion":"1.0.0"})");
  EXPECT_EQ(host::read_file(store_.folder() / "index.json"),
            R"({"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2})");
  const Digest digest = store_.put("hello");
  EXPECT_EQ(digest.hex(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  EXPECT_TRUE(
      fs::exists(store_.folder() / "blobs/sha256/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"));
  EXPECT_EQ(store_.read(digest), "hello");
}

TEST_F(StoreTest, AnImageComesBackAsItWasAndHasTheSameDigestTwice) {
  const std::vector<Blob> layers = {layer("one"), layer("two")};
  const Digest digest = store_.add_image(config(), layers);
  EXPECT_EQ(store_.add_image(config(), layers), digest);
  EXPECT_THAT(store_.images(), ElementsAre(digest));
  const Image image = Store(store_.folder()).image(digest);
  EXPECT_EQ(image.digest, digest);
  EXPECT_EQ(image.config, config());
  EXPECT_EQ(image.layers, layers);
  EXPECT_EQ(image.size_bytes(), 6U);
  store_.verify(image);
}

TEST_F(StoreTest, AnAlteredBlobIsNamedWithItsPath) {
  const Image image = store_.image(store_.add_image(config(), {layer("one"), layer("two")}));
  store_.verify(image);
  overwrite(image.layers[1].digest, "tw0");
  try {
    store_.verify(image);
    FAIL() << "not seen, though it was verified before";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_THAT(error.message(), HasSubstr(image.layers[1].digest.str()));
    EXPECT_THAT(error.message(), HasSubstr(store_.path_of(image.layers[1].digest).string()));
    EXPECT_THAT(error.next(), HasSubstr("kiln bake"));
  }
}

TEST_F(StoreTest, ATruncatedBlobAndAMissingBlobAreToldApart) {
  const Image image = store_.image(store_.add_image(config(), {layer("one")}));
  overwrite(image.layers[0].digest, "on");
  EXPECT_EQ(code_of([&] { store_.verify(image); }), ErrorCode::corrupt);
  fs::remove(store_.path_of(image.layers[0].digest));
  EXPECT_EQ(code_of([&] { store_.verify(image); }), ErrorCode::not_found);
}

TEST_F(StoreTest, AnAlteredManifestOrConfigIsRefused) {
  const Digest digest = store_.add_image(config(), {layer("one")});
  const std::string manifest = store_.read(digest);
  const Digest config_digest = read_manifest(manifest).config.digest;
  overwrite(config_digest, "{}");
  EXPECT_EQ(code_of([&] { store_.image(digest); }), ErrorCode::corrupt);
  overwrite(config_digest, write_config(config()));
  store_.image(digest);
  overwrite(digest, manifest + " ");
  EXPECT_EQ(code_of([&] { store_.image(digest); }), ErrorCode::corrupt);
}

TEST_F(StoreTest, PuttingAnAlteredLayerAgainHealsIt) {
  const Blob blob = layer("one");
  overwrite(blob.digest, "0ne");
  EXPECT_EQ(layer("one"), blob);
  store_.verify(blob.digest);
}

TEST_F(StoreTest, AFullDiskIsAnErrorAndLeavesNothingBehind) {
  // A limit on a file's size stands for the disk: the same write fails in the same place.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string bytes(100'000, 'x');
  EXPECT_THROW(store_.put(bytes), Error);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_FALSE(store_.has(sha256(bytes)));
  EXPECT_TRUE(host::list_folder(store_.folder() / "tmp").empty());
  EXPECT_TRUE(host::list_folder(store_.folder() / "blobs/sha256").empty());
}

TEST_F(StoreTest, TwoWritersAtOnceLoseNoImage) {
  const auto write = [&](const std::string& name) {
    Store own(store_.folder());
    for (int i = 0; i < 20; ++i) {
      ImageConfig made = config();
      made.app = name + std::to_string(i % 10);
      const auto work = own.temporary();
      host::write_file(work->path() / "layer", "the same layer");
      own.add_image(made, {own.put_file(work->path() / "layer", std::string(kErofsLayerType))});
    }
  };
  std::thread other([&] { write("a"); });
  write("b");
  other.join();
  EXPECT_EQ(store_.images().size(), 20U);
  for (const Digest& digest : store_.images()) store_.verify(store_.image(digest));
}

TEST_F(StoreTest, WhatADeadProcessLeftGoesWhenTheStoreIsOpenedAndALivingOnesStays) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto work = store_.temporary();
    host::write_file(work->path() / "half", "of a layer");
    ::_exit(0);  // without destructors, as kill -9
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto ours = store_.temporary();
  ASSERT_EQ(host::list_folder(store_.folder() / "tmp").size(), 2U);
  const Store again(store_.folder());
  EXPECT_THAT(host::list_folder(store_.folder() / "tmp"), ElementsAre(ours->path().filename().string()));
}

class ArtifactsTest : public StoreTest {
 protected:
  Blob blob(const std::string& content, std::map<std::string, std::string> annotations = {}) {
    return {store_.put(content), content.size(), "application/spdx+json", std::move(annotations)};
  }
  const Digest image_ = store_.add_image(config(), {layer("one")});
};

TEST_F(ArtifactsTest, AreFoundByTheirSubjectAndAreNoImages) {
  ImageConfig other_config = config();
  other_config.app = "other";
  const Digest other = store_.add_image(other_config, {layer("two")});
  const std::vector<Blob> blobs = {blob("a"), blob("b", {{"signature", "MEU="}})};
  const Digest ours = store_.add_artifact(image_, "application/vnd.ours", blobs, {{"made", "today"}});
  EXPECT_EQ(store_.add_artifact(image_, "application/vnd.ours", blobs, {{"made", "today"}}), ours);
  const Digest theirs = store_.add_artifact(other, "application/vnd.ours", blobs, {});
  EXPECT_NE(ours, theirs);

  const Store again(store_.folder());
  const std::vector<Artifact> found = again.artifacts_of(image_);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].manifest, ours);
  EXPECT_EQ(found[0].artifact_type, "application/vnd.ours");
  EXPECT_EQ(found[0].annotations, (std::map<std::string, std::string>{{"made", "today"}}));
  EXPECT_EQ(found[0].blobs, blobs);
  EXPECT_THAT(again.images(), ::testing::UnorderedElementsAre(image_, other));
  EXPECT_TRUE(again.artifacts_of(ours).empty());
}

TEST_F(ArtifactsTest, SubjectAndBlobsMustBeThere) {
  const std::string index = host::read_file(store_.folder() / "index.json");
  EXPECT_EQ(code_of([&] { store_.add_artifact(sha256("none"), "a/b", {blob("a")}, {}); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] {
              store_.add_artifact(image_, "a/b", {{sha256("none"), 4, "c/d"}}, {});
            }),
            ErrorCode::not_found);
  EXPECT_EQ(host::read_file(store_.folder() / "index.json"), index);
}

TEST_F(ArtifactsTest, OneThatWasAlteredOrRemovedIsSeen) {
  const Digest artifact = store_.add_artifact(image_, "a/b", {blob("a")}, {});
  const std::string bytes = store_.read(artifact);
  overwrite(artifact, bytes + " ");
  EXPECT_EQ(code_of([&] { (void)store_.artifacts_of(image_); }), ErrorCode::corrupt);
  fs::remove(store_.path_of(artifact));
  EXPECT_EQ(code_of([&] { (void)store_.artifacts_of(image_); }), ErrorCode::not_found);
}

TEST_F(ArtifactsTest, AnotherToolsIndexEntriesAreUnderstoodAndKept) {
  const Digest artifact = store_.add_artifact(image_, "a/b", {blob("a")}, {});
  // As a copying tool writes them: no type, an annotation and a platform of its own, one manifest under two tags.
  std::vector<IndexEntry> index = read_index(host::read_file(store_.folder() / "index.json"));
  for (IndexEntry& entry : index) {
    entry.artifact_type.clear();
    entry.blob.annotations = {{"org.opencontainers.image.ref.name", "1.0"}};
    entry.others = R"({"platform":{"architecture":"amd64","os":"linux"}})";
  }
  index.push_back(index[0]);
  index.back().blob.annotations = {{"org.opencontainers.image.ref.name", "latest"}};
  host::write_file(store_.folder() / "index.json", write_index(index));

  EXPECT_THAT(store_.images(), ElementsAre(image_));
  ASSERT_EQ(store_.artifacts_of(image_).size(), 1U);
  EXPECT_EQ(store_.artifacts_of(image_)[0].manifest, artifact);
  store_.add_artifact(image_, "a/c", {blob("a")}, {});
  const std::string after = host::read_file(store_.folder() / "index.json");
  EXPECT_THAT(after, HasSubstr(R"("platform":{"architecture":"amd64","os":"linux"})"));
  EXPECT_THAT(after, HasSubstr(R"("org.opencontainers.image.ref.name":"latest")"));
  EXPECT_EQ(read_index(after).size(), 4U);
}

TEST_F(ArtifactsTest, AManifestOfAnyKindIsKeptAsItWasWritten) {
  const std::string container = R"({ "schemaVersion": 2, "config": {}, "layers": [] })";
  const Digest digest = store_.add_manifest(container, std::string(kManifestType), {{"name", "x"}});
  EXPECT_EQ(store_.read(digest), container);
  EXPECT_THAT(store_.images(), ElementsAre(image_));
  EXPECT_EQ(code_of([&] { store_.add_manifest("[]", std::string(kManifestType)); }), ErrorCode::corrupt);
  // What was pulled is found by its subject as what was made here.
  const ArtifactManifest pulled{{image_, 3, std::string(kManifestType)}, "a/b", {}, {blob("a")}};
  const Digest artifact = store_.add_manifest(write_artifact(pulled), std::string(kManifestType));
  ASSERT_EQ(store_.artifacts_of(image_).size(), 1U);
  EXPECT_EQ(store_.artifacts_of(image_)[0].manifest, artifact);
}

TEST_F(ArtifactsTest, ANameIsTheNewestImages) {
  const std::map<std::string, std::string> name = {{kRefNameAnnotation, "web:latest"}};
  const Digest first =
      store_.add_manifest(R"({"schemaVersion": 2, "config": {}, "layers": []})", std::string(kManifestType), name);
  const Digest second =
      store_.add_manifest(R"({"schemaVersion": 2, "config": {}, "layers": [ ]})", std::string(kManifestType), name);
  std::vector<Digest> named, all;
  for (const IndexEntry& entry : read_index(host::read_file(store_.folder() / "index.json"))) {
    all.push_back(entry.blob.digest);
    if (entry.blob.annotations == name) named.push_back(entry.blob.digest);
  }
  EXPECT_THAT(named, ElementsAre(second));
  EXPECT_THAT(all, ::testing::Contains(first)) << "it is still kept";
}

TEST_F(ArtifactsTest, AProcessThatIsKilledWhileItAddsLeavesAWholeIndex) {
  const Blob said = blob("said");
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is ended leaves no writer
    Store own(store_.folder());
    for (int i = 0;; ++i) own.add_artifact(image_, "a/b", {said}, {{"n", std::to_string(i)}});
  }
  while (store_.artifacts_of(image_).size() < 5) {
    ASSERT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "it failed by itself";
    std::this_thread::yield();
  }
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  Store again(store_.folder());
  EXPECT_TRUE(host::list_folder(store_.folder() / "tmp").empty());
  const std::size_t kept = again.artifacts_of(image_).size();
  EXPECT_GE(kept, 5U);
  again.add_artifact(image_, "a/b", {said}, {{"n", "after"}});
  EXPECT_EQ(again.artifacts_of(image_).size(), kept + 1);
}

TEST(ArtifactManifests, AreTheSameBytesForEver) {
  const ArtifactManifest artifact{{sha256("i"), 7, std::string(kManifestType)},
                                  "application/spdx+json",
                                  {{"b", "2"}, {"a", "1"}},
                                  {{sha256("l"), 2, "application/spdx+json", {{"k", "v"}}}}};
  const std::string bytes = write_artifact(artifact);
  EXPECT_EQ(bytes, R"({"annotations":{"a":"1","b":"2"},"artifactType":"application/spdx+json",)"
                   R"("config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",)"
                   R"("mediaType":"application/vnd.oci.empty.v1+json","size":2},"layers":[{"annotations":{"k":"v"},)"
                   R"("digest":"sha256:acac86c0e609ca906f632b0e2dacccb2b77d22b0621f20ebece1a4835b93f6f0",)"
                   R"("mediaType":"application/spdx+json","size":2}],)"
                   R"("mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2,)"
                   R"("subject":{"digest":"sha256:de7d1b721a1e0632b7cf04edf5032c8ecffa9f9a08492152b926f1a5a7e765d7",)"
                   R"("mediaType":"application/vnd.oci.image.manifest.v1+json","size":7}})");
  EXPECT_EQ(read_artifact(bytes), artifact);
}

TEST(ArtifactManifests, WhatIsNoneIsRefused) {
  const std::string good =
      write_artifact({{sha256("i"), 7, std::string(kManifestType)}, "a/b", {}, {{sha256("l"), 2, "c/d"}}});
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    return bytes.replace(bytes.find(from), from.size(), to);
  };
  for (const std::string& bytes :
       {with("\"a/b\"", "\"\""), with("\"layers\":[", "\"layers\":[[],"), with("\"size\":7", "\"size\":\"7\""),
        with("sha256:de", "sha512:de"), with("\"artifactType\"", "\"annotations\":{\"a\":1},\"artifactType\"")}) {
    EXPECT_EQ(code_of([&] { read_artifact(bytes); }), ErrorCode::corrupt) << bytes;
  }
}

TEST(Manifest, IsTheSameBytesForEver) {
  const Blob config{sha256("c"), 1, std::string(kMachineConfigType)};
  const Blob layer{sha256("l"), 2, std::string(kErofsLayerType)};
  const std::string bytes = write_manifest({config, {layer}});
  EXPECT_EQ(bytes, R"({"artifactType":"application/vnd.kiln.machine.v1","config":{"digest":"sha256:)"
                   R"(2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6",)"
                   R"("mediaType":"application/vnd.kiln.machine.config.v1+json","size":1},)"
                   R"("layers":[{"digest":"sha256:acac86c0e609ca906f632b0e2dacccb2b77d22b0621f20ebece1a4835b93f6f0",)"
                   R"("mediaType":"application/vnd.kiln.layer.v1.erofs","size":2}],)"
                   R"("mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2})");
  EXPECT_EQ(read_manifest(bytes), (Manifest{config, {layer}}));
}

TEST(Manifest, CutOffAtAnyByteItIsCorrupt) {
  const Blob config{sha256("c"), 1, std::string(kMachineConfigType)};
  const std::string bytes = write_manifest({config, {{sha256("l"), 2, std::string(kErofsLayerType)}}});
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(code_of([&] { read_manifest(std::string_view(bytes).substr(0, size)); }), ErrorCode::corrupt) << size;
  }
}

TEST(Manifest, WhatIsNoMachineImageIsRefused) {
  const Blob config{sha256("c"), 1, std::string(kMachineConfigType)};
  const Blob layer{sha256("l"), 2, std::string(kErofsLayerType)};
  const std::string good = write_manifest({config, {layer}});
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    return bytes.replace(bytes.find(from), from.size(), to);
  };
  for (const std::string& bytes :
       {with("vnd.kiln.machine.v1\"", "vnd.other\""), with("\"size\":2", "\"size\":-2"),
        with("\"size\":2", "\"size\":1e99"), with("sha256:ac", "sha256:AC"), with("layer.v1.erofs", "layer.v1.tar"),
        with("\"schemaVersion\":2", "\"schemaVersion\":3"), std::string("[]"), std::string(100'000, '['),
        write_manifest({config, {}})}) {
    EXPECT_EQ(code_of([&] { read_manifest(bytes); }), ErrorCode::corrupt) << bytes.substr(0, 300);
  }
}

}  // namespace
}  // namespace kiln::store
