// Transfer: whole images, what is said about them, and what stays when it breaks off.
#include "registry/transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"
#include "registry/testing/fake_registry.h"

namespace kiln::registry {
namespace {

using testing::failure;
using Answer = FakeRegistry::Answer;

class TransferTest : public ::testing::Test {
 protected:
  static Connect connect() {
    Connect connect;
    connect.plain_http = true;
    connect.env = [](const char*) { return std::nullopt; };
    return connect;
  }
  Client client(const FakeRegistry& fake) { return {fake.name(), connect(), clock_, random_, 1000}; }
  Reference at(const FakeRegistry& fake, const std::string& rest) { return parse_reference(fake.name() + "/" + rest); }
  store::Blob blob(store::Store& store, const std::string& bytes, std::string_view type) {
    return {store.put(bytes), bytes.size(), std::string(type), {}};
  }
  // Two layers, one of them of several chunks.
  Digest bake(store::Store& store) {
    store::ImageConfig config;
    config.app = "web";
    config.history = {"base", "files"};
    return store.add_image(config, {blob(store, std::string(5500, 'a'), store::kErofsLayerType),
                                    blob(store, "second layer", store::kErofsLayerType)});
  }
  Digest say(store::Store& store, const Digest& subject, const std::string& what) {
    return store.add_artifact(subject, "test/" + what, {blob(store, what, "text/plain")}, {{"said", what}});
  }
  static void expect_nothing_half(const store::Store& store) {
    EXPECT_TRUE(store.images().empty());
    EXPECT_TRUE(host::list_folder(store.folder() / "tmp").empty());
    for (const std::string& name : host::list_folder(store.folder() / "blobs" / "sha256")) {
      EXPECT_EQ(sha256(host::read_file(store.folder() / "blobs" / "sha256" / name)).hex(), name);
    }
  }

  host::SimulatedClock clock_{Time(Duration(1'700'000'000'000))};
  host::SeededRandom random_{1};
  host::TemporaryFolder folder_{"transfer-test-"};
  store::Store here_{folder_.path() / "here"};
  store::Store there_{folder_.path() / "there"};
  FakeRegistry fake_;
};

TEST_F(TransferTest, AnImageAndAllThatIsSaidAboutItTravelUnchanged) {
  const Digest image = bake(here_);
  const Digest sbom = say(here_, image, "sbom");
  const Digest signature = say(here_, sbom, "signature of the sbom");
  for (const bool api : {true, false}) {
    FakeRegistry fake;
    fake.knows_referrers = api;
    store::Store target(folder_.path() / (api ? "api" : "tag"));
    Client client = this->client(fake);
    const Moved pushed = push(here_, image, client, at(fake, "team/web:1"), {});
    EXPECT_EQ(pushed.digest, image);
    EXPECT_THAT(pushed.referrers, ::testing::ElementsAre(sbom, signature));
    EXPECT_EQ(fake.manifest("team/web", "sha256-" + image.hex()).has_value(), !api);
    const Moved pulled = pull(client, at(fake, "team/web:1"), target, {});
    EXPECT_EQ(pulled.digest, image);
    EXPECT_THAT(target.images(), ::testing::ElementsAre(image));
    EXPECT_EQ(target.image(image).config, here_.image(image).config);
    target.verify(target.image(image));
    ASSERT_EQ(target.artifacts_of(image).size(), 1U);
    EXPECT_EQ(target.artifacts_of(image)[0].manifest, sbom);
    EXPECT_EQ(target.read(target.artifacts_of(sbom).at(0).blobs.at(0).digest), "signature of the sbom");
  }
}

TEST_F(TransferTest, ASecondPushAndASecondPullMoveNothing) {
  const Digest image = bake(here_);
  say(here_, image, "sbom");
  Client client = this->client(fake_);
  push(here_, image, client, at(fake_, "team/web:1"), {});
  const std::uint64_t bytes = fake_.body_bytes();
  const Moved again = push(here_, image, client, at(fake_, "team/web:1"), {});
  EXPECT_EQ(fake_.body_bytes(), bytes);
  EXPECT_EQ(again.tally.bytes_moved, 0U);
  EXPECT_EQ(again.tally.bytes_there, again.tally.bytes_total);
  pull(client, at(fake_, "team/web:1"), there_, {});
  const std::size_t fetched = fake_.count("GET /v2/team/web/blobs/");
  EXPECT_EQ(pull(client, at(fake_, "team/web:1"), there_, {}).tally.bytes_moved, 0U);
  EXPECT_EQ(fake_.count("GET /v2/team/web/blobs/"), fetched);
}

TEST_F(TransferTest, ArtifactsThatShallNotGoStay) {
  const Digest image = bake(here_);
  say(here_, image, "private");
  const Digest sbom = say(here_, image, "sbom");
  Options options;
  options.goes = [](const store::Artifact& artifact) { return artifact.artifact_type != "test/private"; };
  Client client = this->client(fake_);
  EXPECT_THAT(push(here_, image, client, at(fake_, "team/web:1"), options).referrers, ::testing::ElementsAre(sbom));
}

TEST_F(TransferTest, AnotherTagOfTheSameImageIsOneManifest) {
  const Digest image = bake(here_);
  Client client = this->client(fake_);
  push(here_, image, client, at(fake_, "team/web:1"), {});
  const std::size_t uploads = fake_.count("POST");
  push(here_, image, client, at(fake_, "team/web:2"), {});
  EXPECT_EQ(fake_.count("POST"), uploads);
  EXPECT_EQ(fake_.manifest("team/web", "2"), here_.read(image));
}

TEST_F(TransferTest, ANeighbourOfTheRegistryGivesItsBlobs) {
  const Digest image = bake(here_);
  Client client = this->client(fake_);
  push(here_, image, client, at(fake_, "team/web:1"), {});
  const Moved moved = push(here_, image, client, at(fake_, "team/other:1"), {});
  EXPECT_EQ(moved.tally.bytes_moved, 0U);
  EXPECT_EQ(moved.tally.blobs_mounted, 3U);
}

TEST_F(TransferTest, AMirrorLeavesNothingOnThisMachine) {
  const Digest image = bake(here_);
  const Digest sbom = say(here_, image, "sbom");
  FakeRegistry other;
  Client from = client(fake_), to = client(other);
  push(here_, image, from, at(fake_, "team/web:1"), {});
  const Moved moved = mirror(from, at(fake_, "team/web:1"), to, at(other, "copy/web:1"), there_, {});
  EXPECT_EQ(moved.digest, image);
  EXPECT_THAT(moved.referrers, ::testing::ElementsAre(sbom));
  EXPECT_EQ(other.manifest("copy/web", "1"), here_.read(image));
  EXPECT_TRUE(other.manifest("copy/web", sbom.str()));
  EXPECT_TRUE(host::list_folder(there_.folder() / "blobs" / "sha256").empty());
  EXPECT_TRUE(host::list_folder(there_.folder() / "transfers" / "incoming").empty());
  EXPECT_EQ(mirror(from, at(fake_, "team/web:1"), to, at(other, "copy/web:1"), there_, {}).tally.bytes_moved, 0U);
  // Within one registry nothing passes through.
  const std::uint64_t bytes = fake_.sent_bytes();
  EXPECT_EQ(mirror(from, at(fake_, "team/web:1"), from, at(fake_, "third/web:1"), there_, {}).tally.blobs_mounted, 5U);
  EXPECT_LT(fake_.sent_bytes() - bytes, 5500U);
}

TEST_F(TransferTest, ImagesOfContainersAndIndexesOfThemArePulledToo) {
  const auto descriptor = [](const std::string& bytes, const std::string& type) {
    return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", type, sha256(bytes).str(), bytes.size());
  };
  const std::string layer = "a tar", config = "{}";
  const std::string manifest = fmt::format(R"({{ "schemaVersion": 2, "config": {}, "layers": [{}] }})",
                                           descriptor(config, "application/vnd.oci.image.config.v1+json"),
                                           descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip"));
  const std::string index = fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}})", kOciIndex,
                                        descriptor(manifest, std::string(kOciManifest)));
  fake_.add_blob("library/debian", layer);
  fake_.add_blob("library/debian", config);
  fake_.add_manifest("library/debian", "amd64", manifest);
  fake_.add_manifest("library/debian", "12", index, std::string(kOciIndex));
  Client client = this->client(fake_);
  EXPECT_EQ(pull(client, at(fake_, "library/debian:12"), there_, {}).digest, sha256(index));
  EXPECT_EQ(there_.read(sha256(manifest)), manifest);
  EXPECT_EQ(there_.read(sha256(layer)), layer);
  EXPECT_TRUE(there_.images().empty());  // none of a machine
  EXPECT_EQ(push(there_, sha256(index), client, at(fake_, "copy/debian:12"), {}).digest, sha256(index));
  EXPECT_EQ(fake_.manifest("copy/debian", sha256(manifest).str()), manifest);
}

TEST_F(TransferTest, ARegistryThatLiesLeavesNothingHalfInTheStore) {
  const Digest image = bake(here_);
  Client client = this->client(fake_);
  push(here_, image, client, at(fake_, "team/web:1"), {});
  const std::string layer = here_.image(image).layers[0].digest.str();
  fake_.script = [&](const http::Request& request) -> std::optional<Answer> {
    if (request.path.find(layer) == std::string::npos) return std::nullopt;
    Answer answer;
    answer.body = std::string(5500, 'b');
    return answer;
  };
  const Error error = failure([&] { pull(client, at(fake_, "team/web:1"), there_, {}); });
  EXPECT_EQ(error.code(), ErrorCode::corrupt);
  EXPECT_THAT(error.what(), ::testing::HasSubstr(layer));
  expect_nothing_half(there_);
}

TEST_F(TransferTest, AMachineImageThatNobodyCanReadIsNotNamed) {
  const std::string config = "{}";
  const std::string manifest = fmt::format(
      R"({{"schemaVersion":2,"mediaType":"{}","artifactType":"application/vnd.kiln.machine.v1","config":)"
      R"({{"mediaType":"application/vnd.kiln.machine.config.v1+json","digest":"{}","size":2}},"layers":[]}})",
      kOciManifest, sha256(config).str());
  fake_.add_blob("team/web", config);
  fake_.add_manifest("team/web", "1", manifest);
  Client client = this->client(fake_);
  EXPECT_EQ(failure([&] { pull(client, at(fake_, "team/web:1"), there_, {}); }).code(), ErrorCode::corrupt);
  expect_nothing_half(there_);
}

TEST_F(TransferTest, APullThatBrokeOffFetchesOnlyTheRest) {
  const Digest image = bake(here_);
  Client client = this->client(fake_);
  push(here_, image, client, at(fake_, "team/web:1"), {});
  const std::string layer = here_.image(image).layers[0].digest.str();
  int asked = 0;
  fake_.script = [&](const http::Request& request) -> std::optional<Answer> {
    if (request.path.find(layer) == std::string::npos) return std::nullopt;
    Answer answer;
    answer.body = std::string(5500, 'a');
    answer.cut_after = 4000;
    if (++asked == 1) return answer;
    answer = {};
    answer.status = 503;
    return answer;
  };
  EXPECT_EQ(failure([&] { pull(client, at(fake_, "team/web:1"), there_, {}); }).code(), ErrorCode::unavailable);
  expect_nothing_half(there_);
  fake_.script = {};
  EXPECT_EQ(pull(client, at(fake_, "team/web:1"), there_, {}).digest, image);
  EXPECT_EQ(fake_.count("GET /v2/team/web/blobs/" + layer), 1U + 6U + 1U);
  there_.verify(there_.image(image));
}

TEST_F(TransferTest, AReferrerThatSpeaksOfAnotherImageIsLeftOut) {
  const Digest image = bake(here_);
  Client client = this->client(fake_);
  push(here_, image, client, at(fake_, "team/web:1"), {});
  store::Store liar(folder_.path() / "liar");
  const std::string other = R"({"schemaVersion":2})";
  liar.put(other);
  const Digest said = say(liar, sha256(other), "lie");
  fake_.add_manifest("team/web", "lie", liar.read(said));
  fake_.script = [&](const http::Request& request) -> std::optional<Answer> {
    if (request.path.find("/referrers/" + image.str()) == std::string::npos) return std::nullopt;
    Answer answer;
    answer.headers.add("Content-Type", std::string(kOciIndex));
    answer.body = write_referrers({{{said, liar.read(said).size(), std::string(kOciManifest), {}}, "test/lie", {}}});
    return answer;
  };
  EXPECT_TRUE(pull(client, at(fake_, "team/web:1"), there_, {}).referrers.empty());
  EXPECT_TRUE(there_.artifacts_of(image).empty());
}

TEST_F(TransferTest, AnIndexThatHoldsItselfTooDeepIsRefused) {
  std::string bytes = fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[]}})", kOciIndex);
  for (int depth = 0; depth < 10; ++depth) {
    fake_.add_manifest("team/web", "deep", bytes, std::string(kOciIndex));
    bytes = fmt::format(
        R"({{"schemaVersion":2,"mediaType":"{0}","manifests":[{{"mediaType":"{0}","digest":"{1}","size":{2}}}]}})",
        kOciIndex, sha256(bytes).str(), bytes.size());
  }
  Client client = this->client(fake_);
  EXPECT_EQ(failure([&] { pull(client, at(fake_, "team/web:deep"), there_, {}); }).code(), ErrorCode::corrupt);
}

TEST_F(TransferTest, AnImageWithAMissingLayerIsNotPushed) {
  const Digest image = bake(here_);
  std::filesystem::remove(here_.path_of(here_.image(image).layers[0].digest));
  Client client = this->client(fake_);
  EXPECT_EQ(failure([&] { push(here_, image, client, at(fake_, "team/web:1"), {}); }).code(), ErrorCode::not_found);
  EXPECT_FALSE(fake_.manifest("team/web", "1"));
}

}  // namespace
}  // namespace kiln::registry
