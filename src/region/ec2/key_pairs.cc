// Key pairs: made here, of which only the public half is kept, or imported.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/md5.h>
#include <openssl/pem.h>

#include <memory>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string digest_hex(const EVP_MD* kind, std::string_view bytes) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), out, &size, kind, nullptr);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{}{:02x}", i == 0 ? "" : ":", out[i]);
  return text;
}

// A length and the bytes, as in SSH's wire format (RFC 4251).
std::string ssh_string(std::string_view bytes) {
  std::string out;
  for (int shift : {24, 16, 8, 0}) out += static_cast<char>(bytes.size() >> shift & 255);
  return out + std::string(bytes);
}

std::string ssh_number(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  EVP_PKEY_get_bn_param(key, name, &number);
  std::string bytes(static_cast<std::size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
  BN_free(number);
  if (!bytes.empty() && static_cast<unsigned char>(bytes[0]) >= 0x80) bytes.insert(0, 1, '\0');
  return ssh_string(bytes);
}

// Of an Ed25519 key: the half that everybody may know, and the other one.
std::string raw_public(EVP_PKEY* key) {
  std::string raw(32, '\0');
  std::size_t size = raw.size();
  EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(raw.data()), &size);
  return raw;
}
std::string raw_private(EVP_PKEY* key) {
  std::string raw(32, '\0');
  std::size_t size = raw.size();
  EVP_PKEY_get_raw_private_key(key, reinterpret_cast<unsigned char*>(raw.data()), &size);
  return raw;
}

std::string public_blob(EVP_PKEY* key, const std::string& type) {
  if (type == "rsa") return ssh_string("ssh-rsa") + ssh_number(key, "e") + ssh_number(key, "n");
  return ssh_string("ssh-ed25519") + ssh_string(raw_public(key));
}

std::string public_line(EVP_PKEY* key, const std::string& type) {
  return "ssh-" + type + " " + base64_encode(public_blob(key, type));
}

// OpenSSH's own form, the only one in which it reads Ed25519 keys: PROTOCOL.key of its sources. `check` is any number.
std::string openssh_pem(EVP_PKEY* key, const std::string& check, const std::string& comment) {
  const std::string blob = public_blob(key, "ed25519");
  std::string secret = check + check + blob + ssh_string(raw_private(key) + raw_public(key)) + ssh_string(comment);
  for (char pad = 1; secret.size() % 8 != 0; ++pad) secret += pad;
  const std::string one("\0\0\0\1", 4);
  const std::string text = base64_encode(std::string("openssh-key-v1\0", 15) + ssh_string("none") + ssh_string("none") +
                                         ssh_string("") + one + ssh_string(blob) + ssh_string(secret));
  std::string pem = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
  for (std::size_t at = 0; at < text.size(); at += 70) pem += text.substr(at, 70) + "\n";
  return pem + "-----END OPENSSH PRIVATE KEY-----\n";
}

// PKCS #1, as EC2 hands them out.
std::string rsa_pem(EVP_PKEY* key) {
  std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PrivateKey_traditional(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  long size = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html: of keys that EC2 made the SHA-1 of the private
// key's DER, of imported RSA keys the MD5 of the public key's DER; of Ed25519 keys the SHA-256 of SSH's form, in
// Base64.
std::string fingerprint_of_made(EVP_PKEY* key, const std::string& type, const std::string& line) {
  if (type == "ed25519") {
    Digest digest = sha256(base64_decode(split(line, ' ')[1]));
    return base64_encode({reinterpret_cast<const char*>(digest.bytes().data()), digest.bytes().size()});
  }
  unsigned char* der = nullptr;
  std::unique_ptr<PKCS8_PRIV_KEY_INFO, decltype(&PKCS8_PRIV_KEY_INFO_free)> info(EVP_PKEY2PKCS8(key),
                                                                                 PKCS8_PRIV_KEY_INFO_free);
  int size = i2d_PKCS8_PRIV_KEY_INFO(info.get(), &der);
  std::string text = digest_hex(EVP_sha1(), {reinterpret_cast<char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return text;
}

void check_name(const std::map<std::string, KeyPair>& keys, const std::string& name) {
  if (name.empty() || name.size() > 255)
    throw ApiError("InvalidParameterValue", "A key pair's name has 1 to 255 characters");
  if (keys.contains(name)) {
    throw ApiError("InvalidKeyPair.Duplicate", fmt::format("The keypair already exists: {}", name));
  }
}

}  // namespace

Ec2::NewKeyPair Ec2::create_key_pair(const std::string& name, const std::string& type, const Tags& tags) {
  State& s = *state_;
  check_name(s.keys, name);
  check_tags(tags);
  Key key(type == "ed25519" ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                            : EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048}),
          EVP_PKEY_free);
  KILN_ASSERT(key != nullptr, "libcrypto makes keys");
  KeyPair pair;
  pair.id = s.new_id("key-");
  pair.name = name;
  pair.type = type;
  pair.public_key = public_line(key.get(), type) + " " + name;
  pair.fingerprint = fingerprint_of_made(key.get(), type, pair.public_key);
  pair.created = s.loop.now();
  pair.tags = tags;
  KeyPair& kept = s.keys[name] = pair;
  s.save(kept);
  return {&kept, type == "ed25519" ? openssh_pem(key.get(), s.random.hex(4), name) : rsa_pem(key.get())};
}

const KeyPair& Ec2::import_key_pair(const std::string& name, const std::string& public_key, const Tags& tags) {
  State& s = *state_;
  check_name(s.keys, name);
  check_tags(tags);
  std::vector<std::string> words = split(trim(public_key), ' ');
  std::string blob;
  try {
    if (words.size() >= 2) blob = base64_decode(words[1]);
  } catch (const Error&) {
    blob.clear();
  }
  bool rsa = !words.empty() && words[0] == "ssh-rsa";
  bool ed25519 = !words.empty() && words[0] == "ssh-ed25519";
  if ((!rsa && !ed25519) || !blob.starts_with(ssh_string(words[0])) || public_key.find('\n') < public_key.size() - 1) {
    throw ApiError("InvalidKey.Format", "Key is not in valid OpenSSH public key format");
  }
  KeyPair pair;
  pair.id = s.new_id("key-");
  pair.name = name;
  pair.type = rsa ? "rsa" : "ed25519";
  pair.public_key = words[0] + " " + words[1] + " " + name;
  if (ed25519) {
    Digest digest = sha256(blob);
    pair.fingerprint = base64_encode({reinterpret_cast<const char*>(digest.bytes().data()), digest.bytes().size()});
  } else {
    pair.fingerprint = digest_hex(EVP_md5(), blob);
  }
  pair.created = s.loop.now();
  pair.tags = tags;
  KeyPair& kept = s.keys[name] = pair;
  s.save(kept);
  return kept;
}

std::optional<KeyPair> Ec2::delete_key_pair(const std::string& name, const std::string& id) {
  for (const auto& [key, pair] : state_->keys) {
    if ((name.empty() || key != name) && (id.empty() || pair.id != id)) continue;
    KeyPair gone = pair;
    state_->keys.erase(gone.name);
    state_->journal.erase(kKeyTable, gone.name);
    return gone;
  }
  return std::nullopt;
}

const std::map<std::string, KeyPair>& Ec2::key_pairs() const { return state_->keys; }

}  // namespace kiln::region::ec2
