// Key: OpenSSL's EVP.
#include "proof/key.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>

#include "base/error.h"

namespace kiln::proof {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Key = std::shared_ptr<EVP_PKEY>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

constexpr std::size_t kPemBytesMax = 64 * 1024;
constexpr std::size_t kRawEcdsaBytes = 64;

const char* const kHowToMake = "Make a key: kiln keys new NAME (or openssl genpkey -algorithm ED25519 -out NAME.pem).";

Error broken(const char* attempted) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return {ErrorCode::internal, fmt::format("{}: {}", attempted, text.data())};
}

Bio bio_of(std::string_view pem, const std::string& name) {
  if (pem.size() > kPemBytesMax) throw Error(ErrorCode::usage, fmt::format("{} is no key: it is too long", name));
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  if (!bio) throw broken("reading a key");
  return bio;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

KeyKind kind_of(EVP_PKEY* key, const std::string& name) {
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return KeyKind::ed25519;
  if (EVP_PKEY_is_a(key, "EC") == 1) {
    std::array<char, 64> curve{};
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve.data(), curve.size(), nullptr);
    const std::string_view group = curve.data();
    if (group == "prime256v1" || group == "P-256") return KeyKind::ecdsa_p256;
    throw Error(ErrorCode::usage,
                fmt::format("{} is an EC key on the curve {}; Kiln signs with P-256 or Ed25519", name, group),
                kHowToMake);
  }
  const char* type = EVP_PKEY_get0_type_name(key);
  throw Error(ErrorCode::usage,
              fmt::format("{} is a key of type {}; Kiln signs with ECDSA P-256 or Ed25519", name, type ? type : "?"),
              kHowToMake);
}

// OpenSSL asks for a password when a key is encrypted; nobody is asked here.
int no_password(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

[[noreturn]] void refuse(std::string_view pem, const std::string& name, bool encrypted) {
  ERR_clear_error();
  if (pem.find("ENCRYPTED SIGSTORE") != std::string_view::npos ||
      pem.find("ENCRYPTED COSIGN") != std::string_view::npos)
    throw Error(ErrorCode::usage, fmt::format("{} is a key in cosign's own encrypted format", name),
                "Make one that both read: kiln keys new NAME, then cosign import-key-pair --key NAME.pem.");
  if (encrypted)
    throw Error(ErrorCode::usage, fmt::format("{} is encrypted with a password, which Kiln does not ask for", name),
                fmt::format("Take the password off: openssl pkcs8 -topk8 -nocrypt -in {} -out plain.pem.", name));
  throw Error(ErrorCode::usage, fmt::format("{} holds no key in PEM", name), kHowToMake);
}

Key read_private(std::string_view pem, const std::string& name) {
  bool encrypted = false;
  const Bio bio = bio_of(pem, name);
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_password, &encrypted), &EVP_PKEY_free);
  if (!key) refuse(pem, name, encrypted);
  return key;
}

// 64 bytes of r and s, as JOSE and DSSE's example write them, in the form that EVP takes.
std::string der_of_raw(std::string_view raw) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> sig(ECDSA_SIG_new(), &ECDSA_SIG_free);
  BIGNUM* r = BN_bin2bn(bytes, 32, nullptr);
  BIGNUM* s = BN_bin2bn(bytes + 32, 32, nullptr);
  if (!sig || ECDSA_SIG_set0(sig.get(), r, s) != 1) throw broken("reading a signature");
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(sig.get(), &der);
  if (size <= 0) throw broken("reading a signature");
  std::string text(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return text;
}

}  // namespace

std::string_view to_string(KeyKind kind) { return kind == KeyKind::ed25519 ? "ed25519" : "ecdsa-p256"; }

PublicKey::PublicKey(std::shared_ptr<evp_pkey_st> key, KeyKind kind) : key_(std::move(key)), kind_(kind) {
  const Bio bio(BIO_new(BIO_s_mem()), &BIO_free);
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  if (!bio || size <= 0 || PEM_write_bio_PUBKEY(bio.get(), key_.get()) != 1) throw broken("writing a public key");
  pem_ = text_of(bio.get());
  id_ = sha256(std::string_view(reinterpret_cast<char*>(der), static_cast<std::size_t>(size)));
  OPENSSL_free(der);
}

PublicKey PublicKey::parse(std::string_view pem, const std::string& name) {
  if (pem.find("PRIVATE KEY-----") != std::string_view::npos) return SigningKey::parse(pem, name).public_key();
  const Bio bio = bio_of(pem, name);
  Key key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr), &EVP_PKEY_free);
  if (!key) refuse(pem, name, false);
  const KeyKind kind = kind_of(key.get(), name);
  return PublicKey(std::move(key), kind);
}

bool PublicKey::verify(std::string_view message, std::string_view signature) const {
  const Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const EVP_MD* digest = kind_ == KeyKind::ed25519 ? nullptr : EVP_sha256();
  if (!context || EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key_.get()) != 1)
    throw broken("checking a signature");
  std::string der(signature);
  if (kind_ == KeyKind::ecdsa_p256 && signature.size() == kRawEcdsaBytes) der = der_of_raw(signature);
  const int answer = EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(der.data()), der.size(),
                                      reinterpret_cast<const unsigned char*>(message.data()), message.size());
  ERR_clear_error();  // a signature that is no ASN.1 is an error to OpenSSL, and just wrong to us
  return answer == 1;
}

SigningKey::SigningKey(std::shared_ptr<evp_pkey_st> key, KeyKind kind) : key_(key), public_(std::move(key), kind) {}

SigningKey SigningKey::generate(KeyKind kind) {
  EVP_PKEY* made = kind == KeyKind::ed25519 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519") : EVP_EC_gen("P-256");
  if (made == nullptr) throw broken("making a key");
  return SigningKey(Key(made, &EVP_PKEY_free), kind);
}

SigningKey SigningKey::parse(std::string_view pem, const std::string& name) {
  if (pem.find("BEGIN PUBLIC KEY") != std::string_view::npos && pem.find("PRIVATE KEY-----") == std::string_view::npos)
    throw Error(ErrorCode::usage, fmt::format("{} is a public key: it checks signatures and cannot make them", name),
                "Give the file that was made with it, which begins -----BEGIN PRIVATE KEY-----.");
  Key key = read_private(pem, name);
  const KeyKind kind = kind_of(key.get(), name);
  return SigningKey(std::move(key), kind);
}

std::string SigningKey::pem() const {
  const Bio bio(BIO_new(BIO_s_mem()), &BIO_free);
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    throw broken("writing a key");
  return text_of(bio.get());
}

std::string SigningKey::sign(std::string_view message) const {
  const Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const EVP_MD* digest = public_.kind() == KeyKind::ed25519 ? nullptr : EVP_sha256();
  const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
  std::size_t size = 0;
  if (!context || EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, message.size()) != 1)
    throw broken("signing");
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes, message.size()) !=
      1)
    throw broken("signing");
  signature.resize(size);
  return signature;
}

}  // namespace kiln::proof
