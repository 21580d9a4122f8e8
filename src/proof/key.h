// Key: what signs and what checks a signature: ECDSA over P-256 with SHA-256, or Ed25519.
//
// Files are PEM as OpenSSL writes them: PKCS#8 for what signs, SubjectPublicKeyInfo for what checks. Encrypted keys,
// RSA and other curves are refused with Error(usage) that says what to do. Immutable, so safe from several threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/digest.h"

struct evp_pkey_st;

namespace kiln::proof {

enum class KeyKind { ecdsa_p256, ed25519 };
std::string_view to_string(KeyKind kind);  // "ecdsa-p256", "ed25519"

class PublicKey {
 public:
  // `name` is only quoted. A key that signs is taken too: its public half.
  static PublicKey parse(std::string_view pem, const std::string& name);

  KeyKind kind() const { return kind_; }
  // The SHA-256 of the SubjectPublicKeyInfo in DER: `openssl pkey -pubin -outform DER | sha256sum`.
  const Digest& id() const { return id_; }
  const std::string& pem() const { return pem_; }
  // ECDSA signatures are ASN.1 DER as OpenSSL writes them, or r and s in 64 bytes.
  bool verify(std::string_view message, std::string_view signature) const;

 private:
  friend class SigningKey;
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key, KeyKind kind);
  std::shared_ptr<evp_pkey_st> key_;
  KeyKind kind_;
  std::string pem_;
  Digest id_;
};

class SigningKey {
 public:
  static SigningKey generate(KeyKind kind);
  static SigningKey parse(std::string_view pem, const std::string& name);

  const PublicKey& public_key() const { return public_; }
  std::string pem() const;
  std::string sign(std::string_view message) const;

 private:
  explicit SigningKey(std::shared_ptr<evp_pkey_st> key, KeyKind kind);
  std::shared_ptr<evp_pkey_st> key_;
  PublicKey public_;
};

}  // namespace kiln::proof
