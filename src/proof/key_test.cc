// Keys and envelopes: the published vector, OpenSSL's own program as the judge, and what is refused.
#include "proof/key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/error.h"
#include "host/file.h"
#include "host/process.h"
#include "proof/dsse.h"

namespace kiln::proof {
namespace {

using testing::HasSubstr;

// The key, payload and signature of DSSE's protocol.md, version 1.0.
constexpr const char* kVectorKey = R"(-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZ805D3eqNZywjCI19lInBJOp7YMr
CrzAH3CVTAOQ0jgMeCvVTiaRJaRPRDOv8UMs6U4SvKc6pnrIDOoSYI3fdA==
-----END PUBLIC KEY-----
)";
constexpr const char* kVector =
    R"({"payload": "aGVsbG8gd29ybGQ=", "payloadType": "http://example.com/HelloWorld", "signatures": [{"sig":)"
    R"( "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]})";

class OpensslTest : public testing::Test {
 protected:
  std::string write(const std::string& name, std::string_view content) {
    host::write_file(folder_.path() / name, content);
    return (folder_.path() / name).string();
  }
  host::CommandResult openssl(std::vector<std::string> words) {
    words.insert(words.begin(), "openssl");
    host::Command command;
    command.argv = std::move(words);
    return host::run(command);
  }
  host::TemporaryFolder folder_{"kiln-proof-test-"};
};

class KeysTest : public OpensslTest, public testing::WithParamInterface<KeyKind> {};

TEST_P(KeysTest, WhatIsSignedIsVerifiedAndNothingElse) {
  const SigningKey key = SigningKey::generate(GetParam());
  const SigningKey again = SigningKey::parse(key.pem(), "again");
  EXPECT_EQ(again.public_key().id(), key.public_key().id());
  const std::string signature = key.sign("message");
  EXPECT_TRUE(PublicKey::parse(key.public_key().pem(), "pub").verify("message", signature));
  EXPECT_TRUE(PublicKey::parse(key.pem(), "private half given").verify("message", signature));
  EXPECT_FALSE(key.public_key().verify("massage", signature));
  EXPECT_FALSE(SigningKey::generate(GetParam()).public_key().verify("message", signature));
  for (const std::string& bad : {std::string(), std::string("x"), signature + "x", std::string(64, '\0'),
                                 signature.substr(0, signature.size() - 1)})
    EXPECT_FALSE(key.public_key().verify("message", bad));
}

TEST_P(KeysTest, OpensslChecksOurSignatureAndWeCheckItsOwn) {
  const SigningKey key = SigningKey::generate(GetParam());
  const Envelope envelope = sign_envelope("text/plain", "hello", key);
  const std::string message = write("pae", pae("text/plain", "hello"));
  const std::string pub = write("pub.pem", key.public_key().pem());
  const std::string priv = write("key.pem", key.pem());
  const std::string signature = write("sig", envelope.signatures.at(0).bytes);
  std::vector<std::string> words = {"pkeyutl",  "-verify", "-pubin", "-inkey", pub,
                                    "-sigfile", signature, "-in",    message,  "-rawin"};
  std::vector<std::string> sign = {"pkeyutl",       "-sign", "-inkey", priv,    "-out",
                                   signature + "2", "-in",   message,  "-rawin"};
  if (GetParam() == KeyKind::ecdsa_p256) {
    for (auto* list : {&words, &sign}) list->insert(list->end(), {"-digest", "sha256"});
  }
  EXPECT_TRUE(openssl(words).ok());
  ASSERT_TRUE(openssl(sign).ok());
  EXPECT_TRUE(key.public_key().verify(pae("text/plain", "hello"), host::read_file(signature + "2")));
  write("pae", pae("text/plain", "hullo"));
  EXPECT_FALSE(openssl(words).ok());
}

INSTANTIATE_TEST_SUITE_P(Both, KeysTest, testing::Values(KeyKind::ecdsa_p256, KeyKind::ed25519),
                         [](const auto& one) { return one.param == KeyKind::ed25519 ? "Ed25519" : "EcdsaP256"; });

class RefusedKeys : public OpensslTest {};

std::string refusal(std::string_view pem) {
  try {
    SigningKey::parse(pem, "my.pem");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_FALSE(error.next().empty());
    return error.message();
  }
  return "taken";
}

TEST_F(RefusedKeys, AreNamedByWhatTheyAre) {
  const auto made = [&](const std::string& name, std::vector<std::string> words) {
    words.insert(words.end(), {"-out", (folder_.path() / name).string()});
    EXPECT_TRUE(openssl(words).ok());
    return host::read_file(folder_.path() / name);
  };
  EXPECT_THAT(refusal(made("rsa", {"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"})),
              HasSubstr("my.pem is a key of type RSA"));
  EXPECT_THAT(refusal(made("p384", {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"})),
              HasSubstr("curve secp384r1"));
  EXPECT_THAT(refusal(made("locked", {"genpkey", "-algorithm", "ED25519", "-aes256", "-pass", "pass:secret"})),
              HasSubstr("encrypted with a password"));
  EXPECT_THAT(
      refusal("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"),
      HasSubstr("cosign's own"));
  EXPECT_THAT(refusal(kVectorKey), HasSubstr("public key"));
  for (const char* text : {"", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"})
    EXPECT_THAT(refusal(text), HasSubstr("no key in PEM")) << text;
}

TEST(Dsse, AgreesWithThePublishedVector) {
  EXPECT_EQ(pae("http://example.com/HelloWorld", "hello world"),
            "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
  const PublicKey key = PublicKey::parse(kVectorKey, "vector");
  Envelope envelope = read_envelope(kVector);
  EXPECT_EQ(envelope.payload, "hello world");
  EXPECT_TRUE(envelope.signed_by(key));
  // The type is signed too.
  envelope.payload_type = "http://example.com/Goodbye";
  EXPECT_FALSE(envelope.signed_by(key));
}

TEST(Dsse, TakesBothAlphabetsAndSeveralSignatures) {
  const SigningKey key = SigningKey::generate(KeyKind::ed25519);
  Envelope envelope = sign_envelope("a", std::string("\xff\xfe\xfb", 3), key);
  envelope.signatures.insert(envelope.signatures.begin(), {"someone", "nothing"});
  std::string text = write_envelope(envelope);
  EXPECT_EQ(read_envelope(text), envelope);
  EXPECT_TRUE(read_envelope(text).signed_by(key.public_key()));
  EXPECT_THAT(text, HasSubstr("//77"));
  text.replace(text.find("//77"), 4, "__77");
  EXPECT_EQ(read_envelope(text), envelope);
}

TEST(Dsse, WhatIsNoEnvelopeIsCorrupt) {
  for (const char* text : {"", "[]", "{}", R"({"payload":"!","payloadType":"a","signatures":[{"sig":"aa"}]})",
                           R"({"payload":"aa==","payloadType":"a","signatures":[]})",
                           R"({"payload":"aa==","payloadType":1,"signatures":[{"sig":"aa=="}]})",
                           R"({"payload":"aa==","payloadType":"a","signatures":[{"keyid":"x"}]})",
                           R"({"payload":"aa==","payloadType":"a","signatures":{"sig":4}})"}) {
    try {
      read_envelope(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt) << text;
    }
  }
}

}  // namespace
}  // namespace kiln::proof
