// Verify: a signed image with all its documents, and each way to tamper with it, found by name.
#include "proof/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/error.h"
#include "proof/attach.h"
#include "proof/provenance.h"

namespace kiln::proof {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

class VerifyTest : public testing::Test {
 protected:
  VerifyTest() {
    subject_ = {"web", "1.0.0", add_image("web"), "0.1.0"};
    expected_.subject = subject_;
    expected_.commit = "0123456789abcdef0123456789abcdef01234567";
  }

  Digest add_image(const std::string& app) {
    const auto work = store_.temporary();
    host::write_file(work->path() / "layer", "bytes of " + app);
    store::ImageConfig config;
    config.app = app;
    return store_.add_image(config, {store_.put_file(work->path() / "layer", std::string(store::kErofsLayerType))});
  }

  BakeRecord record() const {
    BakeRecord made;
    made.app = subject_.app;
    made.version = subject_.version;
    made.digest = subject_.digest;
    made.recipe_name = "kiln.yaml";
    made.recipe_text = "app: web\n";
    made.recipe = sha256("recipe");
    made.base = "debian:bookworm@" + sha256("base").str();
    made.commit = expected_.commit;
    made.layers = {{"base", sha256("key"), sha256("base"), true}};
    made.packages = {"pkg:deb/debian/tool@1?arch=amd64"};
    made.kiln = "0.1.0";
    made.invocation = "urn:kiln:bake:web:1";
    made.started = parse_iso8601("2026-11-25T08:00:00Z");
    made.finished = parse_iso8601("2026-11-25T08:01:00Z");
    return made;
  }

  static Inventory inventory(const std::string& openssl = "3.0.11-1") {
    Inventory made;
    made.distribution = "debian";
    made.release = "12";
    for (const auto& [name, version] : {std::pair<std::string, std::string>{"openssl", openssl}, {"telnetd", "1"}}) {
      Package package;
      package.name = package.source = name;
      package.version = package.source_version = version;
      package.architecture = "amd64";
      made.packages.push_back(package);
    }
    return made;
  }

  void attach_all() {
    attach(store_, subject_, kSpdxType, write_spdx(subject_, inventory()));
    attach(store_, subject_, kCycloneDxType, write_cyclonedx(subject_, inventory()));
    attach(store_, subject_, kStatementType, write_provenance(record()));
  }

  void sign() {
    ASSERT_TRUE(sign_image(store_, subject_, key_));
    expected_.signed_by = {key_.public_key().id()};
    trust_.keys = {key_.public_key()};
  }

  // What was found, one line each; empty when all holds.
  std::vector<std::string> found() {
    std::vector<std::string> lines;
    for (const Check& check : verify(store::Store(store_.folder()), expected_, trust_, now_)) {
      if (!check.passed) lines.push_back(check.name + ": " + check.said);
    }
    return lines;
  }

  // The index is no blob: whoever may write to the folder may take entries out of it.
  void remove_from_index(std::string_view artifact_type) {
    const fs::path file = store_.folder() / "index.json";
    auto index = nlohmann::json::parse(host::read_file(file));
    auto kept = nlohmann::json::array();
    for (const auto& entry : index["manifests"]) {
      if (entry["artifactType"] != artifact_type) kept.push_back(entry);
    }
    ASSERT_LT(kept.size(), index["manifests"].size());
    index["manifests"] = kept;
    host::write_file(file, index.dump());
  }

  void overwrite(const Digest& digest, const std::string& content) {
    fs::permissions(store_.path_of(digest), fs::perms::owner_write, fs::perm_options::add);
    std::ofstream(store_.path_of(digest), std::ios::trunc) << content;
  }

  host::TemporaryFolder folder_{"kiln-proof-verify-"};
  store::Store store_{folder_.path() / "store"};
  SbomSubject subject_;
  Expected expected_;
  Trust trust_;
  Time now_ = parse_iso8601("2026-11-25T09:00:00Z");
  const SigningKey key_ = SigningKey::generate(KeyKind::ecdsa_p256);
};

TEST_F(VerifyTest, WhatIsWholeAndSignedPasses) {
  attach_all();
  EXPECT_THAT(found(), IsEmpty()) << "unsigned, and nobody asks for a signature";
  sign();
  EXPECT_THAT(found(), IsEmpty());
  EXPECT_FALSE(sign_image(store_, subject_, key_)) << "it is signed already";
  EXPECT_TRUE(sign_image(store_, subject_, SigningKey::generate(KeyKind::ed25519))) << "by this key it is not";
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(VerifyTest, AnotherVersionOfTheSameImageHasItsOwnDocuments) {
  attach_all();
  sign();
  expected_.subject.version = "2.0.0";
  expected_.signed_by.clear();
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr("nobody has signed it"), HasSubstr("no provenance"),
                                            HasSubstr("no SBOM (SPDX)"), HasSubstr("no SBOM (CycloneDX)")));
}

TEST_F(VerifyTest, AnAlteredLayerIsNamed) {
  attach_all();
  sign();
  const Digest layer = store_.image(subject_.digest).layers[0].digest;
  overwrite(layer, "bytes of weB");
  EXPECT_THAT(found(), testing::ElementsAre(testing::AllOf(HasSubstr("content: "), HasSubstr(layer.str()))));
  fs::remove(store_.path_of(layer));
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr(layer.str())));
}

TEST_F(VerifyTest, ADocumentWithAnAlteredByteIsNamed) {
  attach_all();
  for (const store::Artifact& artifact : store_.artifacts_of(subject_.digest)) {
    const Digest blob = artifact.blobs[0].digest;
    const std::string before = store_.read(blob);
    overwrite(blob, before + " ");
    EXPECT_THAT(found(), testing::Contains(HasSubstr("content: the blob " + blob.str())));
    overwrite(blob, before);
  }
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(VerifyTest, AWrongKeyIsFound) {
  attach_all();
  sign();
  trust_.keys = {SigningKey::generate(KeyKind::ecdsa_p256).public_key()};
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr("it is signed, but not by key")));
}

TEST_F(VerifyTest, SignersAreThoseWhoseSignatureHolds) {
  const SigningKey other = SigningKey::generate(KeyKind::ecdsa_p256);
  const std::vector<PublicKey> both = {other.public_key(), key_.public_key()};
  EXPECT_THAT(signers(store_, subject_, both), IsEmpty());
  sign();
  EXPECT_THAT(signers(store_, subject_, both), testing::ElementsAre(key_.public_key().id()));
  const Digest layer = store_.image(subject_.digest).layers[0].digest;
  overwrite(layer, "bytes of weB");
  EXPECT_EQ(signers(store_, subject_, both).size(), 1u) << "the layers are for others to check";
  const SbomSubject another{"other", "1.0.0", add_image("other"), "0.1.0"};
  EXPECT_THAT(signers(store_, another, both), IsEmpty());
  for (const store::Artifact& artifact : store_.artifacts_of(subject_.digest)) {
    if (artifact.artifact_type == kSignatureType) overwrite(artifact.blobs[0].digest, "{}");
  }
  EXPECT_THAT(signers(store_, subject_, both), IsEmpty());
}

TEST_F(VerifyTest, AStrippedSignatureIsFoundAlsoWithoutAKey) {
  attach_all();
  sign();
  remove_from_index(kSignatureType);
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr("it was removed"), HasSubstr("nobody has signed it")));
  trust_.keys.clear();
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr("signature: the ledger says that key")));
}

TEST_F(VerifyTest, ASignatureOfAnotherImageIsFound) {
  attach_all();
  const SbomSubject other{"other", "1.0.0", add_image("other"), "0.1.0"};
  const std::string payload = signing_payload(other);
  const store::Blob blob{store_.put(payload),
                         payload.size(),
                         std::string(kPayloadType),
                         {{std::string(kSignatureAnnotation), base64_encode(key_.sign(payload))}}};
  store_.add_artifact(subject_.digest, std::string(kSignatureType), {blob}, {});
  trust_.keys = {key_.public_key()};
  EXPECT_THAT(found(), testing::Contains(HasSubstr("a signature is for another image, " + other.digest.str())));
  EXPECT_THAT(found(), testing::Contains(HasSubstr("nobody has signed it")));
}

TEST_F(VerifyTest, ProvenanceOfAnotherImageIsFound) {
  BakeRecord other = record();
  other.digest = sha256("another image");
  attach(store_, subject_, kSpdxType, write_spdx(subject_, inventory()));
  attach(store_, subject_, kCycloneDxType, write_cyclonedx(subject_, inventory()));
  attach(store_, subject_, kStatementType, write_provenance(other));
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr("the provenance is about another image, " + other.digest.str()),
                                            HasSubstr("there is no provenance about this image")));
}

TEST_F(VerifyTest, AProvenanceThatSaysOtherThanTheLedgerIsFound) {
  attach_all();
  expected_.commit = "ffff";
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr("it says commit 0123")));
  expected_.subject.app = "shop";
  EXPECT_THAT(found(), testing::Contains(HasSubstr("it was made for web@1.0.0")));
}

TEST_F(VerifyTest, AForgedProvenanceBesideTheSignedOneIsFound) {
  attach_all();
  sign();
  BakeRecord forged = record();
  forged.builder = "urn:somebody:else";
  attach(store_, subject_, kStatementType, write_provenance(forged));
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr("another text lies beside the provenance that was signed")));
  remove_from_index(kEnvelopeType);
  EXPECT_THAT(found(), testing::Contains(HasSubstr("the provenance is not signed by a key that is trusted")));
}

TEST_F(VerifyTest, AnSbomOfAnotherImageIsFound) {
  SbomSubject other = subject_;
  other.digest = sha256("another image");
  attach(store_, subject_, kStatementType, write_provenance(record()));
  attach(store_, subject_, kCycloneDxType, write_cyclonedx(subject_, inventory()));
  attach(store_, subject_, kSpdxType, write_spdx(other, inventory()));
  EXPECT_THAT(found(), testing::Contains(HasSubstr("the SBOM (SPDX) is about another image")));
}

TEST_F(VerifyTest, APolicyIsAskedPointByPoint) {
  attach_all();
  sign();
  spec::Policy policy;
  trust_.policy = &policy;
  policy.tests_passed = true;
  EXPECT_THAT(found(), testing::ElementsAre("policy.tests: it was not tested"));
  expected_.tests_passed = false;
  EXPECT_THAT(found(), testing::ElementsAre("policy.tests: its tests failed"));
  expected_.tests_passed = true;
  EXPECT_THAT(found(), IsEmpty());
  policy.builder = std::string(kBuilder);
  policy.base = {"debian:bookworm"};
  policy.commit_required = true;
  policy.max_age = std::chrono::hours(1);
  policy.packages_minimum = {{"openssl", "3.0.11-1"}, {"absent", "9"}};
  EXPECT_THAT(found(), IsEmpty());
  policy.builder = "urn:ci";
  policy.base = {"debian:trixie"};
  policy.max_age = std::chrono::minutes(1);
  policy.packages_minimum = {{"openssl", "3.0.11-1+deb12u1"}};
  policy.packages_forbidden = {"telnetd", "absent"};
  const SigningKey second = SigningKey::generate(KeyKind::ed25519);
  trust_.required = {key_.public_key(), second.public_key()};
  EXPECT_THAT(found(), testing::ElementsAre(HasSubstr("policy.signed_by: key " + second.public_key().id().short_str()),
                                            HasSubstr("telnetd is forbidden"), HasSubstr("openssl 3.0.11-1 is older"),
                                            HasSubstr("built by urn:kiln:builder, not by urn:ci"),
                                            HasSubstr("stands on debian:bookworm"), HasSubstr("more than 1m ago")));
}

TEST_F(VerifyTest, APolicyIsNotMetByWhatNobodyKnows) {
  spec::Policy policy;
  trust_.policy = &policy;
  policy.commit_required = true;
  policy.packages_forbidden = {"telnetd"};
  EXPECT_THAT(found(), testing::IsSupersetOf({HasSubstr("without an SBOM"), HasSubstr("needs the provenance")}));
}

TEST_F(VerifyTest, AnImageThatIsNotThereIsAFinding) {
  expected_.subject.digest = sha256("nothing");
  EXPECT_THAT(found(), testing::Contains(HasSubstr("content: the store has no blob")));
}

TEST(Provenances, AreInTotoStatementsOfSlsa) {
  BakeRecord record;
  record.app = "web";
  record.version = "1.0.0";
  record.digest = sha256("image");
  record.recipe_text = "app: web\n";
  record.base = "debian:bookworm";
  record.tests = {{"http", true}, {"boot", false}};
  record.kiln = "0.1.0";
  const std::string text = write_provenance(record);
  EXPECT_EQ(write_provenance(record), text);
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["_type"], "https://in-toto.io/Statement/v1");
  EXPECT_EQ(json["predicateType"], "https://slsa.dev/provenance/v1");
  EXPECT_EQ(json["subject"][0]["digest"]["sha256"], sha256("image").hex());
  EXPECT_EQ(json["predicate"]["buildDefinition"]["buildType"], "urn:kiln:bake:v1");
  EXPECT_EQ(json["predicate"]["buildDefinition"]["externalParameters"]["recipe"]["text"], "app: web\n");
  EXPECT_EQ(json["predicate"]["runDetails"]["builder"]["id"], "urn:kiln:builder");
  const Statement statement = read_statement(text);
  EXPECT_TRUE(statement.is_about(sha256("image")));
  EXPECT_FALSE(statement.is_about(sha256("other")));
  const Provenance provenance = read_provenance(statement.predicate);
  EXPECT_EQ(provenance.version, "1.0.0");
  EXPECT_EQ(provenance.base, "debian:bookworm");
  EXPECT_EQ(provenance.commit, "");
  ASSERT_EQ(provenance.tests.size(), 2U);
  EXPECT_FALSE(provenance.tests[1].passed);
  for (const char* bad : {"", "{}", R"({"_type":"x","subject":[],"predicateType":"y","predicate":{}})",
                          R"({"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"xyz"}}]})"})
    EXPECT_THROW(read_statement(bad), Error) << bad;
  EXPECT_THROW(read_provenance("{}"), Error);
}

}  // namespace
}  // namespace kiln::proof
